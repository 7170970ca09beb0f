"""Any torch model as a classifier: its input, its output and its layers, found by running it or asked for by name."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import itertools
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from workbench.attribution.layers import find_layers
from workbench.classifier import Classifier, Outputs, untouched, weights_digest
from workbench.errors import AttributionError, CheckpointError, DataError
from workbench.records import ImageArray, Provenance

SIZE, CROP = 224, 0.875
NORMALISATIONS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
Transform = Callable[[Any], Any]
# what torch and models raise on an input that they were not made for
_UNFIT = (RuntimeError, ValueError, TypeError, AssertionError, IndexError, KeyError, AttributeError)
PROBES, DRAWS = 8, 24


def classifier_of(
    module: nn.Module,
    classes: Sequence[str],
    transform: str | Transform | None = None,
    *,
    image_size: int | None = None,
    outputs: Outputs = "found",
) -> Classifier:
    """Any torch model from images to logits or probabilities as a classifier.

    Parameters
    ----------
    module : nn.Module
        Takes one batch ``(n, 3, s, s)``; gives ``(n, K)``, or for two classes one value an image, that of the second.
    classes : sequence of str
        K names, in the order of the outputs.
    transform : callable, str or None
        How an image becomes the model's input: the evaluation transform it was trained with (torchvision's, timm's or
        albumentations'; size and normalisation are read off what it does to plain images), or the name of a
        normalisation: ``"imagenet"``, ``"half"`` (-1 to 1) or ``"none"`` (0 to 1), with the shorter side resized to
        the model's size over 0.875 and the middle cropped. None takes what a timm model says of itself.
    image_size : int, optional
        Side of the input in pixels; by default the transform's, the model's own, or 224.
    outputs : "found", "logits" or "probabilities"
        Found: probabilities if the outputs of eight test images are all shares that sum to 1.

    Layers for maps are found by running the model once (see `attribution.layers.find_layers`); a model without a layer
    that has a grid still has maps on the input. What the last linear layer reads is the embedding. The model is left
    as it was.

    Raises
    ------
    DataError
        If the model takes several inputs, does not run on such images, gives something else than one value a class, or
        its normalisation is unknown; the message says what came and what to do.
    """
    names = tuple(map(str, classes))
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"classes: expected at least two different names, not {', '.join(names) or 'none'}")
    _check_inputs(module)
    mean, std, side, fit = _preprocessing(module, transform, image_size)
    bare = Classifier(module, names, mean, std, side, {}, fit=fit)
    adapted = _adapted(bare, outputs)
    bare = dataclasses.replace(bare, module=adapted)
    x = bare.prepare(np.zeros((1, side, side, 3), np.uint8))
    try:
        layers = find_layers(adapted, x)
    except AttributionError:  # methods on the input remain
        layers = {}
    return dataclasses.replace(
        bare,
        cam_layers=layers,
        embedding_layer=_head(adapted, x, len(names)),
        provenance=Provenance(
            checkpoint=_identity(bare),
            device=bare.device.type,
            precision="float32",
            versions={"torch": str(torch.__version__)},
        ),
    )


def load_weights(module: nn.Module, path: Path | str) -> None:
    """Load a state dictionary from a ``.safetensors``, ``.pt`` or ``.pth`` file into the model, strictly.

    Nothing is executed: of a ``.pt`` file only tensors are taken (``torch.load(weights_only=True)``). Under
    ``state_dict`` or ``model`` the dictionary is found too, and a prefix ``module.`` is taken off.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, holds more than tensors, or does not fit the model, which is then unchanged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: expected a .safetensors, .pt or .pth file of weights")
    try:
        found: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, and code of a file is never run: save the state dictionary alone, "
            "best as .safetensors"
        ) from error
    except (SafetensorError, OSError, EOFError, *_UNFIT) as error:
        raise CheckpointError(f"{path} is truncated or of another format ({_line(error)}): copy it again") from error
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{path}: expected a dictionary of tensors, not {type(found).__name__}")
    state = {str(name).removeprefix("module."): value for name, value in found.items()}
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    received = {name: tuple(value.shape) for name, value in state.items()}
    if odd := sorted(name for name in wanted.keys() | received.keys() if wanted.get(name) != received.get(name)):
        name = odd[0]
        raise CheckpointError(
            f"{path} does not fit the model: expected {name} {wanted.get(name)}, not {received.get(name)} "
            f"({len(odd)} of {len(wanted)} tensors differ)"
        )
    module.load_state_dict(state)


