"""A model's output converted to logits: what it takes, what it gives, and which layer reads the embedding."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from workbench.core.records import ImageArray
from workbench.errors import DataError
from workbench.models.faults import UNFIT, first_line
from workbench.models.hooks import preserve

Outputs = Literal["found", "logits", "probabilities"]
PROBES = 8


def probes(side: int) -> ImageArray:
    """Eight images of noise, from black to full contrast, uint8 ``(8, side, side, 3)``; the same every time."""
    noise = np.random.default_rng(0).integers(0, 256, (PROBES, side, side, 3)).astype(np.uint8)
    return (noise * np.linspace(0, 1, PROBES)[:, None, None, None]).astype(np.uint8)


def check_inputs(module: nn.Module) -> None:
    """Raise `DataError` if the model takes more than one input."""
    parameters = inspect.signature(module.forward).parameters.values()
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


class Adapted(nn.Module):
    """A model whose output is converted to logits ``(n, K)``, from a record, from probabilities or from one value."""

    def __init__(self, module: nn.Module, *, record: bool, probabilities: bool, single: bool) -> None:
        super().__init__()
        self.module, self.record, self.probabilities, self.single = module, record, probabilities, single

    def extra_repr(self) -> str:
        """What determines the output besides the weights."""
        return f"record={self.record}, probabilities={self.probabilities}, single={self.single}"

    def forward(self, x: Tensor) -> Tensor:
        """Logits; for probabilities their logarithms, for one value 0 as the first class's."""
        found = self.module(x)
        values: Tensor = (found.logits if self.record else found).float()
        tiny = torch.finfo(torch.float32).tiny
        if not self.single:
            return values.clamp_min(tiny).log() if self.probabilities else values
        one = values.reshape(len(x))
        if self.probabilities:
            one = one.clamp_min(tiny).log() - (1 - one).clamp_min(tiny).log()
        return torch.stack([torch.zeros_like(one), one], 1)


def adapt(module: nn.Module, x: Tensor, classes: int, outputs: Outputs) -> nn.Module:
    """The model itself if it gives logits for the normalised `probes` ``x``, else a wrapper around it that does.

    Raises
    ------
    DataError
        If it does not run on them, or gives anything but one finite value per class.
    """
    found = _answer(module, x)
    _check_repeatable(module, x, found)
    record = not isinstance(found, Tensor) and isinstance(getattr(found, "logits", None), Tensor)
    values = found.logits if record else found
    single = _checked_shape(values, len(x), classes)
    probabilities = _is_probability(values, single, outputs)
    if not (record or single or probabilities):
        return module
    return Adapted(module, record=record, probabilities=probabilities, single=single)


def _answer(module: nn.Module, x: Tensor) -> Any:
    try:
        with preserve(module), torch.no_grad():
            return module(x)
    except UNFIT as error:
        side = x.shape[2]
        raise DataError(
            f"the model does not run on images (n, 3, {side}, {side}) ({first_line(error)}): give its image_size or "
            "transform, or wrap it in a module that takes such images"
        ) from error


def _check_repeatable(module: nn.Module, x: Tensor, first: Any) -> None:
    """Raise `DataError` if a second pass gives something else: the model draws random numbers when it answers."""

    def numbers(found: Any) -> Tensor | None:
        values = found if isinstance(found, Tensor) else getattr(found, "logits", None)
        return values if isinstance(values, Tensor) else None

    one, two = numbers(first), numbers(_answer(module, x))
    if one is None or two is None or one.shape != two.shape:
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
    sums = shares and not single and bool((values.float().sum(1) - 1).abs().max() < 1e-3)
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
            if inputs[0].ndim == 2 and output.shape[-1] in (classes, 1):
                ran.append(name)

        return record

    with preserve(module), torch.no_grad():
        for name, part in linear.items():
            part.register_forward_hook(recorder(name))
        module(x)
    return ran[-1] if ran else None
