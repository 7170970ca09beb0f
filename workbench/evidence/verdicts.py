"""Whether to trust a map: what was measured, and the verdict that follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from workbench.analysis.statistics import benjamini_hochberg
from workbench.attribution.registry import method_of
from workbench.core.records import Attribution, FloatArray, Verdict
from workbench.errors import AttributionError
from workbench.evidence.agreement import Agreement
from workbench.evidence.pixels import MEASURES, Faithfulness
from workbench.evidence.sanity import SanityCheck

ALPHA = 0.05
SIZE = 0.05  # of an effect, in probability
STABLE, INCOMPLETE = 0.3, 0.25


@dataclass(frozen=True)
class Evidence:
    """What speaks for and against ``n`` maps of one method.

    ``agreements``: by substrate, how the maps agree with what the cells of their images do. ``stability`` float64
    ``(n,)``; the sanity check of the method on this model, and the pixel-wise measures, are None if they were not run.
    """

    attribution: Attribution
    agreements: Mapping[str, Agreement]
    stability: FloatArray
    sanity: SanityCheck | None
    faithfulness: Faithfulness | None = None

    @property
    def p_value(self) -> FloatArray:
        """The largest over substrates and kinds of control, float64 ``(n,)``: each of them has to be beaten.

        As all have to hold, their errors do not add up (the intersection-union test of Berger 1982, doi
        10.1080/00401706.1982.10487790); over maps, p-values are corrected by `corrected`.
        """
        return np.asarray(np.max([one.p_value for one in self.agreements.values()], axis=0))

    @property
    def p_below(self) -> FloatArray:
        """The same for the opposite: that the map agrees less than its controls (n,)."""
        return np.asarray(np.max([one.p_below for one in self.agreements.values()], axis=0))

    def verdict(self, place: int, p_value: float, p_below: float, alpha: float = ALPHA) -> tuple[Verdict, str]:
        """The verdict on one map by its corrected p-values, and the reasons with their numbers in a sentence.

        - *supported*: under every substrate the map agrees with what the cells do better than maps of other images and
          than its own cells in random order (corrected p at most ``alpha``), by at least 5 points of probability more
          than they on average, with an interval above 0; the method passes the sanity check;
          the map survives noise that nobody sees (correlation at least 0.3); and a completeness error that the method
          promises to be small is at most 25 %.
        - *against*: the map is constant; or the method fails the sanity check; or the map agrees with what the cells do
          less than its controls (corrected p at most ``alpha``); or the interval of its effect lies below 5 points
          under every substrate where a better map would gain them: it knows no more of the image than maps of others.
        - *no evidence either way*: anything else.

        The sizes are conventions. What is tested is the place of what matters, not each cell's value.
        """
        tests, held, less = self._tests(place, p_value, p_below, alpha)
        constant = not np.ptp(self.attribution.values[place])
        fails = self.sanity is not None and not self.sanity.passed
        checks = self._notes(place)
        notes = [checks[0], tests, *checks[1:]] if fails else [tests, *checks]  # what decides comes first
        sound = self.sanity is not None and not self._doubts(place)
        verdict: Verdict = "no evidence either way"
        if constant or fails or less:
            verdict = "against"
        elif held and sound:
            verdict = "supported"
        if constant:
            notes = ["the map is constant: it ranks nothing"]
        return verdict, "; ".join(notes)

    def _tests(self, place: int, p_value: float, p_below: float, alpha: float) -> tuple[str, bool, bool]:
        """What the tests say, whether the map beats its controls under every substrate, and whether it is no better."""
        effects = {
            name: (float(a.effect[place]), float(a.low[place]), float(a.high[place]), float(a.attainable[place]))
            for name, a in self.agreements.items()
        }
        large = {name: effect >= SIZE and low > 0 for name, (effect, low, _, _) in effects.items()}
        figures = ", ".join(
            f"{_signed(effect)} ({_signed(low)} to {_signed(high)}) by {name}"
            for name, (effect, low, high, _) in effects.items()
        )
        others = max(float(a.p_others[place]) for a in self.agreements.values())
        shuffled = max(float(a.p_permuted[place]) for a in self.agreements.values())
        said = f"its order of cells gains {figures} of probability over the average map of another image"
        share = f"{others:.0%} of such maps gain as much, and {shuffled:.0%} of random orders of its cells"
        if p_value <= alpha and all(large.values()):
            usual = all(a.mean_map[place] >= a.gain[place] for a in self.agreements.values())
            more = "; so does their mean map: what matters lies where it usually does" if usual else ""
            return f"tells what matters in this image: {said}; {share} (corrected p = {p_value:.3f}){more}", True, False
        if p_below <= alpha:
            return f"marks what matters less than other maps do: {said}", False, True
        if all(high < SIZE <= best for _, _, high, best in effects.values()):
            best = min(best for *_, best in effects.values())
            more = f"where the measured order gains at least {_signed(best)}"
            return f"knows no more of this image than maps of other images: {said}, {more}", False, True
        if any(large.values()) and not all(large.values()):
            return f"the ways of filling disagree: {said}; {share}", False, False
        return f"not shown to know more of this image than maps of other images: {said}; {share}", False, False

    def _doubts(self, place: int) -> bool:
        """Whether the map does not survive noise, or its values do not add up."""
        residual = None if self.attribution.residual is None else float(self.attribution.residual[place])
        steady = float(self.stability[place]) >= STABLE
        return not steady or (self._complete() and residual is not None and not residual <= INCOMPLETE)

    def _complete(self) -> bool:
        """Whether the method promises that values sum to the output's change; one that is not known is held to it."""
        try:
            return method_of(self.attribution.method).complete
        except AttributionError:
            return True

    def _notes(self, place: int) -> list[str]:
        notes = []
        if self.sanity is None:
            notes.append("the sanity check was not run")
        else:
            words = "passes" if self.sanity.passed else "fails"
            low, high = self.sanity.interval
            figure = f"{self.sanity.worst:.2f}" + (f" ({low:.2f} to {high:.2f})" if np.isfinite(low) else "")
            notes.append(f"the method {words} the sanity check (correlation {figure} once the last layers are random)")
        least = {name: (float(a.least[place]), float(a.least_high[place])) for name, a in self.agreements.items()}
        if all(total <= -SIZE and high < 0 for total, high in least.values()):
            figures = ", ".join(f"{_signed(total)} by {name}" for name, (total, _) in least.items())
            notes.append(
                f"the quarter of cells that it ranks lowest speaks against the class: their effects sum to {figures}"
            )
        stable = float(self.stability[place])
        if np.isfinite(stable):
            notes.append(f"correlation {stable:.2f} with its map under noise that nobody sees")
        else:
            notes.append("the answer itself changes under noise that nobody sees")
        if self.attribution.residual is not None and self._complete():
            residual = float(self.attribution.residual[place])
            wrong = "so its values are no shares of the output" if residual > INCOMPLETE else ""
            words = f"completeness error {residual:.1%}" if np.isfinite(residual) else "completeness is not defined"
            notes.append(f"{words}, {wrong}" if wrong else words)
        return notes

    def table(self, corrected: Sequence[tuple[float, float]] | None = None) -> pl.DataFrame:
        """One row a map: agreement by substrate, p-values, the measures, stability, residual, verdict and reasons.

        ``corrected``: p-values of each map, above and below, corrected over the maps of its image; default: as they
        are, for an image of which one map is shown.
        """
        a = self.attribution
        pairs = list(zip(self.p_value, self.p_below, strict=True)) if corrected is None else corrected
        verdicts = [self.verdict(place, *pair) for place, pair in enumerate(pairs)]
        columns: dict[str, object] = {
            "index": a.rows,
            "target": a.targets,
            "against": [None] * len(a.rows) if a.against is None else a.against,
            "method": [a.title] * len(a.rows),
            "layer": [a.layer] * len(a.rows),
        }
        for name, found in self.agreements.items():
            for field in ("gain", "others", "mean_map", "effect", "low", "high", "p_others", "p_permuted", "least"):
                columns[f"{name}_{field}"] = getattr(found, field)
        columns |= {"p_value": self.p_value, "p_corrected": [above for above, _ in pairs]}
        if self.faithfulness is not None:
            for measure in MEASURES:
                for kind in ("own", "other", "mean_map"):
                    values = getattr(getattr(self.faithfulness, kind), measure)
                    rest = np.full(len(a.rows) - len(values), np.nan)
                    columns[measure if kind == "own" else f"{measure}_{kind}"] = np.concatenate([values, rest])
        columns |= {
            "stability": self.stability,
            "residual": np.full(len(a.rows), np.nan) if a.residual is None else a.residual,
            "verdict": [v for v, _ in verdicts],
            "reasons": [r for _, r in verdicts],
        }
        return pl.DataFrame(columns, schema_overrides={"against": pl.Int64}).fill_nan(None)


def corrected(evidence: Sequence[Evidence]) -> list[list[tuple[float, float]]]:
    """For each method's evidence the p-values of each map, above and below, corrected over the methods of an image.

    Benjamini & Hochberg 1995, as `statistics.benjamini_hochberg`, over the maps at the same place: of the maps of an
    image that are called supported, 5 % are expected to be false, at the most.
    """
    above = benjamini_hochberg_columns(np.stack([one.p_value for one in evidence]))
    below = benjamini_hochberg_columns(np.stack([one.p_below for one in evidence]))
    return [list(zip(a.tolist(), b.tolist(), strict=True)) for a, b in zip(above, below, strict=True)]


def benjamini_hochberg_columns(p_values: FloatArray) -> FloatArray:
    """P-values ``(m, n)`` corrected within each column."""
    return np.stack([benjamini_hochberg(column) for column in p_values.T], axis=1)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
