import numpy as np
import statsmodels.api as sm

from workbench.analysis.quasi import expected_errors


def test_the_fit_is_that_of_a_poisson_regression() -> None:
    """Quasi-independence is the log-linear model of rows and columns on the cells off the diagonal."""
    counts = np.random.default_rng(0).poisson(8, (5, 5))
    np.fill_diagonal(counts, 0)
    cells = [(i, j) for i in range(5) for j in range(5) if i != j]
    design = np.array([[*np.eye(5)[i], *np.eye(5)[j][1:]] for i, j in cells])
    fitted = sm.GLM(np.array([counts[cell] for cell in cells]), design, family=sm.families.Poisson()).fit()
    found = expected_errors(counts)
    np.testing.assert_allclose([found[cell] for cell in cells], fitted.fittedvalues, rtol=1e-5)
    np.testing.assert_allclose(found.sum(1), counts.sum(1), rtol=1e-6)
    assert (np.diag(found) == 0).all()


def test_cells_left_out_are_expected_from_the_others() -> None:
    rows, columns = np.array([3.0, 5.0, 2.0, 4.0]), np.array([2.0, 1.0, 3.0, 2.0])
    counts = np.rint(100 * rows[:, None] * columns).astype(np.int64)
    np.fill_diagonal(counts, 0)
    left_out = np.zeros((4, 4), bool)
    left_out[0, 1] = left_out[1, 0] = True
    spiked = counts.copy()
    spiked[0, 1] += 5000
    np.testing.assert_allclose(expected_errors(spiked, left_out), counts, rtol=1e-6)


def test_classes_without_errors_have_none_expected() -> None:
    counts = np.zeros((4, 4), np.int64)
    counts[0, 1], counts[1, 0] = 3, 2
    assert expected_errors(counts).sum() == 5
    assert expected_errors(np.zeros((3, 3), np.int64)).sum() == 0
