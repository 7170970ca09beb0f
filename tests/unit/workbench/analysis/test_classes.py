import numpy as np
from sklearn import metrics

from tests.factories import predictions
from workbench.analysis.classes import class_report
from workbench.core.predictions import Predictions


def test_error_rate_is_one_less_recall() -> None:
    p = predictions()
    report = class_report(p)
    np.testing.assert_allclose(report.error_rate.value, 1 - metrics.recall_score(p.label, p.predicted, average=None))
    assert report.errors.sum() == p.error_count
    for rate in (report.error_rate, report.precision, report.recall, report.f1):
        assert (rate.low <= rate.value).all()
        assert (rate.value <= rate.high).all()


def test_class_without_rows() -> None:
    p = predictions(classes=3)
    keep = p.label != 1
    part = Predictions.from_arrays(p.label[keep], p.probability[keep], p.classes, index=p.index[keep])
    report = class_report(part)
    assert np.isnan(report.error_rate.value[1])
    assert (report.error_rate.low[1], report.error_rate.high[1]) == (0, 1)
