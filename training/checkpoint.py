"""Checkpoints: weights as safetensors with a readable JSON sidecar. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.architectures import HEAD_FACTOR, build
from training.errors import TrainingError
from training.files import write_atomically
from training.sidecar import SIDECAR, WEIGHTS, check_digest, read_sidecar

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Initial:
    """Weights to start from, their SHA-256, and the mean and deviation of the channels that they expect."""

    weights: Mapping[str, Tensor]
    sha256: str
    statistics: Statistics


def git_revision() -> str | None:
    """Commit of the code, with ``+changes`` if files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty=+changes"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def save(folder: Path, weights: Mapping[str, Tensor], sidecar: Mapping[str, Any]) -> None:
    """Write both files atomically, the weights as float32; the sidecar receives their SHA-256.

    Raises
    ------
    TrainingError
        If the disk is full or the folder can't be written.
    """
    state = {name: tensor.detach().cpu().float().contiguous() for name, tensor in weights.items()}
    write_atomically(folder / WEIGHTS, lambda path: save_file(state, path))
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    content = {**sidecar, "weights_sha256": digest}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / SIDECAR, lambda path: path.write_text(text, encoding="utf-8"))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises
    ------
    TrainingError
        If the file is missing, truncated or of another format.
    """
    if not path.is_file():
        raise TrainingError(f"{path} is missing: expected a safetensors file, as training.run writes it")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise TrainingError(f"{path} is truncated or not a safetensors file ({error}): copy it again") from error


def load(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model in evaluation mode and its sidecar.

    Raises
    ------
    TrainingError
        If a file is missing, truncated, or the two don't fit each other.
    """
    sidecar = read_sidecar(folder)
    path = folder / WEIGHTS
    state = read_weights(path)
    check_digest(folder, sidecar)
    head = tuple(state["head.weight"].shape) if "head.weight" in state else None
    wanted = (len(sidecar["classes"]), HEAD_FACTOR * sidecar["width"])
    if head != wanted:  # before anything of that size is built
        raise TrainingError(
            f"{path} does not fit {SIDECAR}: expected head.weight {wanted}, not {head}; restore both from one run"
        )
    model = build(sidecar["architecture"], len(sidecar["classes"]), sidecar["width"])
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    received = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if expected != received:
        name = sorted(k for k in expected.keys() | received.keys() if expected.get(k) != received.get(k))[0]
        raise TrainingError(
            f"{path} does not fit {SIDECAR}: expected {name} {expected.get(name)}, not {received.get(name)}; "
            "restore both from one run"
        )
    model.load_state_dict(state)
    return model.eval(), sidecar


def parameter_count(model: nn.Module) -> int:
    """Number of trainable and frozen parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
