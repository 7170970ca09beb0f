"""Images of findings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.core.records import ImageArray
from workbench.findings.record import Finding
from workbench.runs.run import Run

PICTURES = 6


def pictures_of(
    run: Run, found: Sequence[Finding], *, count: int = PICTURES, seed: int = 0
) -> list[list[ImageArray]] | None:
    """Up to ``count`` images of each finding, uint8 ``(H, W, 3)``: random ones of its errors, or rows if it has none.

    None without images.

    Raises
    ------
    DataError
        If an image can't be read.
    """
    if run.images is None:
        return None
    wrong = run.predictions.index[~run.predictions.correct]
    chosen = []
    for finding in found:
        errors = finding.rows[np.isin(finding.rows, wrong)]
        among = errors if len(errors) else finding.rows
        places = np.sort(np.random.default_rng(seed).permutation(len(among))[:count])
        chosen.append([run.images.image(int(row)) for row in among[places]])
    return chosen
