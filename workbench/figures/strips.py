"""Strips of pictures: what shows a concept, and the train images behind an error."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from workbench.analysis.influence import Influence
from workbench.core.patches import Patch
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.figures.base import ACCENT, INK, SECOND, STYLE
from workbench.figures.images import draw_picture

TRAIN_SHOWN = 5


def concept_strips(
    images: ImageSet, patches: Sequence[Sequence[Patch]], means: Sequence[tuple[float, float, float]], lead: str
) -> Figure:
    """A row for each concept: what it adds to ``lead`` in logits, with its 95 % interval, and the patches that show it.

    ``images`` as the model sees them (`Classifier.seen`); ``means`` as of `concepts.ledger.means`. The concept that
    adds most comes first.
    """
    order = np.argsort([-mean for mean, _, _ in means], kind="stable")
    columns = max(len(some) for some in patches)
    reach = 1.08 * max(abs(value) for some in means for value in some) or 1.0
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.0 + 0.85 * columns, 0.9 * len(patches) + 0.75), layout="constrained")
        grid = figure.subplots(len(patches), columns + 1, squeeze=False, width_ratios=[3.0, *[1.0] * columns])
        for line, k in zip(grid, order, strict=True):
            mean, low, high = means[k]
            bar, *places = line
            bar.barh([0], [mean], color=SECOND if mean >= 0 else ACCENT, alpha=0.55, height=0.5)
            bar.hlines([0], low, high, color=INK, linewidth=1.2)
            bar.axvline(0, color=INK, linewidth=0.8)
            bar.set(xlim=(-reach, reach), ylim=(-0.5, 0.5), yticks=[], xticks=[])
            bar.spines[:].set_visible(False)
            bar.set_ylabel(f"concept {k + 1}", rotation=0, ha="right", va="center", fontsize=9)
            inside = -0.04 * reach if mean >= 0 else 0.04 * reach
            words = f"{mean:+.2f}".replace("-", "−")
            bar.text(inside, 0, words, ha="right" if mean >= 0 else "left", va="center", fontsize=9)
            for ax in places:
                ax.set_axis_off()
            for ax, patch in zip(places, patches[k], strict=False):
                draw_picture(ax, patch.cut(images.image(patch.row)))
        figure.suptitle(f"what each concept adds to {lead}, in logits; the patches that show it most", fontsize=10)
    return figure


def train_strips(
    images: ImageSet, predictions: Predictions, found: Influence, train: Predictions, train_images: ImageSet
) -> Figure:
    """A row for each error: its image, and the train images that speak most for its predicted class over the true one.

    Under each train image its label and its score (`analysis.influence.influence`).
    """
    shown = min(TRAIN_SHOWN, found.speaks_for.shape[1])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.45 * (shown + 1) + 0.3, 1.75 * len(found.rows) + 0.35), layout="constrained")
        grid = figure.subplots(len(found.rows), shown + 1, squeeze=False)
        for k, line in enumerate(grid):
            row = int(found.rows[k])
            draw_picture(line[0], images.image(row))
            true, predicted = (predictions.classes[int(side[k])] for side in (found.over, found.of))
            line[0].set_xlabel(f"{true} → {predicted}\n#{row}", fontsize=8)
            for ax, other, score in zip(line[1:], found.speaks_for[k], found.for_scores[k], strict=False):
                draw_picture(ax, train_images.image(int(other)))
                label = train.classes[int(train.label[train.position(int(other))])]
                ax.set_xlabel(f"train: {label}\n{score:+.1f}", fontsize=8)
        figure.suptitle("errors, and the train images that speak for them most", fontsize=10)
    return figure
