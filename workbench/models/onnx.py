"""Models in ONNX files: run by onnxruntime, and by torch where a converter gives the same answers."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.errors import CheckpointError, DataError, first_line
from workbench.models.faults import UNFIT
from workbench.models.opaque import Opaque

NEEDS = "ONNX files need onnxruntime: install classifier-workbench[onnx]"
REASON = "a model in an ONNX file is run by onnxruntime, which has no gradients"
SAME = 1e-4  # of the largest answer


class Transposed(nn.Module):
    """A model that takes ``(n, h, w, C)``, as Keras's do, fed with ``(n, C, h, w)``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Any:
        """The model's output."""
        return self.module(x.permute(0, 2, 3, 1).contiguous())


class _Session:
    """An ONNX model in onnxruntime: one input of images, the first output."""

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise DataError(NEEDS) from error
        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:
            raise CheckpointError(f"{path} is no model that onnxruntime can load ({first_line(error)})") from error
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            shapes = ", ".join(f"{one.name} {one.shape}" for one in inputs)
            raise DataError(f"{path}: expected one input of images with four axes, not {shapes}")
        self.name, self.shape = inputs[0].name, list(inputs[0].shape)
        self.last = self.shape[3] in (1, 3) and self.shape[1] not in (1, 3)
        kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
        if inputs[0].type not in kinds:
            raise DataError(f"{path}: expected an input of floats, not {inputs[0].type}")
        self.kind = kinds[inputs[0].type]
        channels = self.shape[3] if self.last else self.shape[1]
        self.channels = channels if isinstance(channels, int) else 3
        sides = self.shape[1:3] if self.last else self.shape[2:]
        self.size = (sides[0], sides[1]) if all(isinstance(side, int) for side in sides) else None

    def __call__(self, x: Tensor) -> Tensor:
        """The first output for images ``(n, C, h, w)``; one by one where the file fixes the batch to one."""
        values = x.detach().cpu().numpy().astype(self.kind)
        values = np.ascontiguousarray(values.transpose(0, 2, 3, 1) if self.last else values)
        step = self.shape[0] if isinstance(self.shape[0], int) else max(1, len(values))
        if len(values) % step:
            raise DataError(f"the model takes exactly {step} images at once: export it with a free batch axis")
        parts = [self.session.run(None, {self.name: values[k : k + step]})[0] for k in range(0, len(values), step)]
        return torch.from_numpy(np.concatenate(parts).astype(np.float32))


def load_onnx(path: Path) -> tuple[nn.Module, tuple[int, int] | None, int]:
    """The model in an ONNX file, its input's height and width if the file fixes them, and its channels.

    Where onnx2torch is installed, converts the model, and the converted one gives the same answers for noise, it is
    that one, with layers and gradients; else one that onnxruntime runs, with predictions and maps by perturbation.

    Raises
    ------
    DataError
        If onnxruntime is not installed, or the model takes something else than one batch of images.
    CheckpointError
        If the file is damaged or missing.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: expected an .onnx file")
    session = _Session(path)
    height, width = session.size or (224, 224)
    noise = torch.from_numpy(np.random.default_rng(0).random((2, session.channels, height, width), np.float32))
    converted = None if isinstance(session.shape[0], int) else _converted(path, session, noise)
    if converted is not None:
        return converted, session.size, session.channels
    digest = _digest(path)
    return Opaque(session, REASON, lambda: {"file": digest}), session.size, session.channels


def _digest(path: Path) -> str:
    """SHA-256 of the file and of those beside it that it names, as weights may lie outside of it."""
    content = path.read_bytes()
    found = hashlib.sha256(content)
    for beside in sorted(path.parent.iterdir()):
        if beside != path and beside.is_file() and beside.name.encode() in content:
            with beside.open("rb") as stream:
                found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()


def _converted(path: Path, session: _Session, noise: Tensor) -> nn.Module | None:
    """The model as a torch module that gives the same answers; None if it can't be had."""
    try:
        from onnx2torch import convert
    except ImportError:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the converter, about constants
            module: nn.Module = convert(str(path)).eval()
            module = Transposed(module) if session.last else module
            with torch.no_grad():
                found = module(noise)
    except (*UNFIT, NotImplementedError):  # an operation that the converter does not know
        return None
    wanted = session(noise)
    same = isinstance(found, Tensor) and found.shape == wanted.shape
    return module if same and float((found - wanted).abs().max()) <= SAME * float(wanted.abs().max()) else None
