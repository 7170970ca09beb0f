"""Whether to trust a map: what was measured, and the verdict that follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench.core.records import Attribution, FloatArray, Verdict
from workbench.evidence.faithfulness import MEASURES, Faithfulness
from workbench.evidence.sanity import SanityCheck

STABLE, UNSTABLE = 0.7, 0.3
COMPLETE, INCOMPLETE = 0.05, 0.25
_WORDS = {
    "deletion": "blurring what it marks lowers the probability",
    "insertion": "showing what it marks raises the probability",
    "road": "replacing what it marks costs more than replacing the rest",
}


@dataclass(frozen=True)
class Evidence:
    """What speaks for and against ``n`` maps of one method.

    `Faithfulness` and stability float64 ``(n,)`` of the maps, and the sanity check of the method on this model (None if
    it was not run).
    """

    attribution: Attribution
    faithfulness: Faithfulness
    stability: FloatArray
    sanity: SanityCheck | None

    def verdict(self, place: int) -> tuple[Verdict, str]:
        """The verdict on one map, and the reasons with their numbers in a sentence.

        Rules, of which the thresholds are conventions:

        - *not supported*: the method fails the sanity check on this model; or the map beats its controls in none of
          deletion, insertion and ROAD; or the method promises completeness and the completeness error exceeds 25 %;
          or the order of its pixels does not survive imperceptible noise (correlation below 0.3, or a constant map).
        - *supported*: the sanity check is passed, the map beats all controls in at least two of the three, the
          completeness error of a method that promises completeness is at most 5 %, and its correlation under tiny noise
          is at least 0.7.
        - *weak*: anything between.
        """
        beaten = [m for m in MEASURES if self.faithfulness.beats(m)[place]]
        stable = float(self.stability[place])
        residual = None if self.attribution.residual is None else float(self.attribution.residual[place])
        checks = [
            self._sane(),
            _faithful(beaten),
            _stable(stable),
            *([] if residual is None else [_complete(residual)]),
        ]
        marks = [mark for mark, _ in checks]
        verdict: Verdict = "not supported" if -1 in marks else "supported" if min(marks) == 1 else "weak"
        return verdict, "; ".join(words for _, words in checks)

    def _sane(self) -> tuple[int, str]:
        if self.sanity is None:
            return 0, "the sanity check was not run"
        figure = f"correlation {self.sanity.worst:.2f} with the maps of a randomised model"
        if self.sanity.passed:
            return 1, f"passes the sanity check ({figure})"
        return -1, f"fails the sanity check: the map hardly depends on what the model has learnt ({figure})"

    def table(self) -> pl.DataFrame:
        """One row a map: the measures, their controls, stability, residual, verdict and reasons."""
        f, a = self.faithfulness, self.attribution
        verdicts = [self.verdict(place) for place in range(len(a.rows))]
        columns: dict[str, object] = {
            "index": a.rows,
            "target": a.targets,
            "against": [None] * len(a.rows) if a.against is None else a.against,
            "method": [a.title] * len(a.rows),
            "layer": [a.layer] * len(a.rows),
        }
        for measure in MEASURES:
            columns[measure] = getattr(f.measures, measure)
            for name, control in f.controls.items():
                columns[f"{measure}_{name.replace(' ', '_')}"] = getattr(control, measure).mean(0)
            columns[f"{measure}_beats_controls"] = f.beats(measure)
        residual = np.full(len(a.rows), np.nan) if a.residual is None else a.residual
        columns |= {
            "stability": self.stability,
            "residual": residual,
            "verdict": [v for v, _ in verdicts],
            "reasons": [r for _, r in verdicts],
        }
        return pl.DataFrame(columns, schema_overrides={"against": pl.Int64}).fill_nan(None)


def _faithful(beaten: list[str]) -> tuple[int, str]:
    if not beaten:
        return -1, "no better than random maps in deletion, insertion or ROAD"
    words = f"beats random maps in {len(beaten)} of {len(MEASURES)} measures ({', '.join(_WORDS[m] for m in beaten)})"
    return int(len(beaten) >= 2), words


def _stable(value: float) -> tuple[int, str]:
    if not np.isfinite(value):
        return -1, "the map is constant"
    words = f"correlation {value:.2f} with its map under tiny noise"
    return (1 if value >= STABLE else 0 if value >= UNSTABLE else -1), words


def _complete(residual: float) -> tuple[int, str]:
    if not np.isfinite(residual):
        return 0, "the output hardly changes from the baseline, so the completeness error is not defined"
    mark = 1 if residual <= COMPLETE else 0 if residual <= INCOMPLETE else -1
    return mark, f"completeness error {residual:.1%}"
