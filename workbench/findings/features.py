"""What slices may be made of: own columns and the images' looks, as codes, and what the answer tells of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from workbench.analysis.association import told
from workbench.analysis.looks import LOOKS
from workbench.core.records import FloatArray, IntArray
from workbench.errors import DataError
from workbench.findings.known import Known

BINS, FEW, MOST_VALUES = 5, 12, 50
CLUSTERS = 20
ENDS = {
    "brightness": ("darkest", "brightest"),
    "contrast": ("lowest contrast,", "highest contrast,"),
    "sharpness": ("most blurred", "sharpest"),
}
SHARES = {0.1: "tenth", 1 / 3: "third"}
TOLD = 0.5
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PATHS = ("path", "file", "filename", "file_name", "image", "image_path")


@dataclass(frozen=True)
class Feature:
    """A property of the rows: ``codes`` int64 ``(N,)``, -1 for none, and ``words`` for each code.

    ``where``: for each code the expression that holds of its rows (`analysis.index.select`); none where a value can't
    be told from columns or looks, such as a cluster.
    """

    name: str
    codes: IntArray
    words: Sequence[str]
    where: Sequence[str] = ()


def answer_codes(known: Known) -> IntArray:
    """The answer alone: the predicted class, with the third of confidence that it lies in, int64 ``(N,)``."""
    predicted = known.predictions.predicted
    if not known.predictions.has_probabilities:
        return predicted
    confidence = known.predictions.confidence
    thirds = np.searchsorted(np.quantile(confidence, (1 / 3, 2 / 3)), confidence, side="left")
    return np.asarray(predicted * 3 + thirds, np.int64)


def told_by_answer(feature: Feature, known: Known, answer: IntArray) -> float:
    """How much of a feature the answer alone tells, 0 to 1 (`analysis.association.told`).

    The smaller of two shares: what the answer tells, and what it tells where the label is known already. A column that
    was made from the answer, such as a cluster of the last layer, is told in both ways. A subclass, such as the
    breed of a dog, is told by the answer as far as it tells the class, but not beyond the label; and rows that all
    fail are told beyond the label, by being misclassified, but not by the answer alone.
    """
    has = feature.codes >= 0
    if not has.any():
        return 0.0
    codes, given, label = feature.codes[has], answer[has], known.label[has]
    return min(told(codes, given), told(codes, given, label))


def features_of(known: Known) -> Iterator[Feature]:
    """The features of own columns, of paths, of images and of the user's embedding."""
    table = known.predictions.columns(*known.own) if known.own else pl.DataFrame()
    for name, column in zip(table.columns, table.get_columns(), strict=True):
        yield from _of_column(name, column.alias("value"))  # a name may be a pattern to polars
    yield from _of_pictures(known)
    if known.features is not None:
        yield _clusters("cluster of the embedding given", known.features, np.ones(len(known.label), bool))
    if known.early is not None:
        yield _clusters(f"cluster of features of {known.layer}", known.early, known.seen)


def _of_column(name: str, column: pl.Series) -> Iterator[Feature]:
    kind = column.dtype
    if kind.is_temporal():
        if kind in (pl.Date, pl.Datetime):
            yield from _bins(name, column.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64), column)
            days = column.dt.weekday().replace_strict(dict(enumerate(DAYS, 1)), return_dtype=pl.String)
            yield from _categories(f"weekday of {name}", days)
        if kind in (pl.Time, pl.Datetime):
            hours = column.dt.hour().cast(pl.Float64)
            yield from _bins(f"hour of {name}", hours, column.dt.hour())
        return
    if kind.is_numeric() and not (kind.is_integer() and column.n_unique() <= FEW):
        yield from _bins(name, column.cast(pl.Float64), column, is_column=True)
        return
    if kind.is_nested() or kind in (pl.Object, pl.Null, pl.Binary):
        return
    words = column.cast(pl.String)
    if kind == pl.String and (name.lower() in PATHS or _looks_like_paths(words)):
        yield from _path_parts(name, words)
    else:
        yield from _categories(name, words, is_column=True)


def _column(name: str) -> str:
    """A column's name in an expression."""
    return '"{}"'.format(name.replace('"', '""'))


def _is_pattern(name: str) -> bool:
    """Whether Polars reads a name as a pattern of several."""
    return name == "*" or (name.startswith("^") and name.endswith("$"))


def _equal(name: str, value: str) -> str:
    return f"CAST({_column(name)} AS TEXT) = '{value.replace(chr(39), 2 * chr(39))}'"


def _between(name: str, low: float | None, high: float | None) -> str:
    """From a number on and below another; without one the range is open, and holds no NaN."""
    parts = [] if low is None else [f"{_column(name)} >= {low}"]
    parts.append(f"{_column(name)} <= 1e999" if high is None else f"{_column(name)} < {high}")
    return " AND ".join(parts)


