import numpy as np
import polars as pl

from tests.factories import image_set
from workbench.figures import corruption_curves, flips
from workbench.figures.robustness import Flip


def frame() -> pl.DataFrame:
    groups = (("all", "all"), ("class", "cat"), ("group", "cat"))
    rows = [("none", 0, *group, 0.9) for group in groups]
    for group in groups:
        rows += [(name, k, *group, 0.9 - 0.1 * k) for name in ("fog", "jpeg") for k in range(1, 6)]
    table = pl.DataFrame(rows, schema=["corruption", "strength", "kind", "group", "accuracy"], orient="row")
    return table.with_columns(low=pl.col("accuracy") - 0.03, high=pl.col("accuracy") + 0.03)


def test_each_corruption_has_a_curve_from_the_clean_images_on() -> None:
    figure = corruption_curves(frame())
    assert [ax.get_title() for ax in figure.axes] == ["fog", "jpeg"]
    [line] = figure.axes[0].lines
    assert np.asarray(line.get_xdata()).tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(line.get_ydata(), [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    beside = corruption_curves(frame(), kind="class", group="cat")
    assert [len(line.get_xdata()) for line in beside.axes[0].lines] == [6, 6]


def test_a_flip_shows_both_images_with_their_answers() -> None:
    images = image_set(2)
    shown = [Flip(images.image(0), images.image(1), 7, "cat", "dog", "cat", "rotate -3 degrees")]
    above, below = flips(shown).axes
    np.testing.assert_array_equal(above.images[0].get_array(), images.image(0))
    np.testing.assert_array_equal(below.images[0].get_array(), images.image(1))
    assert (above.get_title(), below.get_title()) == ("cat #7", "rotate -3 degrees")
    assert (above.get_xlabel(), below.get_xlabel()) == ("predicted as\ndog", "corrected to\ncat")
