"""The readable half of a checkpoint, without torch: what the weights are, and whether they are those."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

from training.errors import TrainingError
from training.recipe import Architecture

WEIGHTS, SIDECAR = "model.safetensors", "model.json"
MOST, MOST_SIDE = 65_536, 1_024  # of a width, of a side in pixels: more is no checkpoint of this model
_REQUIRED = ("architecture", "width", "classes", "mean", "std", "image_size", "cam_layers", "weights_sha256")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect the numbers."""
    packages = ("torch", "torchvision", "numpy", "albumentations", "safetensors")
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


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
    known = get_args(Architecture)
    if sidecar["architecture"] not in known:
        raise TrainingError(f"{path}: expected an architecture of {', '.join(known)}, not {sidecar['architecture']!r}")
    classes, scales = sidecar["classes"], [*_listed(sidecar["mean"]), *_listed(sidecar["std"])]
    if (
        not (_is_count(sidecar["width"], MOST) and _is_count(sidecar["image_size"], MOST_SIDE))
        or not (isinstance(classes, list) and classes and all(isinstance(name, str) for name in classes))
        or len(scales) != 6
        or not all(type(value) in (int, float) and abs(value) < MOST for value in scales)
        or not all(value > 0 for value in scales[3:])
        or not (_listed(sidecar["cam_layers"]) and all(map(_is_layer, sidecar["cam_layers"])))
    ):
        raise TrainingError(
            f"{path}: expected a list of classes, a width from 1 to {MOST:,}, an image_size from 1 to {MOST_SIDE:,}, "
            "three numbers each in mean and std, those of std above 0, and cam_layers with their grids: restore it "
            "from the run that wrote it"
        )
    return dict(sidecar)


def _is_count(value: Any, most: int) -> bool:
    return type(value) is int and 0 < value <= most


def _is_layer(value: Any) -> bool:
    """Whether an entry of ``cam_layers`` has a name and a grid."""
    if not isinstance(value, dict) or not isinstance(value.get("layer"), str):
        return False
    grid = _listed(value.get("grid"))
    return len(grid) == 2 and all(_is_count(side, MOST_SIDE) for side in grid)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def check_digest(folder: Path, sidecar: Mapping[str, Any]) -> None:
    """Refuse weights whose SHA-256 is not that of the sidecar.

    Raises
    ------
    TrainingError
        If the weights are missing or others.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise TrainingError(f"{path} is missing: expected a safetensors file, as training.run writes it")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != sidecar["weights_sha256"]:
        raise TrainingError(f"{folder / SIDECAR} does not belong to {path} (other SHA-256): restore both from one run")
