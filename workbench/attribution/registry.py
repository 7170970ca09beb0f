"""Every attribution method by name: what it is, what it needs, what it costs, who made it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from workbench.attribution import gradient
from workbench.errors import AttributionError

if TYPE_CHECKING:
    from workbench.classifier import Classifier

Family = Literal["class activation", "gradient", "reference", "perturbation", "relevance"]
SLOW_PASSES = 40
Cost = Callable[[Mapping[str, Any], int, int], tuple[float, float]]


@dataclass(frozen=True)
class Method:
    """A method of attribution.

    ``needs`` names what it wants of a model; ``signed`` says whether values below 0 mean evidence against the target;
    ``settings`` are its options with their defaults; ``cost(settings, channels, side)`` gives forward and backward
    passes for one image of ``side`` pixels at a layer of ``channels`` channels; ``complete`` promises that the
    values sum to the change of the output from a baseline; ``input`` is None for maps at a layer.
    """

    name: str
    family: Family
    library: str
    citation: str
    needs: tuple[str, ...]
    signed: bool
    cost: Cost
    input: gradient.Method | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = False
    reduction: Literal["sum", "largest"] = "sum"

    def with_settings(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The defaults with the given ones in their place.

        Raises
        ------
        AttributionError
            If a setting is unknown, of another kind, or not positive.
        """
        for name, value in given.items():
            if name not in self.settings:
                known = ", ".join(self.settings) or "none"
                raise AttributionError(f"{self.name}: no setting {name!r}; it has {known}")
            default = self.settings[name]
            if name == "baseline":
                if value not in gradient.BASELINES:
                    raise AttributionError(f"baseline: expected {', '.join(gradient.BASELINES)}, not {value!r}")
            elif not isinstance(value, type(default)) or value <= 0:
                raise AttributionError(
                    f"{self.name}: {name}: expected a positive {type(default).__name__}, not {value!r}"
                )
        return {**self.settings, **given}


def _passes(forward: float, backward: float) -> Cost:
    return lambda settings, channels, side: (forward, backward)


def _windows(settings: Mapping[str, Any], channels: int, side: int) -> tuple[float, float]:
    steps = -(-(side - settings["window"]) // settings["stride"]) + 1
    return 1.0 + steps * steps, 0.0


def _cells(settings: Mapping[str, Any], channels: int, side: int) -> tuple[float, float]:
    return 1.0 + (-(-side // settings["cell"])) ** 2, 0.0


_CAM = ("a layer with a grid",)
_LAYER = "pytorch-grad-cam"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "Grad-CAM",
            "class activation",
            _LAYER,
            "Selvaraju et al. 2017, arXiv 1610.02391",
            _CAM,
            True,
            _passes(1, 0.1),
        ),
        Method(
            "Grad-CAM++",
            "class activation",
            _LAYER,
            "Chattopadhay et al. 2018, arXiv 1710.11063",
            _CAM,
            False,
            _passes(1, 0.1),
        ),
        Method(
            "HiResCAM",
            "class activation",
            _LAYER,
            "Draelos & Carin 2020, arXiv 2011.08891",
            _CAM,
            True,
            _passes(1, 0.1),
        ),
        Method(
            "LayerCAM",
            "class activation",
            _LAYER,
            "Jiang et al. 2021, doi 10.1109/TIP.2021.3089943",
            _CAM,
            False,
            _passes(1, 0.1),
        ),
        Method(
            "XGrad-CAM", "class activation", _LAYER, "Fu et al. 2020, arXiv 2008.02312", _CAM, True, _passes(1, 0.1)
        ),
        Method(
            "Eigen-CAM",
            "class activation",
            _LAYER,
            "Muhammad & Yeasin 2020, arXiv 2008.00299",
            _CAM,
            False,
            _passes(1, 0),
        ),
        Method(
            "Finer-CAM", "class activation", _LAYER, "Zhang et al. 2025, arXiv 2501.11309", _CAM, True, _passes(1, 0.1)
        ),
        Method(
            "Score-CAM",
            "class activation",
            _LAYER,
            "Wang et al. 2020, arXiv 1910.01279",
            _CAM,
            False,
            lambda settings, channels, side: (1.0 + channels, 0.0),
        ),
        Method(
            "Ablation-CAM",
            "class activation",
            _LAYER,
            "Desai & Ramaswamy 2020, doi 10.1109/WACV45572.2020.9093360",
            _CAM,
            True,
            lambda settings, channels, side: (1.0 + channels, 0.0),
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
    """Add a method on the input of your own; commands, explorer and evidence find it by its name.

    Raises
    ------
    AttributionError
        If there is a method of that name, or it is one at a layer, which needs a kernel too.
    """
    if any(_plain(known) == _plain(method.name) for known in METHODS):
        raise AttributionError(f"method: {method.name!r} is there already; give it another name")
    if method.input is None:
        raise AttributionError(f"{method.name}: expected a function on the input; a map at a layer needs a kernel")
    METHODS[method.name] = method


def method_of(name: str) -> Method:
    """The method of that name, in any case and with hyphens for spaces too.

    Raises
    ------
    AttributionError
        With the names there are.
    """
    for known, method in METHODS.items():
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
    channels = 512 if method.input is None else 0
    return sum(method.cost(method.settings, channels, classifier.image_size)) > SLOW_PASSES
