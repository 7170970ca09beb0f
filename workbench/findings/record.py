"""The records of findings: one thing that a model gets wrong, with its evidence, and all that was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from workbench.analysis.forecasts import in_points
from workbench.analysis.gaps import Gap
from workbench.core.records import IntArray

GAP_COLUMNS = {"confidence_gap": "value", "confidence_gap_low": "low", "confidence_gap_high": "high"}
FORECAST_COLUMNS = {"forecast": "gain", "forecast_low": "low", "forecast_high": "high"}


@dataclass(frozen=True)
class Forecast:
    """What accuracy would change by if the action was taken: a net difference, -1 to 1, with a 95 % interval."""

    gain: float
    low: float
    high: float
    basis: str

    @property
    def words(self) -> str:
        """The change of accuracy with its interval, in words."""
        return f"accuracy {in_points(self.gain, self.low, self.high)}".replace("-", "−")

    @property
    def verdict(self) -> str:
        """What the interval shows of the action, as the end of a sentence about it."""
        if self.low > 0:
            return "is forecast to help"
        return "is forecast to make accuracy worse" if self.high < 0 else "is not shown to help"

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {"gain": self.gain, "low": self.low, "high": self.high, "basis": self.basis}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and how it is known.

    Parameters
    ----------
    kind : str
        Its rule's name in `registry.KINDS`.
    subject : str
        What it is about, in a few words: a slice, a pair of classes, a property.
    sentence : str
        What was found, in words with its numbers.
    rows : int64 array (n,)
        Row ids that it is about.
    effect, low, high : float
        How large it is, with a 95 % interval; ``measure`` says of what.
    measure : str
        What ``effect`` measures, such as the difference of two error rates.
    compared_with : str
        What ``effect`` is relative to.
    checked : str
        How it was checked: held-out rows, an intervention, human labels or a published test.
    errors : int
        How many of ``rows`` are misclassified.
    cost : float
        Misclassified rows beyond what the comparison explains; 0 for findings about confidence.
    p_value, adjusted : float or None
        Of its test; ``adjusted`` over everything that was tested (see `control.adjusted`). None: a count, not a test.
    stable : str
        In how many splits or seeds it was found again; empty where it was not tried.
    action : str
        What would help.
    forecast : Forecast or None
        What acting on it would bring; None where no honest figure is known.
    needed : tuple of str
        What had to be known for it, such as human labels.
    explains : bool
        Whether its rows count as explained: a confusion or a gap of confidence says where errors are, not why.
    gap : Gap or None
        Accuracy less mean confidence of the rows that it was judged on, where these were not chosen by their answers:
        errors alone have an accuracy of 0, whatever the calibration.
    where : str
        Expression that holds of such rows, in these predictions and others (`analysis.index.select`, with the columns
        of `analysis.looks.describe`); empty where none does.
    """

    kind: str
    subject: str
    sentence: str
    rows: IntArray
    effect: float
    low: float
    high: float
    measure: str
    compared_with: str
    checked: str
    action: str
    errors: int
    cost: float = 0.0
    p_value: float | None = None
    adjusted: float | None = None
    stable: str = ""
    forecast: Forecast | None = None
    needed: tuple[str, ...] = ()
    explains: bool = True
    gap: Gap | None = None
    where: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values; a number that is not finite is null."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name, value in values.items():
            if isinstance(value, float | np.floating):
                values[name] = float(value) if np.isfinite(value) else None
        forecast = None if self.forecast is None else self.forecast.to_json()
        gap = None if self.gap is None else asdict(self.gap)
        return {**values, "rows": self.rows.tolist(), "needed": list(self.needed), "forecast": forecast, "gap": gap}


@dataclass(frozen=True)
class Found:
    """What one rule found: its candidates, how many tests it made, and what it could not do for lack of something."""

    candidates: Sequence[Finding] = ()
    tests: int = 0
    missing: Sequence[str] = ()


