"""Does the map depend on what the model has learnt? The cascading randomisation of its parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from workbench.analysis.statistics import paired_interval
from workbench.core.records import Attribution, FloatArray, ProbabilityArray
from workbench.evidence.stability import rank_correlation
from workbench.models.classifier import Classifier
from workbench.models.hooks import preserve

FAILS_FROM = 0.5
DECISIVE = 0.25
DRAWS = 3
_BINS = 100


@dataclass(frozen=True)
class SanityCheck:
    """Similarity of maps to those of the trained model as it is randomised from the logits down.

    ``layers``: the modules in the order in which they were randomised, each with all before it. ``signed``,
    ``absolute`` (Spearman) and ``ssim``: float64 ``(len(layers), n)``, for each of ``n`` images the mean over the draws
    of random parameters, 1 for the same maps. ``decisive``: the place of the first step after the head with a quarter
    of the layers with weights random, which in a ResNet-18 is the last stage. ``two_sided``: whether the maps are
    signed. ``complexity`` float64 ``(n,)``: by what share the entropy of the map's values (histogram of 100 bins) rises
    when the whole model is random, the efficient test of Hedström et al. 2024 (arXiv 2405.02383); nan if not all was
    randomised.
    """

    layers: tuple[str, ...]
    signed: FloatArray
    absolute: FloatArray
    ssim: FloatArray
    decisive: int
    two_sided: bool
    complexity: FloatArray

    @property
    def similarity(self) -> FloatArray:
        """By step the magnitude of the mean correlation, ``(len(layers),)``: of signed maps the signed one.

        The absolute one of signed maps is not judged: any model answers where there is something to see.
        """
        return np.asarray(np.abs((self.signed if self.two_sided else self.absolute).mean(1)))

    @property
    def worst(self) -> float:
        """The largest `similarity` from the decisive step on."""
        return float(self.similarity[self.decisive :].max())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval over the images of the correlation that is `worst`, at most 1; nan for fewer than five."""
        step = self.decisive + int(self.similarity[self.decisive :].argmax())
        values = (self.signed if self.two_sided else self.absolute)[step]
        _, low, high = paired_interval(np.sign(values.mean()) * values)
        return max(low, -1.0), min(high, 1.0)

    @property
    def passed(self) -> bool:
        """Whether maps differ once the last quarter of the layers is random, and after: `worst` is below 0.5.

        The threshold is a convention. A method that passes only when the first convolution is random, too, fails: its
        maps hardly depend on what the layers above have learnt. Passing is necessary, not sufficient, and the size of
        the correlation ranks no methods (Binder et al. 2023, arXiv 2211.12486).
        """
        return self.worst < FAILS_FROM


def sanity_check(
    classifier: Classifier,
    compute: Callable[[Classifier], Attribution],
    *,
    seed: int = 0,
    draws: int = DRAWS,
    whole: bool = True,
) -> SanityCheck:
    """Cascading randomisation (Adebayo et al. 2018, arXiv 1810.03292, section 4.1) of a method on this model.

    ``compute(classifier)`` gives the maps of some fixed images and targets; maps that are means over noisy copies of
    the images make it the smooth test of Hedström et al. 2024 (arXiv 2405.02383). On a copy of the model the parameters
    of one block after another, from the head to the stem, are replaced by draws of a normal distribution with the mean
    and deviation of the trained values, the affine of normalisations included: there the deviation over channels is
    what was learnt. Raw maps are compared by Spearman's correlation, maps scaled to their largest magnitude by SSIM
    (scikit-image is not needed: Wang et al. 2004, doi 10.1109/TIP.2003.819861, with a window of the whole map). Without
    ``whole`` the cascade ends at the decisive step. A constant map counts as similar to nothing, 0.
    """
    base = compute(classifier)
    trained = base.values
    names: list[str] = []
    found = []
    for draw in range(draws):
        steps, names = [], []
        for name, share, randomised in _cascade(classifier, seed + draw):
            maps = compute(randomised).values
            names.append(name)
            steps.append((share, _similarities(trained, maps), maps))
            if share >= DECISIVE and len(steps) > 1 and not whole:
                break
        found.append(steps)
    shares = [share for share, _, _ in found[0]]
    decisive = next((k for k, share in enumerate(shares) if k > 0 and share >= DECISIVE), len(shares) - 1)
    curves = np.mean([[likeness for _, likeness, _ in steps] for steps in found], axis=0)  # (steps, 3, n)
    rise = np.full(len(trained), np.nan)
    if whole:
        before = entropy(trained)
        after = np.mean([entropy(steps[-1][2]) for steps in found], axis=0)
        rise = np.divide(after - before, before, out=rise, where=before > 0)
    signed, absolute, alike = curves.transpose(1, 0, 2)
    return SanityCheck(tuple(names), signed, absolute, alike, decisive, base.signed, rise)


def _similarities(first: ProbabilityArray, second: ProbabilityArray) -> FloatArray:
    """Signed and absolute rank correlation and SSIM ``(3, n)``, undefined ones 0."""
    both = rank_correlation(first, second), rank_correlation(first, second, absolute=True)
    return np.nan_to_num(np.stack([*both, structural_similarity(first, second)]))


def _cascade(classifier: Classifier, seed: int) -> Iterator[tuple[str, float, Classifier]]:
    """The name of the block just randomised, the share of layers with weights random so far, and the model."""
    with preserve(classifier.module):  # no other thread has hooks on it now
        module = copy.deepcopy(classifier.module)
    generator = torch.Generator().manual_seed(seed)
    changed = replace(classifier, module=module)
    blocks = _blocks(module)
    weights = {
        name: sum(p.ndim > 1 for part in parts for p in part.parameters(False)) for name, parts in blocks.items()
    }
    total, done = max(1, sum(weights.values())), 0
    for name, parts in reversed(blocks.items()):
        for part in reversed(parts):
            for parameter in part.parameters(recurse=False):
                _redraw(parameter, generator)
        done += weights[name]
        yield name, done / total, changed


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


def entropy(maps: ProbabilityArray) -> FloatArray:
    """Shannon entropy in nats of the histogram of each map's values, in 100 bins over their range, float64 ``(n,)``."""
    from scipy import stats

    return np.array([float(stats.entropy(np.histogram(values, bins=_BINS)[0])) for values in maps])


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
