"""A concept that a user names by examples, tested on the answers: TCAV."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.analysis.statistics import wilson_interval
from workbench.attribution.targets import Targets
from workbench.concepts.cells import Cells, cells_of
from workbench.concepts.found import complete
from workbench.core.records import FloatArray, ImageArray, ImageSet, IntArray
from workbench.errors import DataError
from workbench.images.load import any_images
from workbench.models.classifier import Classifier
from workbench.runs.run import Run

FEWEST, MOST_EXAMPLES, MOST = 10, 200, 300  # examples, and images explained
DRAWS = 999
FOLDS = 5


@dataclass(frozen=True)
class NamedConcept:
    """What a direction learnt from examples does to the margin of ``n`` images.

    ``separated``: the area under the ROC curve with which a linear classifier on the layer tells the examples from the
    others, cross-validated, 0.5 for one that can't. ``step``: the mean change of the margin in logits, to first order,
    when the features move as from the others to the examples; ``control_low`` to ``control_high``: the middle 95 % of
    such steps with the names of these images shuffled; ``p_value`` of the two-sided
    permutation test. ``score``: what TCAV counts, along this direction: the share of images whose margin rises, 0 to 1,
    with its 95 % interval ``low`` to ``high`` (Wilson) over images. ``exact``: the layer is the last one before a mean
    and a linear head, where the step is the difference of the examples' own margin from the others'.
    """

    name: str
    lead: str
    layer: str
    examples: int
    images: int
    separated: float
    step: float
    control_low: float
    control_high: float
    p_value: float
    score: float
    low: float
    high: float
    exact: bool = False

    def __str__(self) -> str:
        """The finding in a sentence."""
        control = f"{_signed(self.control_low)} to {_signed(self.control_high)}"
        figures = f"{_signed(self.step)} logits, with names shuffled {control} (p = {self.p_value:.3f})"
        told = f"layer {self.layer} tells {self.examples} examples from others with an AUC of {self.separated:.2f}"
        if self.exact:
            said = "differs" if self.p_value <= 0.05 else "is not shown to differ"
            return f"{self.name!r}: {self.lead} {said} between its examples and other images: {figures}; {told}"
        verb = "is not shown to change" if self.p_value > 0.05 else "raises" if self.step > 0 else "lowers"
        rises = f"it rises in {self.score:.0%} of {self.images} images"
        return f"{self.name!r} {verb} {self.lead}: {figures}, to first order; {rises}; {told}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def named_concept(
    run: Run,
    name: str,
    examples: ImageSet | Path | str | IntArray,
    rows: IntArray,
    of: str = "predicted",
    against: str = "",
    *,
    layer: str = "",
    seed: int = 0,
    classifier: Classifier | None = None,
) -> NamedConcept:
    """Test whether a concept that examples show moves a margin of some rows: TCAV.

    Kim et al. 2018 (arXiv 1711.11279): the direction leads from other images of the run, drawn at random, as many as
    there are examples, to the examples, in the layer's features averaged over the cells (`concept_direction`); it is
    added to every cell alike. The paper counts the images whose margin rises and compares with random concepts. At the
    layer before a mean and a linear head the derivative of the lead of one class over another is the same for every
    image, so that the count is 0 or 1 along any direction: what is tested here is the mean change. The names of
    examples and others are shuffled 999 times, so that the test is exact where the examples are no different from the
    others. At that layer the change is by how much the examples' own margin is above the others', and says nothing of
    a concept's effect; an earlier layer does.

    Parameters
    ----------
    run : Run
        With its model and images.
    name : str
        What the examples show.
    examples : ImageSet, path, or int64 array
        At least ten images: a folder of image files, anything `load_images` reads, or row ids of the run.
    rows : int64 array (n,)
        The rows whose margin is explained, none of them an example; of more than 300 that many at random.
    of, against : str
        The margin: the lead of class ``of`` over ``against``. ``of="predicted"`` is each row's own; without ``against``
        the next most probable class.
    layer : str
        A CAM layer's name, or any other module's whose output has a grid; default the last.
    classifier : Classifier, optional
        In place of the run's, such as a copy for another thread.

    Returns
    -------
    NamedConcept

    Raises
    ------
    DataError
        If the model or images are missing, there are fewer than ten examples, rows or other images, or a class is
        unknown.
    AttributionError
        As `cells.cells_of`.
    """
    model = complete(run, classifier)
    assert run.images is not None  # as `complete` checks
    generator = np.random.default_rng(seed)
    pictures, own = _examples(run, model, examples, generator)
    rows = np.setdiff1d(np.asarray(rows, np.int64), own)
    if len(rows) < FEWEST:
        raise DataError(f"concepts: expected at least {FEWEST} rows besides the examples, not {len(rows)}")
    rows = np.sort(generator.permutation(rows)[:MOST])
    rest = np.setdiff1d(run.predictions.index, np.concatenate([own, rows]))
    if len(rest) < FEWEST:
        raise DataError(f"concepts: expected at least {FEWEST} other images to compare with, not {len(rest)}")
    others = model.seen(run.images).stack(np.sort(generator.permutation(rest)[: len(pictures)]))
    targets, lead = _margin(run, rows, of, against)
    cells = cells_of(model, model.seen(run.images).stack(rows), rows, targets, layer=layer)
    shown = np.concatenate([pictures, others])
    features = _features(model, shown, cells)
    is_example = np.arange(len(shown)) < len(pictures)
    slopes = cells.gradient.astype(np.float64).sum((1, 2))  # of the margin along a shift of every cell

    def step(names: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[float, float]:
        changes = slopes @ concept_direction(features, names)
        return float(changes.mean()), float((changes > 0).mean())

    found, score = step(is_example)
    control = np.array([step(generator.permutation(is_example))[0] for _ in range(DRAWS)])
    least, most = np.percentile(control, [2.5, 97.5])
    low, high = wilson_interval(round(score * len(rows)), len(rows))
    return NamedConcept(
        name,
        lead,
        cells.layer.name,
        len(pictures),
        len(rows),
        _separated(features, is_example),
        found,
        float(least),
        float(most),
        permutation_p_value(found, control),
        score,
        float(low),
        float(high),
        cells.exact,
    )


def concept_direction(features: FloatArray, is_example: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> FloatArray:
    """From the mean features ``(n, C)`` of the others to those of the examples, float64 ``(C,)``.

    The pattern of the concept (Pahde et al. 2022, arXiv 2202.03482): a classifier's weights also point away from what
    disturbs it, and so elsewhere than the concept.
    """
    return np.asarray(features[is_example].mean(0) - features[~is_example].mean(0))


def permutation_p_value(value: float, control: FloatArray) -> float:
    """Two-sided, by the distance from the mean of all, this one counted (Phipson & Smyth 2010)."""
    everything = np.append(control, value)
    far = np.abs(everything - everything.mean())
    return float((far >= far[-1] - 1e-12).mean())


def _separated(features: FloatArray, is_example: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    """The area under the ROC curve of a logistic regression, cross-validated."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    scaled = features / max(float(features.std(0).mean()), np.finfo(np.float64).tiny)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    model = LogisticRegression(C=1.0, max_iter=1000)
    scores = cross_val_predict(model, scaled, is_example, cv=folds, method="decision_function")
    return float(roc_auc_score(is_example, scores))


