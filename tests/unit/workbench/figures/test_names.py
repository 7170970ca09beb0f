from __future__ import annotations

import itertools
import warnings

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes

from workbench import figures
from workbench.analysis.calibration import class_reliability
from workbench.analysis.classes import class_report
from workbench.analysis.confusion import asymmetries, confusion_matrix
from workbench.analysis.labels import label_suspects
from workbench.core.predictions import Predictions
from workbench.figures.base import STYLE
from workbench.figures.names import LINE, families, wrap

PLANTS = [
    f"{plant}___{state}"
    for plant in ("Apple", "Corn_(maize)", "Tomato", "Potato", "Pepper,_bell")
    for state in (
        "healthy",
        "Yellow_Leaf_Curl_Virus",
        "Cercospora_leaf_spot Gray_leaf_spot",
        "Spider_mites Two-spotted",
    )
]
TWO = ["Chest radiograph without any pathological finding", "Pneumonia, bacterial or viral, confirmed"]
LONG = ["x" * 75, "A sentence of five and seventy letters that describes what this class is, ok", "short"]
SHORT = [f"class {k}" for k in range(10)]


def predictions(names: list[str]) -> Predictions:
    drawn, count = np.random.default_rng(0), len(names)
    label = drawn.integers(0, count, 400)
    shares = drawn.dirichlet(np.ones(count), 400) * 0.7 + 0.3 * np.eye(count)[label]
    shares[:150] = drawn.dirichlet(np.ones(count), 150)
    return Predictions.from_arrays(label, shares, names)


def drawn(names: list[str]) -> dict[str, Axes]:
    p = predictions(names)
    matrix = confusion_matrix(p)
    report = class_report(matrix)
    return {
        "matrix": figures.confusion_matrix(matrix),
        "error rates": figures.class_error_rates(report),
        "rates": figures.class_rates(report),
        "calibration": figures.class_calibration(p.classes, class_reliability(p)),
        "asymmetries": figures.asymmetries(asymmetries(matrix).with_columns(adjusted_p_value=0.01), p.classes),
        "suspects": figures.suspects(label_suspects(p), p.classes),
    }


@pytest.mark.parametrize("names", [PLANTS, TWO, LONG, SHORT], ids=["plants", "two", "long", "short"])
def test_no_name_is_clipped_overlapped_or_shrunk(names: list[str]) -> None:
    for title, ax in drawn(names).items():
        figure = figures.figure_of(ax)
        with mpl.rc_context(STYLE), warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.draw_without_rendering()
        whole = figure.bbox
        for axis in (ax.yaxis, ax.xaxis if title == "matrix" else ax.yaxis):
            labels = [label for label in axis.get_ticklabels() if label.get_text()]
            boxes = [label.get_window_extent() for label in labels]
            assert all(label.get_fontsize() == 10 for label in labels)
            for box in boxes:
                assert box.x0 >= whole.x0 - 1, title
                assert box.x1 <= whole.x1 + 1, title
                assert box.y0 >= whole.y0 - 1, title
                assert box.y1 <= whole.y1 + 1, title
            if names is not SHORT:  # short names of a matrix are slanted: their boxes meet, their letters don't
                for one, other in itertools.pairwise(sorted(boxes, key=lambda box: (box.y0, box.x0))):
                    apart = one.y1 <= other.y0 + 1 or one.x1 <= other.x0 + 1 or other.x1 <= one.x0 + 1
                    assert apart, title
        share = ax.get_window_extent().width / whole.width
        assert share > 0.3, f"{title}: the plot has {share:.0%} of its figure"


@pytest.mark.parametrize("count", [2, 10])
def test_text_is_legible_in_a_column_of_a_paper(count: int) -> None:
    """In a column of 3.35 inches no text has less than 5 points, the least that journals ask for."""
    for title, ax in drawn(SHORT[:count]).items():
        figure = figures.figure_of(ax)
        smallest = min(text.get_fontsize() for text in figure.findobj(mpl.text.Text) if text.get_text())
        assert smallest * min(1, 3.35 / figure.get_size_inches()[0]) >= 5, title


@pytest.mark.parametrize("name", [*PLANTS, *TWO, *LONG, "", "a", "   "])
def test_wrapping_keeps_every_letter(name: str) -> None:
    lines = wrap(name).split("\n")
    assert all(len(line) <= LINE for line in lines)
    assert "".join("".join(lines).split()) == "".join(name.split())


def test_the_axes_of_others_keep_their_size() -> None:
    figure = mpl.figure.Figure(figsize=(9, 4), layout="constrained")
    left, _ = figure.subplots(1, 2)
    figures.class_error_rates(class_report(confusion_matrix(predictions(PLANTS))), ax=left)
    assert tuple(figure.get_size_inches()) == (9, 4)


def test_characters_without_a_font_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert families()[0] == "DejaVu Sans"
    monkeypatch.setitem(STYLE, "font.family", ["DejaVu Sans"])  # which has no Chinese
    with mpl.rc_context(STYLE):
        ax = figures.class_error_rates(class_report(confusion_matrix(predictions(["猫", "狗", "cat"]))))
    with pytest.warns(RuntimeWarning, match="2 characters are in no installed font .*fonts-noto-cjk") as told:
        figures.encode(figures.figure_of(ax), "png")
    assert len(told) == 1


@pytest.mark.parametrize("count", [100, 1000])
def test_the_whole_matrix_of_many_classes(count: int) -> None:
    drawn_from = np.random.default_rng(0)
    counts = drawn_from.integers(0, 3, (count, count)) + 50 * np.eye(count, dtype=int)
    from workbench.core.records import ConfusionMatrix

    ax = figures.whole_matrix(ConfusionMatrix(counts, tuple(map(str, range(count)))))
    shown = ax.images[0].get_array()
    assert shown is not None
    expected = counts / counts.sum(1, keepdims=True)
    off = ~np.eye(count, dtype=bool)
    np.testing.assert_allclose(np.asarray(shown)[off], expected[off])
    assert np.isnan(np.ma.filled(shown, np.nan).diagonal()).all()
    assert f"{count:,} classes" in ax.get_title(loc="left")
    assert len(figures.encode(figures.figure_of(ax), "png")) > 10_000
