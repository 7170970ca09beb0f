"""Every attribution method by name; a further method is one entry here, or comes with a package of its own."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pytorch_grad_cam

from workbench.attribution import activation, exact, gradient
from workbench.attribution.activation import at_each, by_library, eigen_cam, finer, from_gradients
from workbench.attribution.method import Cost, Method
from workbench.errors import AttributionError

if TYPE_CHECKING:
    from workbench.models.classifier import Classifier

__all__ = ["GROUP", "METHODS", "Method", "is_slow", "method_of", "methods", "register"]
SLOW_PASSES = 40
GROUP = "workbench.methods"


def _passes(forward: float, backward: float) -> Cost:
    return lambda settings, channels, side: (forward, backward)


def _windows(settings: Mapping[str, Any], channels: int, side: int) -> tuple[float, float]:
    steps = -(-(side - settings["window"]) // settings["stride"]) + 1
    return 1.0 + steps * steps, 0.0


def _cells(settings: Mapping[str, Any], channels: int, side: int) -> tuple[float, float]:
    return 1.0 + (-(-side // settings["cell"])) ** 2, 0.0


_CAM = ("a layer with a grid",)
_LIBRARY = "pytorch-grad-cam"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "Grad-CAM",
            "class activation",
            _LIBRARY,
            "Selvaraju et al. 2017, arXiv 1610.02391",
            _CAM,
            True,
            _passes(1, 0.1),
            layer=exact.grad_cam,
        ),
        Method(
            "Grad-CAM++",
            "class activation",
            _LIBRARY,
            "Chattopadhay et al. 2018, arXiv 1710.11063",
            _CAM,
            False,
            _passes(1, 0.1),
            layer=from_gradients(by_library(pytorch_grad_cam.GradCAMPlusPlus)),
        ),
        Method(
            "HiResCAM",
            "class activation",
            _LIBRARY,
            "Draelos & Carin 2020, arXiv 2011.08891",
            _CAM,
            True,
            _passes(1, 0.1),
            layer=from_gradients(by_library(pytorch_grad_cam.HiResCAM)),
        ),
        Method(
            "LayerCAM",
            "class activation",
            _LIBRARY,
            "Jiang et al. 2021, doi 10.1109/TIP.2021.3089943",
            _CAM,
            False,
            _passes(1, 0.1),
            layer=from_gradients(by_library(pytorch_grad_cam.LayerCAM)),
        ),
        Method(
            "XGrad-CAM",
            "class activation",
            _LIBRARY,
            "Fu et al. 2020, arXiv 2008.02312",
            _CAM,
            True,
            _passes(1, 0.1),
            layer=from_gradients(by_library(pytorch_grad_cam.XGradCAM)),
        ),
        Method(
            "Eigen-CAM",
            "class activation",
            _LIBRARY,
            "Muhammad & Yeasin 2020, arXiv 2008.00299",
            _CAM,
            False,
            _passes(1, 0),
            layer=from_gradients(eigen_cam, needs_gradient=False),
            no_contrast="explains no class, but what is common to the activations",
        ),
        Method(
            "Finer-CAM",
            "class activation",
            _LIBRARY,
            "Zhang et al. 2025, arXiv 2501.11309",
            _CAM,
            True,
            _passes(1, 0.1),
            layer=from_gradients(activation.grad_cam, finer),
            no_contrast="compares its class with those most like it already",
        ),
        Method(
            "Score-CAM",
            "class activation",
            _LIBRARY,
            "Wang et al. 2020, arXiv 1910.01279",
            _CAM,
            False,
            lambda settings, channels, side: (1.0 + channels, 0.0),
            layer=at_each(activation.score_cam),
        ),
        Method(
            "Ablation-CAM",
            "class activation",
            _LIBRARY,
            "Desai & Ramaswamy 2020, doi 10.1109/WACV45572.2020.9093360",
            _CAM,
            True,
            lambda settings, channels, side: (1.0 + channels, 0.0),
            layer=at_each(activation.ablation_cam),
        ),
        Method(
            "Saliency",
            "gradient",
            "Captum",
            "Simonyan et al. 2014, arXiv 1312.6034",
            (),
            False,
            _passes(1, 1),
            gradient.saliency,
            reduction="largest",
        ),
        Method(
            "Input x gradient",
            "gradient",
            "Captum",
            "Shrikumar et al. 2016, arXiv 1605.01713",
            (),
            True,
            _passes(1, 1),
            gradient.input_x_gradient,
        ),
        Method(
            "SmoothGrad",
            "gradient",
            "Captum",
            "Smilkov et al. 2017, arXiv 1706.03825",
            (),
            False,
            lambda settings, channels, side: (settings["samples"], settings["samples"]),
            gradient.smoothgrad,
            {"samples": 16, "noise": 0.1},
            reduction="largest",
        ),
        Method(
            "Guided Backprop",
            "gradient",
            "Captum",
            "Springenberg et al. 2015, arXiv 1412.6806",
            ("a ReLU module for each use",),
            True,
            _passes(1, 1),
            gradient.guided_backprop,
        ),
        Method(
            "Integrated gradients",
            "reference",
            "Captum",
            "Sundararajan et al. 2017, arXiv 1703.01365",
            ("a baseline",),
            True,
            lambda settings, channels, side: (settings["steps"] + 2.0, settings["steps"]),
            gradient.integrated_gradients,
            {"baseline": "black", "steps": 64},
            complete=True,
        ),
        Method(
            "GradientSHAP",
            "reference",
            "Captum",
            "Lundberg & Lee 2017, arXiv 1705.07874",
            ("baselines",),
            True,
            lambda settings, channels, side: (settings["samples"], settings["samples"]),
            gradient.gradient_shap,
            {"samples": 32, "noise": 0.05},
        ),
        Method(
            "DeepLIFT",
            "reference",
            "Captum",
            "Shrikumar et al. 2017, arXiv 1704.02685",
            ("a baseline", "a ReLU module for each use"),
            True,
            _passes(4, 2),
            gradient.deep_lift,
            {"baseline": "black"},
            complete=True,
        ),
        Method(
            "Occlusion",
            "perturbation",
            "Captum",
            "Zeiler & Fergus 2014, arXiv 1311.2901",
            ("a baseline",),
            True,
            _windows,
            gradient.occlusion,
            {"baseline": "blurred", "window": 8, "stride": 4},
        ),
        Method(
            "Feature ablation",
            "perturbation",
            "Captum",
            "Zeiler & Fergus 2014, arXiv 1311.2901, on a grid without overlap",
            ("a baseline",),
            True,
            _cells,
            gradient.feature_ablation,
            {"baseline": "blurred", "cell": 4},
        ),
        Method(
            "LRP",
            "relevance",
            "Captum",
            "Bach et al. 2015, doi 10.1371/journal.pone.0130140",
            ("a rule for every layer",),
            True,
            _passes(2, 1),
            gradient.relevance,
        ),
    )
}


def register(method: Method) -> None:
    """Add a method of your own; commands, explorer and evidence find it by its name.

    Raises
    ------
    AttributionError
        If there is a method of that name.
    """
    if any(_plain(known) == _plain(method.name) for known in METHODS):
        raise AttributionError(f"method: {method.name!r} is there already; give it another name")
    METHODS[method.name] = method


def methods() -> Mapping[str, Method]:
    """Every method by name: those here, those of installed packages, and those registered since.

    A package brings methods by the entry-point group ``workbench.methods``: each entry names a `Method`. One that can't
    be loaded is omitted, with a warning that names it.
    """
    _load_packages()
    return METHODS


@functools.cache
def _load_packages() -> None:
    for entry in entry_points(group=GROUP):
        try:
            found = entry.load()
            if not isinstance(found, Method):
                raise AttributionError(f"expected a workbench.attribution.method.Method, not {type(found).__name__}")
            register(found)
        except (ImportError, AttributeError, AttributionError) as error:
            warnings.warn(f"the method {entry.value!r} of an installed package is omitted: {error}", stacklevel=3)


def method_of(name: str) -> Method:
    """The method of that name, in any case and with hyphens for spaces too.

    Raises
    ------
    AttributionError
        With the names there are.
    """
    for known, method in methods().items():
        if _plain(known) == _plain(name):
            return method
    raise AttributionError(f"method: expected one of {', '.join(METHODS)}, not {name!r}")


def _plain(name: str) -> str:
    return name.lower().replace(" ", "-")


def is_slow(name: str, classifier: Classifier | None) -> bool:
    """Whether a map of one image takes more than 40 passes through the model, at the last layer if it has layers.

    Raises
    ------
    AttributionError
        If there is no such method.
    """
    method = method_of(name)
    if classifier is None:
        return False
    channels = 512 if method.at_layer else 0
    return sum(method.cost(method.settings, channels, classifier.image_size)) > SLOW_PASSES
