import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench import store
from workbench.analysis.calibration import proper_scores, reliability, risk_coverage
from workbench.analysis.classes import class_report
from workbench.analysis.confusion import confusion_matrix, normalise
from workbench.analysis.index import select
from workbench.analysis.labels import confident_joint, label_suspects
from workbench.analysis.statistics import wilson_interval
from workbench.core.predictions import Predictions
from workbench.core.records import Query
from workbench.images import render


@st.composite
def tables(draw: st.DrawFn) -> Predictions:
    classes, rows = draw(st.integers(2, 6)), draw(st.integers(1, 40))
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    probability = generator.dirichlet(np.full(classes, 0.5), rows).astype(np.float32)
    probability /= probability.sum(1, keepdims=True)
    label = generator.integers(0, classes, rows)
    index = generator.permutation(10 * rows)[:rows]
    return Predictions.from_arrays(label, probability, tuple(map(str, range(classes))), index=index)


def reordered(p: Predictions, order: np.ndarray) -> Predictions:
    return Predictions.from_arrays(p.label[order], p.probability[order], p.classes, index=p.index[order])


@given(tables())
def test_counts_add_up(p: Predictions) -> None:
    matrix = confusion_matrix(p)
    assert matrix.counts.sum() == len(p)
    assert matrix.counts.sum() - np.trace(matrix.counts) == p.error_count
    sums = normalise(matrix, "true").sum(1)
    np.testing.assert_allclose(sums, matrix.counts.sum(1) > 0)


@given(tables(), st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(p: Predictions, random) -> None:
    order = np.array(random.sample(range(len(p)), len(p)))
    q = reordered(p, order)
    np.testing.assert_array_equal(confusion_matrix(p).counts, confusion_matrix(q).counts)
    for name in ("loss", "confidence", "margin", "entropy", "label", "predicted", "index"):
        assert select(p, Query(order=name))["index"].to_list() == select(q, Query(order=name))["index"].to_list()


@given(tables(), st.integers(1, 4))
def test_shards_change_nothing(p: Predictions, count: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, rows = Path(place), len(p)
        for number in range(count):
            part = p.table.slice(number * rows // count, (number + 1) * rows // count - number * rows // count)
            store.as_lists(part).sink_parquet(folder / store.shard_name(number, count))
        store.write_provenance(folder, store.origin(p.classes, p.provenance))
        q = store.read(folder)
        np.testing.assert_array_equal(q.index, p.index)
        np.testing.assert_array_equal(confusion_matrix(q).counts, confusion_matrix(p).counts)
        assert np.isclose(reliability(q).ece, reliability(p).ece, atol=1e-9)
        assert np.isclose(risk_coverage(q).aurc, risk_coverage(p).aurc, atol=1e-12)
        assert np.isclose(proper_scores(q).nll, proper_scores(p).nll, rtol=1e-12)


@given(tables(), st.randoms(use_true_random=False))
def test_numbers_do_not_depend_on_the_order_of_rows(p: Predictions, random) -> None:
    q = reordered(p, np.array(random.sample(range(len(p)), len(p))))
    assert np.isclose(reliability(p).ece, reliability(q).ece, atol=1e-9)
    assert np.isclose(reliability(p, binning="equal mass").ece, reliability(q, binning="equal mass").ece, atol=1e-9)
    assert np.isclose(risk_coverage(p).aurc, risk_coverage(q).aurc, atol=1e-12)
    assert label_suspects(p).equals(label_suspects(q))
    assert np.isclose(confident_joint(p).joint.sum(), 1)


@given(tables(), st.randoms(use_true_random=False))
def test_renaming_classes_permutes_the_report(p: Predictions, random) -> None:
    order = np.array(random.sample(range(len(p.classes)), len(p.classes)))
    inverse = np.argsort(order)
    q = Predictions.from_arrays(
        inverse[p.label], p.probability[:, order], tuple(p.classes[k] for k in order), index=p.index
    )
    one, two = class_report(p), class_report(q)
    np.testing.assert_array_equal(one.errors[order], two.errors)
    np.testing.assert_allclose(one.error_rate.low[order], two.error_rate.low)


@given(st.integers(0, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_rate_and_mirrors(pair: tuple[int, int]) -> None:
    k, n = pair
    low, high = wilson_interval(k, n)
    other_low, other_high = wilson_interval(n - k, n)
    assert 0 <= low <= high <= 1
    np.testing.assert_allclose([low, high], [1 - other_high, 1 - other_low], atol=1e-12)
    if n:
        assert low - 1e-12 <= k / n <= high + 1e-12


@given(tables())
def test_margin_tells_the_errors(p: Predictions) -> None:
    assert (p.margin[~p.correct] <= 0).all()
    assert (p.margin[p.correct] >= 0).all()
    assert np.isfinite(p.loss).all()


@given(hnp.arrays(np.float32, (4, 4), elements=st.floats(-1000, 1000, width=32)), st.booleans())
def test_stronger_values_never_look_weaker(values: np.ndarray, signed: bool) -> None:
    top = render.scale_of(values, signed=signed)
    places = render.normalise(values, top, signed=signed)
    order = np.argsort(values, axis=None)
    assert (np.diff(places.ravel()[order]) >= 0).all()
    assert places.min() >= 0
    assert places.max() <= 1
