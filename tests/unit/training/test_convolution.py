import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.factories import image_folder
from training.convolution import LEAST_CHANNELS, MatrixGradients, windows


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (1, 1, 0), (5, 3, 2)])
def test_windows_are_what_each_output_reads(kernel: int, stride: int, padding: int) -> None:
    x, weight = torch.randn(2, 5, 9, 9), torch.randn(4, 5, kernel, kernel)
    flat = weight.permute(0, 2, 3, 1).reshape(4, -1)
    expected = nn.functional.conv2d(x, weight, None, stride, padding)
    found = windows(x, kernel, stride, padding) @ flat.T
    torch.testing.assert_close(
        found.view(2, *expected.shape[2:], 4).permute(0, 3, 1, 2), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_are_those_of_float32_within_bfloat16(
    kernel: int, stride: int, padding: int, layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(16, LEAST_CHANNELS, kernel, stride, padding, bias=False)
    x = torch.randn(3, 16, 8, 8, requires_grad=True)
    layer(x).square().mean().backward()
    expected, of_x = layer.weight.grad.clone(), x.grad.clone()  # type: ignore[union-attr]
    layer.zero_grad()
    x.grad = None
    with torch.autocast("cpu", torch.bfloat16), MatrixGradients():
        output = layer.to(memory_format=layout)(x.to(memory_format=layout))  # type: ignore[call-overload]
    assert "Convolution" in type(output.grad_fn).__name__
    output.float().square().mean().backward()
    for found, wanted in ((layer.weight.grad, expected), (x.grad, of_x)):
        assert float((found - wanted).norm() / wanted.norm()) < 0.01


def test_other_convolutions_stay_torchs_own() -> None:
    x = torch.randn(2, 8, 8, 8)
    cases = [
        nn.Conv2d(8, LEAST_CHANNELS - 8, 3, padding=1, bias=False),
        nn.Conv2d(8, LEAST_CHANNELS, 3, padding=1),
        nn.Conv2d(8, LEAST_CHANNELS, 3, padding=1, bias=False, groups=8),
        nn.Conv2d(8, LEAST_CHANNELS, 3, padding=2, bias=False, dilation=2),
        nn.Conv2d(8, LEAST_CHANNELS, (3, 1), padding=(1, 0), bias=False),
        nn.Conv2d(8, LEAST_CHANNELS, 3, padding="same", bias=False),
    ]
    with torch.autocast("cpu", torch.bfloat16), MatrixGradients():
        for layer in cases:
            assert type(layer(x).grad_fn).__name__ == "ConvolutionBackward0"
    with MatrixGradients():  # float32
        layer = nn.Conv2d(8, LEAST_CHANNELS, 3, padding=1, bias=False)
        assert type(layer(x).grad_fn).__name__ == "ConvolutionBackward0"


def test_a_narrow_model_on_few_images_trains_in_bfloat16(tmp_path: Path) -> None:
    """As a command, since what it guards against is a crash of the process, which has been seen, not an exception."""
    data = image_folder(tmp_path / "data", rows=30)
    command = [sys.executable, "-X", "faulthandler", "-m", "training.run", "--recipe", "fast", "--data", str(data)]
    options = ["--width", "8", "--batch-size", "16", "--epochs", "2", "--workers", "0", "--precision", "bfloat16"]
    done = subprocess.run(
        [*command, *options, "--out", str(tmp_path / "run")], cwd=Path(__file__).parents[3], capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
