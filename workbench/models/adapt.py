"""A model's output converted to logits: what it takes, what it gives, and which layer reads the embedding."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core.records import ImageArray
from workbench.errors import DataError, first_line
from workbench.models.faults import UNFIT
from workbench.models.hooks import preserve
from workbench.models.opaque import Opaque

Outputs = Literal["found", "logits", "probabilities"]
PROBES = 8
# where records of several values keep the classes' scores
KEYS = ("logits", "out", "output", "outputs", "scores", "pred", "preds", "predictions", "probabilities", "probs")


def probes(size: tuple[int, int]) -> ImageArray:
    """Eight images of noise, from black to full contrast, uint8 ``(8, *size, 3)``; the same every time."""
    noise = np.random.default_rng(0).integers(0, 256, (PROBES, *size, 3)).astype(np.uint8)
    return (noise * np.linspace(0, 1, PROBES)[:, None, None, None]).astype(np.uint8)


def check_inputs(module: nn.Module) -> None:
    """Raise `DataError` if the model takes more than one input."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # a scripted model's forward has no signature; running it tells
        return
    wanted = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if len(wanted) > 1:
        raise DataError(
            f"the model takes {len(wanted)} inputs ({', '.join(wanted)}): expected one batch of images; wrap it in a "
            "module that supplies the others"
        )


def channels_of(module: nn.Module, size: tuple[int, int]) -> int:
    """1 or 4 if the model runs on so many channels and not on three, else 3."""
    device = next((p.device for p in module.parameters()), torch.device("cpu"))

    def runs(channels: int) -> bool:
        try:
            _answer(module, torch.zeros(2, channels, *size, dtype=dtype_of(module), device=device))
        except DataError:
            return False
        return True

    return next((channels for channels in (3, 1, 4) if runs(channels)), 3)


def dtype_of(module: nn.Module) -> torch.dtype:
    """The type of the model's floating-point parameters, which its input must have; float32 if it has none."""
    kinds = [p.dtype for p in module.parameters() if p.is_floating_point()]
    return kinds[0] if kinds else torch.float32


@dataclass(frozen=True)
class Reading:
    """How a model is fed and read: the defaults are those of a model that takes float32 RGB and gives logits.

    Parameters
    ----------
    key : str, int or None
        Under which name or at which place of a record the scores are.
    squeeze : bool
        Whether the scores have further axes of length 1.
    probabilities, single : bool
        Whether they are probabilities; whether there is one value an image, that of the second of two classes.
    grey : bool
        Whether the model takes one channel: the mean of the three.
    alpha : float or None
        For a model of four channels the value of the fourth, that of opaque pixels.
    copy : bool
        Whether the model changes its input in place, so that it gets a copy.
    dtype : torch.dtype
        What the model's input must be.
    """

    key: str | int | None = None
    squeeze: bool = False
    probabilities: bool = False
    single: bool = False
    grey: bool = False
    alpha: float | None = None
    copy: bool = False
    dtype: torch.dtype = torch.float32

    def feed(self, x: Tensor) -> Tensor:
        """The input as the model takes it, of normalised float32 ``(n, 3, h, w)``."""
        fed = (x.mean(1, keepdim=True) if self.grey else x).to(self.dtype)
        if self.alpha is not None:
            fed = torch.cat([fed, torch.full_like(fed[:, :1], self.alpha)], 1)
        return fed.clone() if self.copy else fed

    def scores(self, found: Any) -> Any:
        """The scores in what the model gives."""
        if self.key is None:
            values = found
        elif isinstance(self.key, str) and not isinstance(found, Mapping):
            values = getattr(found, self.key)
        else:
            values = found[self.key]
        return values.flatten(1) if self.squeeze else values


class Adapted(nn.Module):
    """A model whose input and output are converted, so that it takes float32 RGB and gives logits ``(n, K)``."""

    def __init__(self, module: nn.Module, reading: Reading) -> None:
        super().__init__()
        self.module, self.reading = module, reading

    def extra_repr(self) -> str:
        """What determines the output besides the weights."""
        changed = {k: v for k, v in vars(self.reading).items() if v != getattr(Reading(), k)}
        return ", ".join(f"{name}={value}" for name, value in changed.items())

    def forward(self, x: Tensor) -> Tensor:
        """Logits; for probabilities their logarithms, for one value minus and plus a half of it: both explain."""
        reading = self.reading
        values: Tensor = reading.scores(self.module(reading.feed(x))).float()
        tiny = torch.finfo(torch.float32).tiny
        if not reading.single:
            return values.clamp_min(tiny).log() if reading.probabilities else values
        one = values.reshape(len(x))
        if reading.probabilities:
            one = one.clamp_min(tiny).log() - (1 - one).clamp_min(tiny).log()
        return torch.stack([-one / 2, one / 2], 1)


def adapt(
    module: nn.Module, x: Tensor, classes: int, outputs: Outputs, *, grey: bool = False, alpha: float | None = None
) -> nn.Module:
    """The model itself if it takes float32 RGB and gives logits for the normalised `probes` ``x``, else one around it.

    Raises
    ------
    DataError
        If it does not run on them, or gives anything but one finite value per class.
    """
    fed = Reading(grey=grey, alpha=alpha, copy=True, dtype=dtype_of(module))
    given = fed.feed(x)
    found = _answer(module, given)
    in_place = not torch.equal(given, fed.feed(x))
    key, values = _scores_in(found, len(x), classes)
    squeeze = isinstance(values, Tensor) and values.ndim > 2 and all(side == 1 for side in values.shape[2:])
    read = dataclasses.replace(fed, key=key, squeeze=squeeze, copy=in_place)
    scores = values.flatten(1) if squeeze else values
    single = _checked_shape(scores, len(x), classes)
    _check_repeatable(module, scores, read.scores(_answer(module, fed.feed(x))))
    named = outputs == "found" and key == "logits"  # the model says what they are
    probabilities = _is_probability(scores, single, "logits" if named else outputs)
    read = dataclasses.replace(read, probabilities=probabilities, single=single)
    return module if read == Reading() and not isinstance(module, Opaque) else Adapted(module, read)