def _examples(
    run: Run, model: Classifier, examples: ImageSet | Path | str | IntArray, generator: np.random.Generator
) -> tuple[ImageArray, IntArray]:
    """At most 200 examples uint8 ``(m, h, w, 3)`` as the model sees them, and those that are the run's own rows."""
    own = np.empty(0, np.int64)
    if isinstance(examples, str | Path):
        examples = any_images(Path(examples), model.classes)
    if isinstance(examples, ImageSet):
        places, images = np.arange(len(examples)), examples
    else:
        assert run.images is not None  # as `complete` checks
        own = places = np.unique(np.asarray(examples, np.int64))
        images = run.images
    if len(places) < FEWEST:
        raise DataError(f"concepts: expected at least {FEWEST} examples, not {len(places)}")
    chosen = np.sort(generator.permutation(places)[:MOST_EXAMPLES])
    seen = model.seen(images)
    if len(own):
        return seen.stack(chosen), own
    return np.stack([seen.pixels[int(place)] for place in chosen]), own


def _features(model: Classifier, images: ImageArray, cells: Cells) -> FloatArray:
    """The layer's output averaged over the cells, float64 ``(n, C)``."""
    count = len(images)
    found = cells_of(model, images, np.arange(count), Targets(np.zeros(count, np.int64)), layer=cells.layer.name)
    return np.asarray(found.values.mean((1, 2), dtype=np.float64))


def _margin(run: Run, rows: IntArray, of: str, against: str) -> tuple[Targets, str]:
    """What is explained of each row, and in words."""
    classes = run.predictions.classes
    if of not in ("predicted", *classes):
        raise DataError(f"concepts: of: expected 'predicted' or one of {', '.join(classes)}, not {of!r}")
    if against not in ("", *classes):
        raise DataError(f"concepts: against: expected one of {', '.join(classes)}, not {against!r}")
    if of == against:
        raise DataError("concepts: expected two classes")
    probability = run.predictions.probability[[run.predictions.position(int(row)) for row in rows]].copy()
    first = probability.argmax(1) if of == "predicted" else np.full(len(rows), classes.index(of))
    if against:
        second = np.full(len(rows), classes.index(against))
        if (same := int((first == second).sum())) > 0:
            raise DataError(
                f"concepts: {same} of the rows are predicted as {against!r}, which has no lead over itself: leave them "
                "out, or name the class with of="
            )
    else:
        probability[np.arange(len(rows)), first] = -1
        second = probability.argmax(1)
    words = f"the lead of {'the predicted class' if of == 'predicted' else of} over {against or 'the next class'}"
    return Targets(first, second), words
