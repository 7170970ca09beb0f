"""One epoch of training, one pass of evaluation, on one process or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from training.augment import AugmentedRows, batches
from training.execution import Execution, rank_and_world
from training.recipe import Recipe

EVALUATION_BATCH = 250


def forward(model: nn.Module, images: Tensor, execution: Execution) -> Tensor:
    """Logits float32 ``(n, K)``."""
    images = execution.images(images)
    with execution.products():
        logits: Tensor = model(images)
    return logits.float()


def backward(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    smoothing: float,
    execution: Execution,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Per-row losses and correctness ``(n,)`` of a global batch, after leaving its mean gradient in ``.grad``.

    ``weights`` ``(n,)`` multiply the rows' shares of the gradient; the losses returned are unweighted.

    With several processes each computes its share of the rows and the sums are exchanged, so that
    every process ends with the gradient that one process would compute.
    """
    rank, world = rank_and_world()
    device = execution.device
    share = slice(rank * len(labels) // world, (rank + 1) * len(labels) // world)
    measured = torch.zeros(2, len(labels), device=device)  # losses and correctness, read once
    target = labels[share].to(device, non_blocking=True)
    if len(target):
        logits = forward(model, images[share], execution)
        if weights is None:
            loss = functional.cross_entropy(logits, target, label_smoothing=smoothing, reduction="sum")
        else:
            rows = functional.cross_entropy(logits, target, label_smoothing=smoothing, reduction="none")
            loss = (rows * weights[share].to(device)).sum()
        torch.autograd.backward(loss / len(labels))
        measured[0, share] = functional.cross_entropy(logits.detach(), target, reduction="none")
        measured[1, share] = (logits.argmax(1) == target).float()
    if world > 1:
        parameters = [p for p in model.parameters() if p.requires_grad]
        for p in parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None] + [measured.flatten()])
        dist.all_reduce(flat)
        for p in parameters:
            gradient, flat = flat[: p.numel()], flat[p.numel() :]
            p.grad = gradient.view_as(p).clone(memory_format=torch.preserve_format)
        measured = flat.view_as(measured)
    losses, correct = measured.cpu()
    return losses, correct


def epoch_order(rows: Sequence[int] | torch.Tensor, seed: int, epoch: int) -> Tensor:
    """The training rows in the order of one epoch, drawn from the seed and the epoch alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    indices = torch.as_tensor(rows)
    return indices[torch.randperm(len(indices), generator=generator)]


def train_epoch(
    model: nn.Module,
    rows: AugmentedRows,
    recipe: Recipe,
    *,
    first_step: int,
    step: Callable[[int], None],
    done: Callable[[int, Tensor, Tensor, Tensor], None],
    execution: Execution,
    weights: Tensor | None = None,
) -> None:
    """Train on ``rows`` in their order, from batch ``first_step`` on; ``weights`` are by row number of the data set.

    ``step(i)`` applies the gradient of batch i; ``done(i, rows, losses, correct)`` then receives plain
    cross entropy and correctness (without label smoothing) as measured on the augmented images.
    """
    model.train()
    positions = list(torch.split(torch.arange(len(rows)), recipe.batch_size))[first_step:]
    loader = batches(rows, [p.tolist() for p in positions], recipe.workers, pinned=execution.device.type == "cuda")
    for number, (images, labels, indices) in enumerate(loader, start=first_step):
        model.zero_grad(set_to_none=True)
        losses, correct = backward(
            model,
            images,
            labels,
            smoothing=recipe.label_smoothing,
            execution=execution,
            weights=None if weights is None else weights[indices],
        )
        step(number)
        done(number, indices, losses, correct)


@dataclass(frozen=True)
class Evaluation:
    """What one pass measured: plain cross entropy per row, argmax and the label's probability."""

    losses: Tensor
    predicted: Tensor
    label_probability: Tensor
    labels: Tensor

    @property
    def loss(self) -> float:
        """Mean cross entropy over the rows, in nats."""
        return float(self.losses.double().mean())

    @property
    def accuracy(self) -> float:
        """Fraction of rows whose argmax is the label."""
        return float((self.predicted == self.labels).double().mean())


@torch.no_grad()
def evaluate(model: nn.Module, rows: AugmentedRows, *, execution: Execution, workers: int = 0) -> Evaluation:
    """One pass over ``rows`` in their order, with the model in evaluation mode; its own mode is restored afterwards."""
    training = model.training
    model.eval()
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    positions = [p.tolist() for p in torch.split(torch.arange(len(rows)), EVALUATION_BATCH)]
    try:
        for images, labels, _ in batches(rows, positions, workers, pinned=execution.device.type == "cuda"):
            log_probability = functional.log_softmax(forward(model, images, execution), 1)
            losses = -log_probability.gather(1, labels.to(execution.device)[:, None])[:, 0]
            parts.append((losses, log_probability.argmax(1), (-losses).exp(), labels))
    finally:
        model.train(training)
    losses, predicted, probability, labels = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    return Evaluation(losses, predicted, probability, labels)