def _categories(name: str, words: pl.Series, *, is_column: bool = False) -> Iterator[Feature]:
    """The most frequent values, each a code, and whether the value is missing."""
    filled = words.fill_null("missing").alias("value")
    values = sorted(filled.value_counts(sort=True, name="rows").head(MOST_VALUES)["value"].to_list())
    codes = filled.replace_strict({value: k for k, value in enumerate(values)}, default=-1, return_dtype=pl.Int64)
    where = [_equal(name, value) for value in values]
    if words.null_count() and "missing" in values:
        where[values.index("missing")] = f"({_equal(name, 'missing')} OR {_column(name)} IS NULL)"
    if not is_column or _is_pattern(name):
        where = []
    if len(values) > 1:
        yield Feature(name, codes.to_numpy(), [f"{name} {value}" for value in values], where)


def _bins(name: str, values: pl.Series, shown: pl.Series, *, is_column: bool = False) -> Iterator[Feature]:
    """Fifths of a number or date, named by their ends; a column of one value tells nothing."""
    numbers = values.fill_nan(None)
    some = numbers.drop_nulls().to_numpy()
    if len(some) < BINS or some.min() == some.max():
        return
    edges = np.unique(np.quantile(some, np.linspace(0, 1, BINS + 1)[1:-1]))
    edges = edges[(edges > some.min())]
    filled = numbers.fill_null(np.nan).to_numpy()
    codes = np.where(np.isnan(filled), -1, np.searchsorted(edges, filled, side="right")).astype(np.int64)
    groups = [shown.filter(pl.Series(codes == code)) for code in range(len(edges) + 1)]
    words = [f"{name} {_short(group.min())} to {_short(group.max())}" if len(group) else name for group in groups]
    if len(set(words)) < len(words):  # four digits do not tell the groups apart
        words = [f"{name} {group.min()!s} to {group.max()!s}" if len(group) else name for group in groups]
    limits = [None, *edges.tolist(), None]
    where = [_between(name, low, high) for low, high in pairwise(limits)]
    yield Feature(name, codes, words, where if is_column and not _is_pattern(name) else ())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _looks_like_paths(words: pl.Series) -> bool:
    some = words.drop_nulls().head(1000)
    return len(some) > 0 and bool(some.str.contains(r"[/\\].*\.\w{2,5}$").mean() > 0.9)  # type: ignore[operator]


def _path_parts(name: str, words: pl.Series) -> Iterator[Feature]:
    """The folders of a path, from the outermost, and the kind of file."""
    parts = words.str.replace_all(r"\\", "/").str.split("/")
    deepest = max(parts.list.len().drop_nulls().to_list(), default=0)
    for place in range(deepest - 1):
        folders = pl.select(
            pl.when(parts.list.len() > place + 1).then(parts.list.get(place, null_on_oob=True))
        ).to_series()
        yield from _categories(f"folder {place + 1} of {name}", folders)
    yield from _categories(f"kind of {name}", words.str.extract(r"\.(\w{1,5})$").str.to_lowercase())


def _of_pictures(known: Known) -> Iterator[Feature]:
    if known.pictures is None:
        return
    taken = known.columns.intersection(LOOKS)  # an expression would mean the column of that name
    for name, (lowest, highest) in ENDS.items():
        values = known.looked_at(name)
        for share, words in SHARES.items():
            low, high = np.nanquantile(values, (share, 1 - share))
            for end, inside, limit in ((lowest, values <= low, f"<= {low}"), (highest, values >= high, f">= {high}")):
                where = () if name in taken else (f'"{name}" {limit}',)
                yield Feature(name, np.where(inside, 0, -1), [f"{end} {words}"], where)
    colours = np.full(len(known.label), None, object)
    colours[known.seen] = known.pictures.table["colour"].to_numpy()
    named = pl.Series("colour", colours.tolist(), dtype=pl.String)
    for feature in _categories("colour", named, is_column="colour" not in taken):
        yield Feature("colour", np.where(known.seen, feature.codes, -1), feature.words, feature.where)
    yield _clusters("cluster of colour and texture", known.pictures.descriptor, known.seen)


def _clusters(name: str, points: FloatArray | NDArray[np.float32], seen: NDArray[np.bool_], seed: int = 0) -> Feature:
    from sklearn.cluster import MiniBatchKMeans

    scaled = (points - points.mean(0)) / np.maximum(points.std(0), 1e-6)
    if not np.isfinite(scaled).all():
        raise DataError(f"{name}: expected finite values")
    count = min(CLUSTERS, max(1, len(points) // 20))
    fitted = MiniBatchKMeans(count, batch_size=4096, n_init=3, random_state=seed).fit(scaled)
    codes = np.full(len(seen), -1, np.int64)
    codes[seen] = fitted.labels_
    return Feature(name, codes, [f"{name} {k + 1}" for k in range(count)])
