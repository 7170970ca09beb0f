"""Checkpoints: weights as safetensors with a readable JSON sidecar. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.architectures import BUILDERS, HEAD_FACTOR, build
from training.errors import TrainingError
from training.files import write_atomically

WEIGHTS, SIDECAR = "model.safetensors", "model.json"
MOST, MOST_SIDE = 65_536, 1_024  # of a width, of a side in pixels: more is no checkpoint of this model
Statistics = tuple[tuple[float, ...], tuple[float, ...]]
_REQUIRED = ("architecture", "width", "classes", "mean", "std", "image_size", "weights_sha256")


@dataclass(frozen=True)
class Initial:
    """Weights to start from, their SHA-256, and the mean and deviation of the channels that they expect."""

    weights: Mapping[str, Tensor]
    sha256: str
    statistics: Statistics


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect the numbers."""
    packages = ("torch", "torchvision", "numpy", "albumentations", "safetensors")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


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


def read_sidecar(folder: Path) -> dict[str, Any]:
    """The sidecar of the checkpoint in ``folder``.

    Raises
    ------
    TrainingError
        If it is missing, not JSON, or lacks a field.
    """
    path = folder / SIDECAR
    if not path.is_file():
        raise TrainingError(f"no checkpoint in {folder}: expected {WEIGHTS} and {SIDECAR}, as training.run writes them")
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{path} is not JSON ({error}): restore it from the run that wrote it") from error
    missing = [name for name in _REQUIRED if name not in sidecar] if isinstance(sidecar, dict) else list(_REQUIRED)
    if missing:
        raise TrainingError(f"{path} lacks the field {missing[0]!r}: restore it from the run that wrote it")
    if sidecar["architecture"] not in BUILDERS:
        raise TrainingError(
            f"{path}: expected an architecture of {', '.join(BUILDERS)}, not {sidecar['architecture']!r}"
        )
    classes, scales = sidecar["classes"], [*_listed(sidecar["mean"]), *_listed(sidecar["std"])]
    if (
        not (_is_count(sidecar["width"], MOST) and _is_count(sidecar["image_size"], MOST_SIDE))
        or not (isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes))
        or len(scales) != 6
        or not all(type(value) in (int, float) and abs(value) < MOST for value in scales)
        or not all(value > 0 for value in scales[3:])
    ):
        raise TrainingError(
            f"{path}: expected a list of classes, a width from 1 to {MOST:,}, an image_size from 1 to {MOST_SIDE:,}, "
            "and three numbers each in mean and std, those of std above 0: restore it from the run that wrote it"
        )
    return dict(sidecar)


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 < value <= most


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


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
    if hashlib.sha256(path.read_bytes()).hexdigest() != sidecar["weights_sha256"]:
        raise TrainingError(f"{folder / SIDECAR} does not belong to {path} (other SHA-256): restore both from one run")
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