@dataclass(frozen=True)
class Findings(Sequence[Finding]):
    """All findings, most costly first; a sequence.

    Parameters
    ----------
    found : tuple of Finding
    remainder : int64 array (n,)
        Row ids of the errors that no finding explains.
    unexplained : float
        How many errors are unexplained by the excess of the findings alone: an error counts with the product, over the
        findings that hold it, of the share of their errors that their comparison explains.
    errors, rows : int
        Number of misclassified rows, and of all.
    missing : tuple of str
        Rules that could not run, each with what would make it run.
    tests : int
        Number of hypotheses that were tested.
    classes : tuple of str
    sample : int64 array (n,) or None
        Row ids of the rows that were judged, where these are a random sample; all counts are of it.
    """

    found: tuple[Finding, ...]
    remainder: IntArray
    unexplained: float
    errors: int
    rows: int
    missing: tuple[str, ...]
    tests: int
    classes: tuple[str, ...]
    sample: IntArray | None = None

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, place: Any) -> Any:
        return self.found[place]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.found)

    def of(self, *kinds: str) -> tuple[Finding, ...]:
        """The findings of some kinds."""
        return tuple(finding for finding in self.found if finding.kind in kinds)

    @property
    def remainder_share(self) -> float:
        """The share of the errors that no finding explains; 0 without errors."""
        return len(self.remainder) / self.errors if self.errors else 0.0

    def to_json(self) -> list[dict[str, Any]]:
        """The findings as JSON values."""
        return [finding.to_json() for finding in self.found]

    def table(self) -> pl.DataFrame:
        """A row for each finding, without its row ids but for the first five."""
        names = (
            "kind",
            "subject",
            "sentence",
            "effect",
            "low",
            "high",
            "measure",
            "compared_with",
            "checked",
            "stable",
            "errors",
            "cost",
            "p_value",
            "adjusted",
            "action",
            "where",
        )
        kinds = {
            "errors": pl.Int64,
            **dict.fromkeys(("effect", "low", "high", "cost", "p_value", "adjusted"), pl.Float64),
        }
        frame = pl.DataFrame(
            [[getattr(finding, name) for name in names] for finding in self.found],
            schema={name: kinds.get(name, pl.String) for name in names},
            orient="row",
        )
        gaps, forecasts = [one.gap for one in self.found], [one.forecast for one in self.found]
        more = {name: [getattr(gap, part, None) for gap in gaps] for name, part in GAP_COLUMNS.items()}
        more |= {name: [getattr(one, part, None) for one in forecasts] for name, part in FORECAST_COLUMNS.items()}
        return frame.with_columns(
            **{name: pl.Series(values, dtype=pl.Float64) for name, values in more.items()},
            rows=pl.Series([len(finding.rows) for finding in self.found], dtype=pl.Int64),
            examples=pl.Series(
                [" ".join(map(str, finding.rows[:5].tolist())) for finding in self.found], dtype=pl.String
            ),
        )

    def summary(self) -> dict[str, Any]:
        """How many findings, tests and unexplained errors there are, and what could not run, as JSON values."""
        return {
            "count": len(self.found),
            "rows": self.rows,
            "kinds": sorted({finding.kind for finding in self.found}),
            "tests": self.tests,
            "remainder": len(self.remainder),
            "remainder_share": self.remainder_share,
            "unexplained": self.unexplained,
            "missing": list(self.missing),
        }

    def __str__(self) -> str:
        lines = [f"{place}. {finding.sentence}" for place, finding in enumerate(self.found, 1)]
        rest = (
            f"{len(self.remainder):,} of {self.errors:,} errors lie outside every finding that may explain them; "
            f"counting each finding's excess alone, about {self.unexplained:.0f} are unexplained."
        )
        return "\n".join([*(lines or ["No finding."]), rest, *(f"Not looked for: {line}" for line in self.missing)])
