from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn import metrics

from tests.factories import predictions
from workbench.analysis.calibration import (
    class_reliability,
    proper_scores,
    reliability,
    risk_coverage,
    temperature,
)
from workbench.analysis.scaling import fit_temperature, scale
from workbench.core.predictions import Predictions
from workbench.errors import DataError


def binary(confidence: list[float], right: list[bool]) -> Predictions:
    """Two classes, class 0 predicted with the given confidence; the label is 0 where it is right."""
    c = np.array(confidence)
    return Predictions.from_arrays(np.where(right, 0, 1), np.stack([c, 1 - c], 1), ("yes", "no"))


def test_ece_by_hand() -> None:
    p = binary([0.65, 0.65, 0.95, 1.0], [True, False, True, True])
    # 10 bins: [0.6, 0.7) two rows, accuracy 1/2; the last, closed at 1, two rows with mean 0.975, accuracy 1
    diagram = reliability(p, bins=10)
    assert diagram.ece == pytest.approx(0.5 * 0.15 + 0.5 * 0.025, abs=1e-6)
    assert diagram.counts.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 2]
    assert np.isnan(diagram.accuracy[0])


def test_ece_equals_a_plain_loop() -> None:
    p = predictions(500, 4)
    for bins in (1, 10, 15):
        place = np.minimum((p.confidence.astype(float) * bins).astype(int), bins - 1)
        expected = sum(
            (place == b).mean() * abs(p.correct[place == b].mean() - p.confidence[place == b].astype(float).mean())
            for b in range(bins)
            if (place == b).any()
        )
        assert reliability(p, bins=bins).ece == pytest.approx(expected, rel=1e-6)


def test_ece_equals_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    p = predictions(800, 5)  # no confidence of exactly 1, which torchmetrics puts into a bin of its own
    for bins in (10, 15):
        theirs = multiclass_calibration_error(torch.tensor(p.probability), torch.tensor(p.label), 5, n_bins=bins)
        assert reliability(p, bins=bins).ece == pytest.approx(float(theirs), abs=1e-5)


def test_equal_mass_bins_hold_equally_many_rows() -> None:
    p = predictions(600, 4)
    diagram = reliability(p, binning="equal mass")
    assert diagram.counts.tolist() == [40] * 15
    order = np.argsort(p.confidence, kind="stable").reshape(15, 40)
    gaps = [abs(p.correct[rows].mean() - p.confidence[rows].astype(float).mean()) for rows in order]
    assert diagram.ece == pytest.approx(np.mean(gaps), rel=1e-6)


def test_equal_confidences_share_a_bin() -> None:
    diagram = reliability(binary([0.8] * 10, [True] * 8 + [False] * 2), binning="equal mass", bins=5)
    assert diagram.counts.sum() == diagram.counts.max() == 10
    assert diagram.ece == pytest.approx(0, abs=1e-6)


def test_confidences_of_exactly_one_have_their_own_bin() -> None:
    p = binary([1.0] * 90 + [0.5] * 10, [True] * 81 + [False] * 9 + [True] * 10)
    diagram = reliability(p, binning="equal mass", bins=5)
    assert diagram.counts[-1] == 90
    assert diagram.ece == pytest.approx(0.9 * 0.1 + 0.1 * 0.5, abs=1e-6)


def test_calibration_of_one_class() -> None:
    p = predictions(300, 3)
    diagram = class_reliability(p, bins=5)[1]
    place = np.minimum((p.probability[:, 1].astype(float) * 5).astype(int), 4)
    gap = np.bincount(place, p.label == 1, 5) - np.bincount(place, p.probability[:, 1], 5)
    assert diagram.ece == pytest.approx(np.abs(gap).sum() / 300, rel=1e-5)
    assert diagram.counts.tolist() == np.bincount(place, minlength=5).tolist()


def test_two_classes_mirror_each_other() -> None:
    first, second = class_reliability(predictions(200, 2))
    assert first.ece == pytest.approx(second.ece, abs=1e-6)


@pytest.mark.parametrize("function", [reliability, class_reliability])
def test_no_bins_are_refused(function: Callable[..., object]) -> None:
    with pytest.raises(DataError, match="bins: expected at least 1"):
        function(predictions(20, 2), bins=0)


def test_proper_scores_equal_scikit_learn() -> None:
    p = predictions(300, 5)
    scores = proper_scores(p)
    assert scores.nll == pytest.approx(metrics.log_loss(p.label, p.probability), rel=1e-5)
    # scikit-learn halves the multi-class Brier score only if told to
    brier = metrics.brier_score_loss(p.label, p.probability, labels=range(5), scale_by_half=False)
    assert scores.brier == pytest.approx(brier, rel=1e-5)


def test_risk_and_coverage_by_hand() -> None:
    curve = risk_coverage(binary([0.9, 0.8, 0.7, 0.6], [True, False, True, False]))
    np.testing.assert_allclose(curve.risk, [0, 1 / 2, 1 / 3, 2 / 4])
    assert curve.aurc == pytest.approx(np.mean([0, 1 / 2, 1 / 3, 2 / 4]))
    assert curve.best_aurc == pytest.approx(np.mean([0, 0, 1 / 3, 2 / 4]))


def test_ties_of_confidence_do_not_depend_on_order() -> None:
    one = risk_coverage(binary([0.7] * 4, [True, True, False, False]))
    two = risk_coverage(binary([0.7] * 4, [False, False, True, True]))
    np.testing.assert_allclose(one.risk, [0.5] * 4)
    np.testing.assert_allclose(one.risk, two.risk)


def test_temperature_is_found_again() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (6000, 4))
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    label = (true.cumsum(1) > generator.random((6000, 1))).argmax(1)
    too_sure = torch.tensor(logits * 2.5).softmax(1).numpy()
    assert fit_temperature(np.log(too_sure), label) == pytest.approx(2.5, rel=0.06)
    fitted = temperature(Predictions.from_arrays(label, too_sure, ("a", "b", "c", "d")))
    assert fitted.fitted_rows == fitted.judged_rows == 3000
    assert not fitted.at_bound
    assert fitted.nll_after < fitted.nll_before
    assert fitted.ece_after < 0.3 * fitted.ece_before
    np.testing.assert_allclose(scale(too_sure.astype(np.float32), 2.5), true, atol=1e-4)


def test_rows_all_right_say_that_no_temperature_is_the_best() -> None:
    assert temperature(binary([0.6] * 20, [True] * 20)).at_bound
