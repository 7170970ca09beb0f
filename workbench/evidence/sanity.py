"""Does the map depend on what the model has learnt? The cascading randomisation of its parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from workbench.core.records import Attribution, FloatArray, ProbabilityArray
from workbench.evidence.stability import rank_correlation
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve

PASSES_BELOW = 0.5


@dataclass(frozen=True)
class SanityCheck:
    """Similarity of maps to those of the trained model as it is randomised from the logits down.

    ``layers``: the modules in the order in which they were randomised, each with all before it. ``signed``,
    ``absolute`` (Spearman) and ``ssim``: mean over the images, float64 ``(len(layers),)``, 1 for the same maps.
    """

    layers: tuple[str, ...]
    signed: FloatArray
    absolute: FloatArray
    ssim: FloatArray

    @property
    def worst(self) -> float:
        """The larger magnitude of signed and absolute correlation once the whole model is random."""
        return float(max(abs(self.signed[-1]), abs(self.absolute[-1])))

    @property
    def passed(self) -> bool:
        """Whether maps of the wholly randomised model differ: `worst` is below 0.5.

        The threshold is a convention: the source compares by eye and by these figures without one.
        """
        return self.worst < PASSES_BELOW


def sanity_check(classifier: Classifier, compute: Callable[[Classifier], Attribution], *, seed: int = 0) -> SanityCheck:
    """Cascading randomisation (Adebayo et al. 2018, arXiv 1810.03292, section 4.1) of a method on this model.

    ``compute(classifier)`` gives the maps of some fixed images and targets. On a copy of the model the parameters of
    one block after another, from the head to the stem, are replaced by draws of a normal distribution with the mean
    and deviation of the trained values, the affine of normalisations included: there the deviation over channels is
    what was learnt. Raw maps are compared by Spearman's correlation, maps scaled to their largest magnitude by SSIM
    (scikit-image is not needed: Wang et al. 2004, doi 10.1109/TIP.2003.819861, with a window of the whole map).
    """
    trained = compute(classifier).values
    signed, absolute, alike, names = [], [], [], []
    for name, randomised in _cascade(classifier, seed):
        maps = compute(randomised).values
        names.append(name)
        signed.append(_mean(rank_correlation(trained, maps)))
        absolute.append(_mean(rank_correlation(trained, maps, absolute=True)))
        alike.append(_mean(structural_similarity(trained, maps)))
    return SanityCheck(tuple(names), np.array(signed), np.array(absolute), np.array(alike))


def _mean(values: FloatArray) -> float:
    """Mean of the values, where undefined ones, of constant maps, count as 0: similar to nothing."""
    return float(np.nan_to_num(values).mean())


def _cascade(classifier: Classifier, seed: int) -> Iterator[tuple[str, Classifier]]:
    with preserve(classifier.module):  # no other thread has hooks on it now
        module = copy.deepcopy(classifier.module)
    generator = torch.Generator().manual_seed(seed)
    changed = replace(classifier, module=module)
    for name, parts in reversed(_blocks(module).items()):
        for part in reversed(parts):
            for parameter in part.parameters(recurse=False):
                _redraw(parameter, generator)
        yield name, changed


def _blocks(module: nn.Module) -> dict[str, list[nn.Module]]:
    """Modules that hold parameters directly, by the first two parts of their name: a block of a stage is one step."""
    blocks: dict[str, list[nn.Module]] = {}
    for name, part in module.named_modules():
        if list(part.parameters(recurse=False)):
            blocks.setdefault(".".join(name.split(".")[:2]), []).append(part)
    return blocks


@torch.no_grad()
def _redraw(parameter: nn.Parameter, generator: torch.Generator) -> None:
    values = parameter.detach().float().cpu()
    deviation = float(values.std()) if values.numel() > 1 else 1.0
    drawn = torch.randn(values.shape, generator=generator) * (deviation or 1.0) + float(values.mean())
    parameter.copy_(drawn.to(parameter.dtype))


def structural_similarity(first: ProbabilityArray, second: ProbabilityArray) -> FloatArray:
    """SSIM of maps ``(n, h, w)`` over the whole map, each scaled to its largest magnitude, float64 ``(n,)``.

    Wang et al. 2004 (doi 10.1109/TIP.2003.819861), equation 13, with one window, as maps may have 4×4 cells only;
    constants 0.01² and 0.03² for values from -1 to 1 (range 2).
    """
    a, b = (_scaled(np.asarray(v, np.float64).reshape(len(v), -1)) for v in (first, second))
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mean_a, mean_b = a.mean(1), b.mean(1)
    covariance = ((a - mean_a[:, None]) * (b - mean_b[:, None])).mean(1)
    like: FloatArray = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (a.var(1) + b.var(1) + c2)
    )
    return like


def _scaled(values: FloatArray) -> FloatArray:
    top = np.abs(values).max(1, keepdims=True)
    return np.asarray(np.divide(values, top, out=np.zeros_like(values), where=top > 0))
