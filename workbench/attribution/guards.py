"""Checks before an attribution runs: what would be meaningless is refused with the reason."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from workbench.attribution.targets import Targets, score
from workbench.core.records import ImageArray, IntArray
from workbench.errors import AttributionError
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve

# not nearer to the start: there the normalisation's own epsilon lets the output move a little
_FRACTIONS = (0.1, 0.3, 0.6)
PROBES = 4
_PASSED: WeakKeyDictionary[nn.Module, set[tuple[object, ...]]] = WeakKeyDictionary()  # baselines, by `check_baseline`


def check_request(classifier: Classifier, images: ImageArray, rows: IntArray, targets: Targets) -> None:
    """Raise `AttributionError` unless there is one row id and one valid target for each image."""
    if len(images) == 0:
        raise AttributionError("no image to explain: expected at least one")
    for name, values in (("row ids", rows), ("targets", targets.of)):
        if values.shape != (len(images),):
            raise AttributionError(f"expected {len(images)} {name}, one for each image, not {values.shape}")
    classes = len(classifier.classes)
    for values in (targets.of, targets.of if targets.against is None else targets.against):
        if not 0 <= values.min() <= values.max() < classes:
            raise AttributionError(f"targets: expected 0 to {classes - 1}, not {values.min()} to {values.max()}")


def probes(classifier: Classifier) -> ImageArray:
    """Four images of noise, the same every time, uint8 ``(4, h, w, 3)``, for checks of a model, not of a batch."""
    return np.random.default_rng(0).integers(0, 256, (PROBES, *classifier.size, 3)).astype(np.uint8)


def check_baseline(classifier: Classifier, kind: str, start_of: Callable[[ImageArray], Tensor]) -> None:
    """Refuse a baseline from which the straight path to an image carries no gradient on this model.

    Where a bias-free convolution is followed by a normalisation, F(a·x) = F(x) for every a > 0. From
    the zero tensor the path to x is such a ray: the output jumps at its start and is constant
    after, so integrated gradients are zero in exact arithmetic and noise in floating point.
    A kind of baseline x' is therefore refused if F at 10, 30 and 60 % of the path equals F(x) within 2 % of
    the change F(x) - F(x'), for all of four images of noise, in float32: the answer depends on model and baseline
    alone, and is found once for a model until its weights change. ``start_of(images)`` gives their baselines.

    Raises
    ------
    AttributionError
        If the baseline is degenerate in this sense.
    """
    passed = _PASSED.setdefault(classifier.module, set())
    held = itertools.chain(classifier.module.parameters(), classifier.module.buffers())
    weights = ((id(tensor), tensor.data_ptr(), tensor._version) for tensor in held)
    key = (kind, classifier.size, classifier.mean, classifier.std, *weights)
    if key in passed:
        return
    pixels = probes(classifier)
    x, baseline = classifier.prepare(pixels), start_of(pixels)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        points = [x, baseline, *(baseline + f * (x - baseline) for f in _FRACTIONS)]
        logits = classifier.module(torch.cat(points)).float().reshape(len(points), len(x), -1)
        of = logits[0].argmax(1)
        end, start, *between = (score(z, of, torch.full_like(of, -1)) for z in logits)
        change = (end - start).abs()
        along = torch.stack([(z - end).abs() for z in between])
    if bool((along.amax(0) <= 0.02 * change).all()):
        raise AttributionError(
            "degenerate baseline: the model's output is the same all along the path from it to an image (the model "
            "ignores the scale of its input), so integrated gradients mean nothing; take 'black' or 'blurred'"
        )
    passed.add(key)


def completeness_residual(values: Tensor, total: Tensor) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """``|sum - total| / |total|`` for each image, float64 ``(n,)``: what values should sum to and miss, as a share.

    For integrated gradients and DeepLIFT the total is F(x) - F(x') from the baseline x' (arXiv 1703.01365). A total
    smaller than 1e-6 gives nan: a share of nothing is not defined.
    """
    total = total.double()
    gap = (values.double().flatten(1).sum(1) - total).abs()
    residual = torch.where(total.abs() > 1e-6, gap / total.abs(), torch.nan)
    return np.asarray(residual.detach().cpu().numpy(), np.float64)


def check_separate_relus(classifier: Classifier, *, needed: bool = False) -> None:
    """Refuse models for which rules at ReLUs fail: re-used or in-place modules, or ReLUs that are not modules.

    One forward pass over a black image counts how often each ReLU module runs; a model in which fewer ReLU modules run
    than ReLUs are computed calls the function instead, which Captum's rules never see.

    Raises
    ------
    AttributionError
        If a ReLU module runs twice or in place, or a ReLU is computed outside of any module; if one is ``needed``, also
        if there is none.
    """
    runs: dict[str, int] = {}
    modules = {name: m for name, m in classifier.module.named_modules() if isinstance(m, nn.ReLU)}
    if inplace := [name for name, m in modules.items() if m.inplace]:
        raise AttributionError(
            f"ReLU module {inplace[0]!r} works in place, which breaks this method's rules; set inplace=False"
        )

    def counter(name: str) -> Callable[..., None]:
        def count(*_: object) -> None:
            runs[name] = runs.get(name, 0) + 1

        return count

    computed = _Count(torch.ops.aten.relu, torch.ops.aten.relu_)
    with preserve(classifier.module), torch.no_grad(), computed:
        for name, m in modules.items():
            m.register_forward_hook(counter(name))
        classifier.module(classifier.prepare(np.zeros((1, *classifier.size, 3), np.uint8)))
    if needed and not runs and not computed.count:
        raise AttributionError("this method changes gradients at ReLUs, and the model has none: take Saliency")
    if twice := [name for name, count in runs.items() if count > 1]:
        raise AttributionError(
            f"ReLU module {twice[0]!r} runs {runs[twice[0]]} times in one pass; this method needs a module for each use"
        )
    if computed.count > len(runs):
        raise AttributionError(
            f"{computed.count - len(runs)} ReLUs are computed by function calls, where this method's rule does not "
            "reach them and the map would be silently incorrect; use nn.ReLU modules"
        )


class _Count(TorchDispatchMode):
    """Counts the calls of some operators that torch makes within it, with two tensors as arguments if ``pairs``."""

    def __init__(self, *operators: object, pairs: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators, self.pairs, self.count = operators, pairs, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        wanted = func.overloadpacket in self.operators
        self.count += wanted and (not self.pairs or sum(isinstance(a, Tensor) and a.ndim > 1 for a in args) == 2)
        return func(*args, **(kwargs or {}))


def check_relevance_rules(classifier: Classifier) -> None:
    """Refuse relevance propagation on a model with a layer that Captum has no rule for.

    Raises
    ------
    AttributionError
        Naming the first such layer, or if branches are joined outside of modules.
    """
    from captum.attr._core.lrp import SUPPORTED_LAYERS_WITH_RULES, SUPPORTED_NON_LINEAR_LAYERS

    known = (*SUPPORTED_LAYERS_WITH_RULES, *SUPPORTED_NON_LINEAR_LAYERS)
    for name, m in classifier.module.named_modules():
        if not list(m.children()) and type(m) not in known and not hasattr(m, "rule"):
            raise AttributionError(
                f"relevance propagation has no rule for {type(m).__name__} ({name}); take 'LRP-LN' for this model"
            )
    check_separate_relus(classifier)
    sums = _Count(torch.ops.aten.add, torch.ops.aten.add_, torch.ops.aten.mul, pairs=True)
    x = classifier.prepare(np.zeros((1, *classifier.size, 3), np.uint8))
    with preserve(classifier.module), torch.no_grad(), sums:
        classifier.module(x)
    if sums.count:
        raise AttributionError(
            "relevance propagation has no rule for branches that are added or multiplied outside of modules, as in a "
            "residual net; take 'LRP-LN' for this model"
        )


def check_finite(x: Tensor) -> None:
    """Raise `AttributionError` if a prepared image is not finite."""
    if not bool(torch.isfinite(x).all()):
        raise AttributionError("the prepared images are not finite: check the data and the model's mean and deviation")


@contextmanager
def rules_kept(module: nn.Module) -> Iterator[None]:
    """Let Captum's relevance propagation set and delete the modules' rules, which are restored afterwards."""
    before = {name: part.rule for name, part in module.named_modules() if hasattr(part, "rule")}
    try:
        yield
    finally:
        for name, part in module.named_modules():
            if name in before:
                part.rule = before[name]
            elif hasattr(part, "rule"):
                del part.rule
