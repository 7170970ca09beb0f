"""Images that are there twice: in the train split too, or in this one, with the same or another label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.analysis.copies import copies_within
from workbench.analysis.statistics import wilson_interval
from workbench.findings.groups import gap_of
from workbench.findings.known import NO_IMAGES, Known
from workbench.findings.record import Finding, Found

MISSING = "copies in the train split: give its predictions with embeddings and its images (--train, with_train)"
MOST = 50_000


def find(known: Known) -> Found:
    """Near-duplicates across the splits and within this one, and pairs of them whose labels differ.

    Across: the columns that `analysis.copies.join_copies` adds. Within: `analysis.copies.copies_within`. These are
    counts of what was compared, not tests; an error is explained where the copy carries another label.
    """
    found: list[Finding] = []
    missing: list[str] = []
    if known.has_copies:
        found += _across(known)
    else:
        missing.append(MISSING)
    if known.images is None:
        missing.append(f"copies within the split: {NO_IMAGES}")
    elif len(known.label) > MOST:
        missing.append(f"copies within the split: more than {MOST:,} rows: run it on a part of them")
    else:
        found += _within(known)
    return Found(found, 0, missing)


def _across(known: Known) -> list[Finding]:
    frame = known.predictions.columns("copy_row", "copy_label")
    copied = frame["copy_row"].is_not_null().to_numpy()
    other = copied & (frame["copy_label"].fill_null(-1).to_numpy() != known.label)
    found = []
    if copied.any():
        kept, correct = ~copied, ~known.wrong
        with_them, without = float(correct.mean()), float(correct[kept].mean()) if kept.any() else float("nan")
        low, high = wilson_interval(int(correct[kept].sum()), int(kept.sum()))
        found.append(
            Finding(
                "copies",
                "copies in the train split",
                f"{copied.sum():,} of {len(copied):,} images have a near-duplicate in the train split. Without them "
                f"accuracy is {without:.2%} ({low:.2%} to {high:.2%}), not {with_them:.2%}.",
                known.rows(copied),
                without,
                float(low),
                float(high),
                "accuracy without the leaked rows",
                "accuracy with them",
                "embeddings and pictures compared, correlation of at least 0.9",
                "leave these rows out of the figure of accuracy, or remove their copies from the train split",
                errors=int((copied & known.wrong).sum()),
                needed=("train predictions and images",),
                explains=False,
                gap=gap_of(known, copied),
            )
        )
    if other.any():
        found.append(_conflict(known, other, "a train image that is nearly the same picture", ("train images",)))
    return found


def _within(known: Known) -> list[Finding]:
    if known.images is None:
        return []
    twins = copies_within(known.predictions, known.images)
    if not len(twins):
        return []
    place = np.isin(known.predictions.index, np.unique(twins))
    label_of = dict(zip(known.predictions.index.tolist(), known.label.tolist(), strict=True))
    differ = np.array([label_of[a] != label_of[b] for a, b in twins.tolist()])
    mask = np.isin(known.predictions.index, np.unique(twins[differ]))
    found = (
        [_conflict(known, mask, "another image of this split that is nearly the same picture", ())]
        if differ.any()
        else []
    )
    if not differ.all():
        rows = place & ~mask
        low, high = wilson_interval(int(rows.sum()), len(rows))
        if rows.any():
            found.append(
                Finding(
                    "copies",
                    "copies within the split",
                    f"{rows.sum():,} of {len(rows):,} images have a near-duplicate in the same split with the same "
                    "label, so that they count twice.",
                    known.rows(rows),
                    float(rows.mean()),
                    float(low),
                    float(high),
                    "share of the rows",
                    "images that are there once",
                    "pictures compared at 16×16 pixels",
                    "keep one of each in the split",
                    errors=int((rows & known.wrong).sum()),
                    explains=False,
                    gap=gap_of(known, rows),
                )
            )
    return found


def _conflict(known: Known, mask: NDArray[np.bool_], what: str, needed: tuple[str, ...]) -> Finding:
    count, errors = int(mask.sum()), int((mask & known.wrong).sum())
    low, high = wilson_interval(count, len(mask))
    return Finding(
        "copies",
        f"labelled otherwise than {what}",
        f"{count} images are labelled otherwise than {what}; {errors} of them are misclassified.",
        known.rows(mask),
        count / len(mask),
        float(low),
        float(high),
        "share of the rows",
        "copies that agree on their label",
        "pictures compared",
        "look at both and settle on one label",
        errors=errors,
        cost=float(errors),
        needed=needed,
        gap=gap_of(known, mask),
    )
