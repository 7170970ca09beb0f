"""Weights: loading a state dictionary without running code, and identifying weights by a digest."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import CheckpointError, first_line
from workbench.models.faults import UNFIT
from workbench.models.opaque import opaque_in

KEYS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "ema",
    "ema_state_dict",
    "module",
)
PREFIXES = ("_orig_mod.", "module.", "model.", "net.")
AVERAGING = frozenset({"n_averaged"})  # what torch.optim.swa_utils.AveragedModel keeps beside the weights


def load_weights(module: nn.Module, path: Path | str) -> None:
    """Load a state dictionary from a ``.safetensors``, ``.pt`` or ``.pth`` file into the model, strictly.

    No code is executed: from a ``.pt`` file only tensors are read (``torch.load(weights_only=True)``). The dictionary
    may be nested under one of `KEYS`, and the prefixes that wrappers leave (`PREFIXES`) are removed: of all readings
    the one that fits the model best is taken.

    Parameters
    ----------
    module : nn.Module
        Changed in place.
    path : path

    Returns
    -------
    None

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
    except (SafetensorError, OSError, EOFError, *UNFIT) as error:
        raise CheckpointError(
            f"{path} is truncated or of another format ({first_line(error)}): copy it again"
        ) from error
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    state = max(_states(found, path), key=lambda state: _fitting(state, wanted) - len(state.keys() - wanted.keys()))
    for name in AVERAGING - wanted.keys():
        state.pop(name, None)
    if fault := _misfit({name: tuple(value.shape) for name, value in state.items()}, wanted):
        raise CheckpointError(f"{path} does not fit the model: {fault}")
    module.load_state_dict(state)


def _misfit(received: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]) -> str:
    """What keeps weights from fitting, counted; empty if they fit."""
    others = sorted(name for name in wanted.keys() & received.keys() if wanted[name] != received[name])
    missing, more = sorted(wanted.keys() - received.keys()), sorted(received.keys() - wanted.keys())
    faults = [f"expected {name} {wanted[name]}, not {received[name]}" for name in others[:1]]
    faults += [f"{len(missing)} tensors are missing, such as {missing[0]}"] if missing else []
    faults += [f"{len(more)} are left over, such as {more[0]}"] if more else []
    fit = len(wanted) - len(others) - len(missing)
    return f"of its {len(wanted)} tensors {fit} fit; {'; '.join(faults)}" if faults else ""


def _states(found: Any, path: Path) -> list[dict[str, Tensor]]:
    """Every dictionary of tensors in a file, as it is and with each usual prefix removed from its names."""
    nested = [found, *(found.get(key) for key in KEYS)] if isinstance(found, Mapping) else [found]
    states = [one for one in nested if isinstance(one, Mapping) and one and _is_state(one)]
    if not states:
        raise CheckpointError(
            f"{path}: expected a dictionary of tensors, or one under {', '.join(KEYS)}, not {type(found).__name__}"
        )
    names = [{str(name): value for name, value in one.items() if isinstance(value, Tensor)} for one in states]
    return [_stripped(one, prefixes) for one in names for prefixes in ((), *((p,) for p in PREFIXES), PREFIXES)]


def _is_state(values: Mapping[Any, Any]) -> bool:
    """Whether all values are tensors; the count of averaged steps that an EMA keeps is a number."""
    return all(isinstance(value, Tensor | int | float) for value in values.values()) and any(
        isinstance(value, Tensor) for value in values.values()
    )


def _stripped(state: Mapping[str, Tensor], prefixes: Sequence[str]) -> dict[str, Tensor]:
    """The tensors with prefixes removed, in any order, as wrappers of wrappers leave them."""
    found = dict(state)
    for _ in prefixes:
        for prefix in prefixes:
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def _fitting(state: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]]) -> int:
    return sum(tuple(value.shape) == wanted.get(name) for name, value in state.items())


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, types and bytes of all parameters and buffers, as they are in memory now."""
    digest = hashlib.sha256()
    for name, value in sorted(_state_of(module).items()):
        _update(digest, name, value)
    return digest.hexdigest()


def _state_of(module: nn.Module) -> dict[str, Any]:
    """The state dictionary, with that of an opaque model within."""
    found = dict(module.state_dict())
    if (inner := opaque_in(module)) is not None:
        found |= {f"opaque.{name}": value for name, value in inner.state_dict().items()}
    return found


def _update(digest: Any, name: str, value: Any) -> None:
    """Add a tensor, a quantised one, a tuple of such, or a value with a ``repr`` to a digest."""
    if isinstance(value, tuple | list):
        for place, one in enumerate(value):
            _update(digest, f"{name}.{place}", one)
    elif isinstance(value, Tensor):
        values = value.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        if values.is_quantized:
            digest.update(f"{values.qscheme()} {_scales(values)} ".encode())
            values = values.int_repr()
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    else:
        digest.update(f"{name} {value!r} ".encode())


def _scales(values: Tensor) -> str:
    """The scales and zero points of a quantised tensor."""
    if values.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return f"{values.q_scale()} {values.q_zero_point()}"
    return f"{values.q_per_channel_scales().tolist()} {values.q_per_channel_zero_points().tolist()}"
