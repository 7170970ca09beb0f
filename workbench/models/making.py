"""Any torch model as a classifier."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core.names import ClassNames, class_names
from workbench.core.records import Provenance
from workbench.errors import AttributionError, DataError
from workbench.models.adapt import Outputs, adapt, channels_of, check_inputs, head_of, probes
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve
from workbench.models.layer import Layer
from workbench.models.layers import find_layers
from workbench.models.measured import Transform
from workbench.models.opaque import NO_GRADIENT, Opaque, opaque_of
from workbench.models.transforms import preprocessing
from workbench.models.weights import weights_digest


def classifier_of(
    module: nn.Module | Path | str,
    classes: ClassNames,
    transform: str | Transform | None = None,
    *,
    image_size: int | tuple[int, int] | None = None,
    outputs: Outputs = "found",
) -> Classifier:
    """Any torch model, or one in an ONNX file, from images to logits or probabilities as a classifier.

    Parameters
    ----------
    module : nn.Module
        Takes one batch ``(n, 3, h, w)`` or ``(n, 1, h, w)``, in the type of its weights; gives ``(n, K)``, or for two
        classes one value per image, that of the second; or a record that has such a tensor. Scripted, traced, exported
        and quantised models are run as they are: they have predictions and maps by perturbation. A path of an ``.onnx``
        file is run by onnxruntime, or converted where that gives the same answers (see `models.onnx.load_onnx`).
    classes : sequence of str, or mapping
        K names in the order of the outputs; a ``class_to_idx`` or ``id2label`` dictionary is read by its numbers.
    transform : callable, str or None
        How an image becomes the model's input: the evaluation transform it was trained with (torchvision's, timm's or
        albumentations'; size and normalisation are inferred from what it does to plain images), or the name of a
        normalisation: ``"imagenet"``, ``"half"`` (-1 to 1), ``"none"`` (0 to 1) or ``"bytes"`` (0 to 255), with the
        image resized to cover the model's size over 0.875 and the middle cropped. None takes what a timm model's own
        configuration says.
    image_size : int or (int, int), optional
        Side of the input in pixels, or height and width; by default the transform's, the model's own, or 224. A
        transform that resizes nothing, such as CIFAR's, needs it.
    outputs : "found", "logits" or "probabilities"
        Found: probabilities if the outputs for eight test images all lie in 0 to 1 and sum to 1, otherwise logits.

    Returns
    -------
    Classifier
        With the model, which is left unchanged, or one around it that gives logits.

    Notes
    -----
    Layers for maps are found by running the model once (see `models.layers.find_layers`); a model without a layer
    that has a grid still has maps on the input. The embedding is the input of the last linear layer.

    Raises
    ------
    DataError
        If the model takes several inputs, does not run on such images, gives anything but one value per class, or its
        normalisation is unknown.
    """
    names = class_names(classes)
    channels = None
    if isinstance(module, str | Path) and str(module).endswith(".onnx"):
        from workbench.models.onnx import load_onnx

        module, fixed, channels = load_onnx(Path(module))
        image_size = image_size or fixed
    if not isinstance(module, nn.Module):
        raise DataError(
            f"module: expected a torch.nn.Module or the path of an .onnx file, not {type(module).__name__}: build "
            "the model first and load its weights with workbench.load_weights(model, path); of an object that holds "
            "the model give that attribute"
        )
    if any(parameter.is_inference() for parameter in module.parameters()):
        raise DataError(
            "module: its weights were made under torch.inference_mode, so that nothing can be differentiated: build "
            "the model outside of it"
        )
    check_inputs(module)
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps: compiled code takes no further hooks
    inner = opaque_of(module)
    read = preprocessing(module, transform, image_size, channels or 3)
    if not callable(transform) and channels is None:
        channels = channels_of(inner, read.size)
        if channels == 4:
            raise DataError(
                "transform: the model takes four channels, and a normalisation by name says nothing of the fourth: "
                "give the evaluation transform, which makes them of an RGB image"
            )
        read = read if channels == 3 else preprocessing(module, transform, image_size, channels)
    size = read.size
    side = size[0] if size[0] == size[1] else size
    bare = Classifier(inner, names, read.mean, read.std, side, {}, fit=read.fit)
    x = bare.prepare(probes(size))
    bare = dataclasses.replace(
        bare, module=adapt(inner, x, len(names), outputs, grey=read.channels == 1, alpha=read.alpha)
    )
    if not bare.opaque and not _has_gradient(bare.module, x[:1]):
        module.eval()  # no submodule of the wrapper, whose mode it would follow
        closed = Opaque(lambda images: module(images), NO_GRADIENT, module.state_dict)
        bare = dataclasses.replace(
            bare, module=adapt(closed, x, len(names), outputs, grey=read.channels == 1, alpha=read.alpha)
        )
    layers, reason = _layers(bare, x[[3, 7]])
    return dataclasses.replace(
        bare,
        cam_layers=layers,
        no_layer=reason,
        embedding_layer=None if bare.opaque else head_of(bare.module, x[:1], len(names)),
        provenance=Provenance(
            checkpoint=_identity(bare),
            device=bare.device.type,
            precision="float32",
            versions={"torch": str(torch.__version__)},
        ),
    )


def _has_gradient(module: nn.Module, x: Tensor) -> bool:
    """Whether the output can be differentiated with respect to the input."""
    with preserve(module), torch.inference_mode(False), torch.enable_grad():
        return bool(module(x.clone().requires_grad_()).requires_grad)


def _layers(classifier: Classifier, x: Tensor) -> tuple[dict[str, Layer], str]:
    """The layers for maps, and why none of them is taken unless it is named; methods on the input always remain."""
    if classifier.opaque:
        return {}, classifier.opaque
    try:
        layers = find_layers(classifier.module, x)
    except AttributionError as error:
        return {}, str(error)
    partial = next(reversed(layers.values())).partial
    return layers, f"the answer comes from several parts at once ({', '.join(layers)}); name one" if partial else ""


def _identity(classifier: Classifier) -> str:
    """SHA-256 of all that determines a prediction: weights, structure, normalisation, and how an image is resized."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    try:
        seen = noise if classifier.fit is None else classifier.fit(noise)
    except DataError:  # a transform that keeps an image's own size resizes nothing
        seen = noise
    parts = (classifier.mean, classifier.std, classifier.image_size, repr(classifier.module))
    found = hashlib.sha256(f"{weights_digest(classifier.module)}{parts}".encode())
    found.update(np.ascontiguousarray(seen).tobytes())
    return found.hexdigest()