def _answer(module: nn.Module, x: Tensor) -> Any:
    try:
        with preserve(module), torch.no_grad():
            return module(x)
    except UNFIT as error:
        shape = ", ".join(map(str, x.shape[1:]))
        free = ", or export it with a free batch axis" if isinstance(module, Opaque) else ""
        raise DataError(
            f"the model does not run on {_type(x)} images (n, {shape}) ({first_line(error)}): give its image_size or "
            f"transform, or wrap it in a module that takes such images{free}"
        ) from error


def _type(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def _scores_in(found: Any, images: int, classes: int) -> tuple[str | int | None, Any]:
    """Where in a model's output the classes' scores are, and the scores.

    A record may have several values: the one under a usual name (`KEYS`), else the first with one value a class.
    """
    if isinstance(found, Tensor):
        return None, found
    items: dict[str | int, Any] = {}
    if isinstance(found, Mapping):
        items = dict(found)
    elif isinstance(found, list | tuple):
        items = dict(enumerate(found))
    named = {key: items.get(key, getattr(found, key, None)) for key in KEYS}
    known = [
        (key, value)
        for key, value in (*named.items(), *items.items())
        if isinstance(value, Tensor) and value.ndim and len(value) == images
    ]
    for wanted in (classes, 1):  # one value an image only where nothing has one a class
        for key, value in known:
            if value.reshape(images, -1).shape[1] == wanted:
                return key, value
    by_name = [(key, value) for key, value in known if key in KEYS]
    return by_name[0] if by_name else (None, found)  # whose shape is then reported


def _check_repeatable(module: nn.Module, one: Tensor, two: Tensor) -> None:
    """Raise `DataError` if a second pass gives something else: the model draws random numbers when it answers."""
    if one.shape != two.shape:
        return
    if not torch.allclose(one.float(), two.float(), rtol=1e-3, atol=1e-4, equal_nan=True):
        inner = [type(part).__name__ for name, part in module.named_modules() if name]
        kinds = sorted({kind for kind in inner if "drop" in kind.lower()})
        named = f" (it has {', '.join(kinds)})" if kinds else ""
        raise DataError(
            f"the model's output changes from call to call{named}: expected one answer for one image; turn off dropout "
            "and other random layers in evaluation mode, such as functional.dropout(x, training=self.training)"
        )


def _checked_shape(values: Any, images: int, classes: int) -> bool:
    """Whether the output is one value per image, for two classes; `DataError` if it is neither that nor ``(n, K)``."""
    if not isinstance(values, Tensor):
        raise DataError(
            f"the model gives a {type(values).__name__}: expected a tensor (n, {classes}); wrap it in one that does"
        )
    single = classes == 2 and tuple(values.shape) in ((images,), (images, 1))
    if not single and tuple(values.shape) != (images, classes):
        shape = ("n", *tuple(values.shape)[1:])
        raise DataError(
            f"the model gives ({', '.join(map(str, shape))}) where {classes} classes are named: expected "
            f"(n, {classes}), or for two classes (n, 1), the value of the second: name as many classes as the model has"
        )
    if not bool(torch.isfinite(values).all()):
        raise DataError("the model's output is not finite: its weights are damaged; load or train it again")
    return single


def _is_probability(values: Tensor, single: bool, outputs: Outputs) -> bool:
    """Whether the output is probabilities, by ``outputs`` or by its values; `DataError` where that is ambiguous."""
    shares = bool(((values >= 0) & (values <= 1)).all())
    if outputs == "found" and single and shares:
        raise DataError(
            "the model gives one value from 0 to 1 an image, which may be a logit or a probability: say which with "
            'outputs="logits" or outputs="probabilities"'
        )
    off = 1e-3 if values.dtype in (torch.float32, torch.float64) else 2e-2  # half and bfloat16 are rounded
    sums = shares and not single and bool((values.float().sum(1) - 1).abs().max() < off)
    if outputs == "found" and shares and not single and not sums:
        raise DataError(
            "the model gives values from 0 to 1 that do not sum to 1, as for several labels an image: expected one "
            'class an image; if they are logits, pass outputs="logits"'
        )
    probabilities = outputs == "probabilities" or (outputs == "found" and sums)
    if probabilities and not (shares if single else sums):
        raise DataError(
            "outputs: expected probabilities, but these do not lie in 0 to 1 or do not sum to 1: if they are logits, "
            'pass outputs="logits"'
        )
    return probabilities


def head_of(module: nn.Module, x: Tensor, classes: int) -> str | None:
    """The last linear layer that runs, if it reads one vector per image; otherwise None."""
    ran: list[str] = []
    linear = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear)}

    def recorder(name: str) -> Callable[..., None]:
        def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if inputs[0].ndim == 2 and len(inputs[0]) == len(x) and output.shape[-1] in (classes, 1):
                ran.append(name)

        return record

    with preserve(module), torch.no_grad():
        for name, part in linear.items():
            part.register_forward_hook(recorder(name))
        module(x)
    return ran[-1] if ran and ran.count(ran[-1]) == 1 else None  # of several runs none is the image's alone
