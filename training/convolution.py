"""Weight gradients of convolutions in bfloat16 on a processor, as one matrix product.

oneDNN's own are several times slower than its forward pass where a layer has many channels and few pixels: of a
3×3 convolution with 512 channels at 4×4 pixels it reached a fifth of the product's rate (Xeon with AMX, 2 threads).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input
from torch.overrides import TorchFunctionMode

LEAST_CHANNELS = 256  # of the output: below, copying the windows costs more than the product saves


def windows(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """What each output of a convolution reads, ``(N * H' * W', kernel * kernel * C)`` of ``x`` ``(N, C, H, W)``."""
    rows = functional.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding)).contiguous()
    n, height, width, channels = rows.shape
    high, wide = (height - kernel) // stride + 1, (width - kernel) // stride + 1
    step = (height * width * channels, stride * width * channels, stride * channels, width * channels, 1)
    return rows.as_strided((n, high, wide, kernel, kernel * channels), step).reshape(n * high * wide, -1)


class _Convolution(torch.autograd.Function):
    """A convolution with a square kernel and without bias, whose weight gradient is a product of matrices."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(x, weight, None, stride, padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (gradient,) = gradients
        x, weight = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = conv2d_input(x.shape, weight, gradient, ctx.stride, ctx.padding)  # type: ignore[no-untyped-call]
        if ctx.needs_input_grad[1]:
            outputs, inputs, kernel, _ = weight.shape
            flat = gradient.permute(0, 2, 3, 1).reshape(-1, outputs)
            product = flat.T @ windows(x, kernel, ctx.stride, ctx.padding)
            of_weight = product.view(outputs, kernel, kernel, inputs).permute(0, 3, 1, 2)
        return of_x, of_weight, None, None


class MatrixGradients(TorchFunctionMode):
    """Within it, convolutions under bfloat16 autocast whose weight gradient gains by it take it as a product.

    The forward pass and the gradient with respect to the input are torch's own.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Replace a convolution that fits; call anything else as it is."""
        if func is torch.conv2d and not kwargs and len(args) == 7 and _gains(*args):
            x, weight, _, stride, padding, *_ = args
            return _Convolution.apply(x.bfloat16(), weight.bfloat16(), stride[0], padding[0])
        return func(*args, **(kwargs or {}))


def _gains(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> bool:
    """Whether a convolution is of the kind, and large enough."""
    return (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and weight.requires_grad
        and bias is None
        and groups == 1
        and isinstance(padding, tuple)
        and weight.shape[2] == weight.shape[3]
        and stride[0] == stride[1]
        and padding[0] == padding[1]
        and tuple(dilation) == (1, 1)
        and (weight.shape[0] >= LEAST_CHANNELS or weight.shape[2] == 1)
    )
