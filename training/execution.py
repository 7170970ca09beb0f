"""How a model is computed on a device: precision and memory layout, asked for or found by trying them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.convolution import MatrixGradients
from training.recipe import Layout, Precision, Recipe

PROBE_S, PROBE_BATCH, PROBE_ROUNDS = 2.0, 64, 5


def pick_device(name: str) -> torch.device:
    """The device asked for; ``"auto"`` is a GPU if there is one."""
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Execution:
    """Where and how a model's products are computed.

    ``dtype`` is float32 or bfloat16 (under autocast; weights stay float32), ``channels_last`` the memory layout of
    images and kernels.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    channels_last: bool = True

    @property
    def precision(self) -> str:
        """The dtype's name."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def memory_format(self) -> torch.memory_format:
        """Of images and kernels."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def place(self, model: nn.Module) -> nn.Module:
        """The model on the device and in the layout, changed in place."""
        return model.to(self.device, memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def images(self, images: Tensor) -> Tensor:
        """``(n, 3, H, W)`` on the device and in the layout; a copy from pinned memory does not wait."""
        return images.to(self.device, non_blocking=True, memory_format=self.memory_format)

    def _whole_float32(self) -> AbstractContextManager[None]:
        """On a GPU, where convolutions would round to TF32 by default."""
        if self.device.type != "cuda":
            return nullcontext()
        cudnn = torch.backends.cudnn
        kept = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}
        found: AbstractContextManager[None] = cudnn.flags(**kept, allow_tf32=False)
        return found

    @contextmanager
    def products(self) -> Iterator[None]:
        """Where a model's passes belong: under autocast if the products are to be bfloat16, else without TF32."""
        if self.dtype != torch.bfloat16:
            with self._whole_float32():
                yield
            return
        with torch.autocast(self.device.type, torch.bfloat16), MatrixGradients():
            yield


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; emulated, it is far slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def candidates(precision: Precision, layout: Layout, device: torch.device) -> list[Execution]:
    """What may compute the model; ``"auto"`` has bfloat16 only where the hardware multiplies it."""
    kinds = {"float32": [torch.float32], "bfloat16": [torch.bfloat16]}
    auto = [torch.bfloat16, torch.float32] if has_fast_bfloat16(device) else [torch.float32]
    layouts = [True, False] if layout == "auto" else [layout == "channels_last"]
    return [Execution(device, dtype, last) for dtype in kinds.get(precision, auto) for last in layouts]


def fastest(found: list[Execution], step: Callable[[Execution], object]) -> Execution:
    """The candidate whose ``step`` took least time: the median of rounds in turn, for about `PROBE_S` seconds.

    Each round times every candidate once, so that another process slows all alike.
    """
    if len(found) == 1:
        return found[0]
    for each in found:  # the first time compiles kernels
        step(each)
        _wait(each)
    seconds: list[list[float]] = [[] for _ in found]
    started = time.perf_counter()
    for number in range(PROBE_ROUNDS):
        if number and time.perf_counter() - started > PROBE_S:
            break
        for taken, each in zip(seconds, found, strict=True):
            before = time.perf_counter()
            step(each)
            _wait(each)
            taken.append(time.perf_counter() - before)
    return min(zip(map(statistics.median, seconds), found, strict=True), key=lambda pair: pair[0])[1]


def _wait(execution: Execution) -> None:
    if execution.device.type == "cuda":
        torch.cuda.synchronize(execution.device)


def pick_for_training(model: nn.Module, recipe: Recipe, *, measure: bool = True) -> Execution:
    """The execution that the recipe asks for; of what it leaves open, the fastest for a step at its last image size.

    The weights stay as they are. Of several processes the first measures for all. Without ``measure`` the first of
    those that are open, for a run that resumes with the one it began with.
    """
    found = candidates(recipe.precision, recipe.layout, pick_device(recipe.device))
    if not measure:
        return found[0]
    side = recipe.image_sizes[-1]
    batch = torch.zeros(min(recipe.batch_size, PROBE_BATCH), 3, side, side)

    def step(execution: Execution) -> None:
        placed = execution.place(model)
        with execution.products():
            logits = placed(execution.images(batch))
        torch.autograd.backward(logits.float().logsumexp(1).sum())
        placed.zero_grad(set_to_none=True)

    choice = [found.index(fastest(found, step)) if rank_and_world()[0] == 0 else 0]
    if dist.is_initialized():
        dist.broadcast_object_list(choice)
    return found[choice[0]]


def rank_and_world() -> tuple[int, int]:
    """Rank of this process and the number of processes."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
