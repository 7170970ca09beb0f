"""Weights: loading a state dictionary without running code, and identifying weights by a digest."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workbench.errors import CheckpointError
from workbench.models.faults import UNFIT, first_line


def load_weights(module: nn.Module, path: Path | str) -> None:
    """Load a state dictionary from a ``.safetensors``, ``.pt`` or ``.pth`` file into the model, strictly.

    No code is executed: from a ``.pt`` file only tensors are read (``torch.load(weights_only=True)``). The dictionary
    may be nested under ``state_dict`` or ``model``, and a prefix ``module.`` is removed.

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


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, types and bytes of all parameters and buffers, as they are in memory now."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)} ".encode())
        digest.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