def _identity(classifier: Classifier) -> str:
    """SHA-256 of all that decides a prediction: weights, structure, normalisation, and what becomes of an image."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    seen = noise if classifier.fit is None else classifier.fit(noise)
    parts = (classifier.mean, classifier.std, classifier.image_size, repr(classifier.module))
    found = hashlib.sha256(f"{weights_digest(classifier.module)}{parts}".encode())
    found.update(np.ascontiguousarray(seen).tobytes())
    return found.hexdigest()


def _check_inputs(module: nn.Module) -> None:
    parameters = inspect.signature(module.forward).parameters.values()
    wanted = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if len(wanted) > 1:
        raise DataError(
            f"the model takes {len(wanted)} inputs ({', '.join(wanted)}): expected one batch of images; wrap it in a "
            "module that brings the others"
        )


def _preprocessing(
    module: nn.Module, transform: str | Transform | None, size: int | None
) -> tuple[tuple[float, ...], tuple[float, ...], int, Callable[[ImageArray], ImageArray]]:
    """Mean, deviation, side, and what brings an image to that side."""
    if callable(transform):
        return _measured(transform, size)
    told: Mapping[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    side = size or _own_size(module) or (int(told["input_size"][-1]) if "input_size" in told else SIZE)
    if transform is None:
        if "mean" not in told or "std" not in told:
            raise DataError(
                "transform: this model does not say how its input is normalised: give the evaluation transform, or one "
                f"of the names {', '.join(NORMALISATIONS)}"
            )
        mean, std, share = tuple(told["mean"]), tuple(told["std"]), float(told.get("crop_pct") or CROP)
    elif transform in NORMALISATIONS:
        (mean, std), share = NORMALISATIONS[transform], CROP
    else:
        raise DataError(f"transform: expected a function or one of {', '.join(NORMALISATIONS)}, not {transform!r}")
    return mean, std, side, lambda image: cropped(image, side, share)


def cropped(image: ImageArray, side: int, share: float) -> ImageArray:
    """The middle of an image, uint8 ``(side, side, 3)``, after its shorter side was resized to ``side / share``.

    Bilinear with antialiasing, as Pillow and torchvision's evaluation transforms have it; an image that has the
    model's size already stays as it is.
    """
    height, width = image.shape[:2]
    if (height, width) == (side, side):
        return image
    short = round(side / share)
    factor = short / min(height, width)
    rows, columns = max(short, round(height * factor)), max(short, round(width * factor))
    whole = Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR)
    top, left = (rows - side) // 2, (columns - side) // 2
    return np.array(whole.crop((left, top, left + side, top + side)), np.uint8)


def _measured(
    transform: Transform, size: int | None
) -> tuple[tuple[float, ...], tuple[float, ...], int, Callable[[ImageArray], ImageArray]]:
    """What a transform does, read off black, grey and white images: its size, and a scale and a shift a channel."""

    def plain(level: int) -> Tensor:
        return _applied(transform, np.full((96, 96, 3), level, np.uint8))

    black, grey, white = (plain(level) for level in (0, 128, 255))
    side = int(black.shape[2])
    if size is not None and size != side:
        raise DataError(f"image_size: the transform gives {side} pixels, not {size}: leave it out")
    flat = [float(x.amax((1, 2)).sub(x.amin((1, 2))).abs().max()) for x in (black, grey, white)]
    shift, scale = black.mean((1, 2)), white.mean((1, 2)) - black.mean((1, 2))
    off = (shift + scale * 128 / 255 - grey.mean((1, 2))).abs().max()
    if max(flat) > 1e-3 or float(scale.min()) <= 0 or float(off) > 0.02 * float(scale.max()):
        raise DataError(
            "transform: expected one that resizes, crops and normalises each channel by a mean and a deviation; this "
            "one does more to plain images: give the name of a normalisation instead"
        )
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    first = _applied(transform, noise)
    if not all(torch.equal(first, _applied(transform, noise)) for _ in range(DRAWS)):
        raise DataError("transform: this one draws random numbers, as for training: give that of evaluation")
    std, mean = 1 / scale, -shift / scale

    def fit(image: ImageArray) -> ImageArray:
        x = _applied(transform, image) * std[:, None, None] + mean[:, None, None]
        return (x * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()

    return tuple(mean.tolist()), tuple(std.tolist()), side, fit


def _applied(transform: Any, image: ImageArray) -> Tensor:
    """The transform's float32 ``(3, s, s)`` of an image uint8 ``(H, W, 3)``."""
    try:
        if type(transform).__module__.startswith("albumentations"):
            found: Any = transform(image=image)["image"]
        else:
            found = transform(Image.fromarray(image))
    except _UNFIT as error:
        raise DataError(f"transform: it does not take an RGB image ({_line(error)}): give another") from error
    if isinstance(found, np.ndarray):
        found = torch.from_numpy(np.ascontiguousarray(found.transpose(2, 0, 1) if found.ndim == 3 else found))
    shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    if not isinstance(found, Tensor) or found.ndim != 3 or found.shape[0] != 3 or found.shape[1] != found.shape[2]:
        raise DataError(f"transform: expected a square tensor (3, s, s) of it, not {shape}")
    if not found.is_floating_point():
        raise DataError(f"transform: expected floats of it, not {found.dtype}: add the conversion to float")
    return found.detach().float().cpu()


