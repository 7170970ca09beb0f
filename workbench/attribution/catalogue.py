"""The methods that come with the workbench; a further one is an entry here, or comes with a separate package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from workbench.attribution.method import REFERENCES, Cost, Family, Method
from workbench.attribution.windows import cell_of, window_of


def _passes(forward: float, backward: float) -> Cost:
    return lambda settings, channels, side: (forward, backward)


_ONE_PASS = _passes(1, 0.1)  # the backward pass ends at the layer


def _windows(settings: Mapping[str, Any], channels: int, side: int) -> tuple[float, float]:
    window, stride = window_of(settings, side, side)
    return 1.0 + (-(-(side - window) // stride) + 1) ** 2, 0.0


def _cells(settings: Mapping[str, Any], channels: int, side: int) -> tuple[float, float]:
    return 1.0 + (-(-side // cell_of(settings, side, side))) ** 2, 0.0


def _a_channel(settings: Mapping[str, Any], channels: int, side: int) -> tuple[float, float]:
    return 1.0 + channels, 0.0


def _a_sample(settings: Mapping[str, Any], channels: int, side: int) -> tuple[float, float]:
    return settings["samples"], settings["samples"]


def _a_mask(settings: Mapping[str, Any], channels: int, side: int) -> tuple[float, float]:
    return settings["masks"] + 1.0, 0.0


RELUS, BASELINE, ATTENTION = "a ReLU module for each use", "a baseline", "attention over all patches"


def _kernel(path: str) -> Any:
    """The function ``module.name`` of this package; it is imported, and torch with it, when it first runs."""
    module, _, name = path.partition(".")

    def run(*given: Any) -> Any:
        return getattr(import_module(f"workbench.attribution.{module}"), name)(*given)

    return run


def _cam(name: str, citation: str, kernel: str, *, cost: Cost = _ONE_PASS, **more: Any) -> Method:
    """A class activation map."""
    more = {"signed": True, **more}
    needs = ("a layer with a grid",)
    return Method(
        name, "class activation", "pytorch-grad-cam", citation, needs, cost=cost, layer=_kernel(kernel), **more
    )


def _captum(name: str, family: Family, citation: str, kernel: str, cost: Cost, *needs: str, **more: Any) -> Method:
    """A method on the input that Captum computes."""
    more = {"signed": True, **more}
    return Method(name, family, "Captum", citation, needs, cost=cost, input=_kernel(kernel), **more)


BUILT_IN: dict[str, Method] = {
    method.name: method
    for method in (
        _cam("Grad-CAM", "Selvaraju et al. 2017, arXiv 1610.02391", "exact.grad_cam"),
        _cam(
            "Grad-CAM++",
            "Chattopadhay et al. 2018, arXiv 1710.11063",
            "activation.grad_cam_plus_plus",
            signed=False,
        ),
        _cam(
            "HiResCAM",
            "Draelos & Carin 2020, arXiv 2011.08891",
            "activation.hires_cam",
        ),
        _cam(
            "LayerCAM",
            "Jiang et al. 2021, doi 10.1109/TIP.2021.3089943",
            "activation.layer_cam",
            signed=False,
        ),
        _cam("XGrad-CAM", "Fu et al. 2020, arXiv 2008.02312", "activation.x_grad_cam"),
        _cam(
            "Eigen-CAM",
            "Muhammad & Yeasin 2020, arXiv 2008.00299",
            "activation.eigen",
            cost=_passes(1, 0),
            signed=False,
            no_contrast="explains no class, but what is common to the activations",
        ),
        _cam(
            "KPCA-CAM",
            "Karmani et al. 2024, arXiv 2410.00267",
            "activation.kernel_pca",
            cost=_passes(1, 0),
            signed=False,
            no_contrast="explains no class, but what is common to the activations",
        ),
        _cam("ShapleyCAM", "Cai 2025, arXiv 2501.06261", "curvature.shapley_cam", cost=_passes(1, 0.3)),
        _cam(
            "RefineCAM",
            "Aggregation of Grad-CAM++ over layers: arXiv 2605.14641",
            "activation.refine_cam",
            cost=_passes(1, 1),
            signed=False,
        ),
        _cam(
            "Finer-CAM",
            "Zhang et al. 2025, arXiv 2501.11309",
            "activation.finer_cam",
            no_contrast="compares its class with those most like it already",
        ),
        _cam(
            "Score-CAM",
            "Wang et al. 2020, arXiv 1910.01279",
            "activation.scored",
            cost=_a_channel,
            signed=False,
        ),
        _cam(
            "Ablation-CAM",
            "Desai & Ramaswamy 2020, doi 10.1109/WACV45572.2020.9093360",
            "activation.ablated",
            cost=_a_channel,
        ),
        _captum(
            "Saliency",
            "gradient",
            "Simonyan et al. 2014, arXiv 1312.6034",
            "gradient.saliency",
            _passes(1, 1),
            signed=False,
            reduction="largest",
        ),
        _captum(
            "Input x gradient",
            "gradient",
            "Shrikumar et al. 2016, arXiv 1605.01713",
            "gradient.input_x_gradient",
            _passes(1, 1),
        ),
        _captum(
            "SmoothGrad",
            "gradient",
            "Smilkov et al. 2017, arXiv 1706.03825",
            "gradient.smoothgrad",
            _a_sample,
            signed=False,
            settings={"samples": 16, "noise": 0.1},
            reduction="largest",
        ),
        _captum(
            "Guided Backprop",
            "gradient",
            "Springenberg et al. 2015, arXiv 1412.6806",
            "gradient.guided_backprop",
            _passes(1, 1),
            RELUS,
        ),
        _captum(
            "Integrated gradients",
            "reference",
            "Sundararajan et al. 2017, arXiv 1703.01365",
            "gradient.integrated_gradients",
            lambda settings, channels, side: (settings["steps"] + 2.0, settings["steps"]),
            BASELINE,
            settings={"baseline": "black", "steps": 64},
            complete=True,
        ),
        _captum(
            "GradientSHAP",
            "reference",
            "Lundberg & Lee 2017, arXiv 1705.07874",
            "gradient.gradient_shap",
            _a_sample,
            "baselines",
            settings={"samples": 32, "noise": 0.05},
        ),
        _captum(
            "Expected gradients",
            "reference",
            "Erion et al. 2021, arXiv 1906.10670",
            "gradient.expected_gradients",
            _a_sample,
            REFERENCES,
            settings={"samples": 64},
        ),
        _captum(
            "DeepLIFT",
            "reference",
            "Shrikumar et al. 2017, arXiv 1704.02685",
            "gradient.deep_lift",
            _passes(4, 2),
            BASELINE,
            RELUS,
            settings={"baseline": "black"},
            complete=True,
        ),
        _captum(
            "Occlusion",
            "perturbation",
            "Zeiler & Fergus 2014, arXiv 1311.2901",
            "gradient.occlusion",
            _windows,
            BASELINE,
            settings={"baseline": "blurred", "window": 0, "stride": 0},
        ),
        _captum(
            "Feature ablation",
            "perturbation",
            "Zeiler & Fergus 2014, arXiv 1311.2901, on a grid without overlap",
            "gradient.feature_ablation",
            _cells,
            BASELINE,
            settings={"baseline": "blurred", "cell": 0},
        ),
        Method(
            "RISE",
            "perturbation",
            "own",
            "Petsiuk et al. 2018, arXiv 1806.07421",
            (BASELINE,),
            signed=True,
            cost=_a_mask,
            input=_kernel("masks.rise"),
            settings={"baseline": "mean", "masks": 512, "cells": 7, "kept": 0.5},
        ),
        _captum(
            "KernelSHAP",
            "perturbation",
            "Lundberg & Lee 2017, arXiv 1705.07874",
            "masks.kernel_shap",
            _a_mask,
            BASELINE,
            "superpixels",
            settings={"baseline": "blurred", "masks": 512, "segments": 36},
            complete=True,
        ),
        _captum(
            "LRP",
            "relevance",
            "Bach et al. 2015, doi 10.1371/journal.pone.0130140",
            "gradient.relevance",
            _passes(2, 1),
            "a rule for every layer",
        ),
        Method(
            "LRP-LN",
            "relevance",
            "own",
            "Ali et al. 2022, arXiv 2202.07304; Bach et al. 2015, doi 10.1371/journal.pone.0130140",
            (),
            signed=True,
            cost=_passes(1, 1),
            input=_kernel("relevance.held_relevance"),
            settings={"gamma": 0.0, "epsilon": 0.0},
        ),
        Method(
            "Attention rollout",
            "attention",
            "own",
            "Abnar & Zuidema 2020, arXiv 2005.00928",
            (ATTENTION,),
            signed=False,
            cost=_passes(1, 0.1),
            input=_kernel("attention.rollout"),
            no_contrast="explains no class, but how the blocks mix what they read",
        ),
        Method(
            "Gradient-weighted attention",
            "attention",
            "own",
            "Chefer et al. 2021, arXiv 2103.15679",
            (ATTENTION,),
            signed=False,
            cost=_passes(1, 1),
            input=_kernel("attention.gradient_weighted"),
        ),
    )
}