def _own_size(module: nn.Module) -> int | None:
    """The side that a vision transformer was made for, as torchvision's and timm's keep it."""
    for value in (getattr(module, "image_size", None), getattr(getattr(module, "patch_embed", None), "img_size", None)):
        if isinstance(value, int):
            return value
        if isinstance(value, tuple | list) and len(value) == 2 and value[0] == value[1]:
            return int(value[0])
    return None


class Adapted(nn.Module):
    """A model whose output is brought to logits ``(n, K)``, from a record, from probabilities or from one value."""

    def __init__(self, module: nn.Module, *, record: bool, probabilities: bool, single: bool) -> None:
        super().__init__()
        self.module, self.record, self.probabilities, self.single = module, record, probabilities, single

    def extra_repr(self) -> str:
        """What decides the output beside the weights."""
        return f"record={self.record}, probabilities={self.probabilities}, single={self.single}"

    def forward(self, x: Tensor) -> Tensor:
        """Logits; of probabilities their logarithms, of one value 0 for the first class."""
        found = self.module(x)
        values: Tensor = (found.logits if self.record else found).float()
        tiny = torch.finfo(torch.float32).tiny
        if not self.single:
            return values.clamp_min(tiny).log() if self.probabilities else values
        one = values.reshape(len(x))
        if self.probabilities:
            one = one.clamp_min(tiny).log() - (1 - one).clamp_min(tiny).log()
        return torch.stack([torch.zeros_like(one), one], 1)


def _adapted(bare: Classifier, outputs: Outputs) -> nn.Module:
    """The model itself if it gives logits, else one around it that does."""
    side, count = bare.image_size, len(bare.classes)
    images = np.random.default_rng(0).integers(0, 256, (PROBES, side, side, 3)).astype(np.uint8)
    images = (images * np.linspace(0, 1, PROBES)[:, None, None, None]).astype(np.uint8)
    try:
        with untouched(bare.module), torch.no_grad():
            found: Any = bare.module(bare.prepare(images))
    except _UNFIT as error:
        raise DataError(
            f"the model does not run on images (n, 3, {side}, {side}) ({_line(error)}): give its image_size or "
            "transform, or wrap it in a module that takes such images"
        ) from error
    record = not isinstance(found, Tensor) and isinstance(getattr(found, "logits", None), Tensor)
    values = found.logits if record else found
    if not isinstance(values, Tensor):
        raise DataError(
            f"the model gives a {type(found).__name__}: expected a tensor (n, {count}); wrap it in a module"
        )
    single = count == 2 and tuple(values.shape) in ((PROBES,), (PROBES, 1))
    if not single and tuple(values.shape) != (PROBES, count):
        shape = ("n", *tuple(values.shape)[1:])
        raise DataError(
            f"the model gives ({', '.join(map(str, shape))}) where {count} classes are named: expected (n, {count}), "
            "or for two classes (n, 1), the value of the second: name as many classes as the model has"
        )
    if not bool(torch.isfinite(values).all()):
        raise DataError("the model's output is not finite: its weights are damaged; load or train it again")
    shares = bool(((values >= 0) & (values <= 1)).all())
    if outputs == "found" and single and shares:
        raise DataError(
            "the model gives one value from 0 to 1 an image, which may be a logit or a probability: say which with "
            'outputs="logits" or outputs="probabilities"'
        )
    sums = shares and not single and bool((values.float().sum(1) - 1).abs().max() < 1e-3)
    if outputs == "found" and shares and not single and not sums:
        raise DataError(
            "the model gives values from 0 to 1 that do not sum to 1, as for several labels an image: one class an "
            'image is expected; if they are logits all the same, say outputs="logits"'
        )
    probabilities = outputs == "probabilities" or (outputs == "found" and sums)
    if probabilities and not (shares if single else sums):
        raise DataError("outputs: expected probabilities, and these do not lie in 0 to 1 and sum to 1: say logits")
    if not (record or single or probabilities):
        return bare.module
    return Adapted(bare.module, record=record, probabilities=probabilities, single=single)


def _head(module: nn.Module, x: Tensor, classes: int) -> str | None:
    """The last linear layer that runs, if it reads one vector an image; None else."""
    ran: list[str] = []
    linear = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear)}

    def recorder(name: str) -> Callable[..., None]:
        def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if inputs[0].ndim == 2 and output.shape[-1] in (classes, 1):
                ran.append(name)

        return record

    with untouched(module), torch.no_grad():
        for name, part in linear.items():
            part.register_forward_hook(recorder(name))
        module(x)
    return ran[-1] if ran else None


def _line(error: BaseException) -> str:
    """The first line of an error's words, or its name."""
    return next(itertools.chain(str(error).splitlines(), [type(error).__name__]))[:200]
