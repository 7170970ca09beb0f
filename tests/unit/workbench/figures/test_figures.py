"""Figures draw on the axes that they are given, keep their text inside, and are files of a known kind."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from PIL import Image

from tests.benchmarks.planted import MAKERS
from tests.factories import predictions
from workbench import figures
from workbench.analysis.baselines import curves, ranking
from workbench.analysis.calibration import class_reliability, reliability, risk_coverage
from workbench.analysis.classes import class_report
from workbench.analysis.confusion import asymmetries, confusion_matrix
from workbench.core.predictions import Predictions
from workbench.core.records import Attribution, ImageSet
from workbench.errors import DataError
from workbench.explorer.explain import Explained
from workbench.explorer.replies import maps_reply
from workbench.findings.causes import causes, where_to_work
from workbench.findings.find import find
from workbench.images import render

P = predictions(300)
UNEVEN = asymmetries(confusion_matrix(P)).with_columns(adjusted_p_value=0.01)
FOUND = find(MAKERS["camera"](0).run)
DRAWN = {
    "asymmetries": lambda ax: figures.asymmetries(UNEVEN, P.classes, ax=ax),
    "causes": lambda ax: figures.causes(where_to_work(causes(P)), ax=ax),
    "class_calibration": lambda ax: figures.class_calibration(P.classes, class_reliability(P), ax=ax),
    "class_error_rates": lambda ax: figures.class_error_rates(class_report(P), ax=ax),
    "class_rates": lambda ax: figures.class_rates(class_report(P), ax=ax),
    "confusion_matrix": lambda ax: figures.confusion_matrix(confusion_matrix(P), ax=ax),
    "reliability": lambda ax: figures.reliability(reliability(P), ax=ax),
    "precision_recall": lambda ax: figures.precision_recall(curves(P), ranking(P), ax=ax),
    "risk_coverage": lambda ax: figures.risk_coverage(risk_coverage(P), ax=ax),
    "roc": lambda ax: figures.roc(curves(P), ranking(P), ax=ax),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_draws_where_it_is_told(name: str) -> None:
    of_caller, other = Figure().subplots(1, 2)
    assert DRAWN[name](of_caller) is of_caller
    assert of_caller.has_data()
    assert not other.has_data()
    alone = DRAWN[name](None)
    assert alone is not of_caller
    assert len(figures.figure_of(alone).axes) >= 1


@pytest.mark.parametrize("name", DRAWN)
def test_no_text_is_cut_off(name: str) -> None:
    picture = Image.open(io.BytesIO(figures.encode(figures.figure_of(DRAWN[name](None)), "png")))
    pixels = np.asarray(picture.convert("L"))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (border > 250).all()


@pytest.mark.parametrize("with_pictures", [True, False])
def test_cards_of_findings_hold_their_words(with_pictures: bool) -> None:
    table = FOUND.table()
    table = pl.concat([table] * 3)
    picture = np.full((40, 60, 3), 90, np.uint8)
    figure = figures.findings(table, [[picture] * 6] * len(table) if with_pictures else None)
    figure.draw_without_rendering()
    words = [text.get_window_extent() for text in figure.texts]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in words)
    assert all(figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1 for box in words)
    if with_pictures:
        left = min(ax.get_window_extent().x0 for ax in figure.axes)
        assert max(box.x1 for box in words) < left
        assert len(figure.axes) == 6 * len(table)


def test_nothing_found_is_a_sentence() -> None:
    texts = [text.get_text() for text in figures.findings(FOUND.table().clear()).texts]
    assert texts == ["No finding holds on these rows."]
    none = figures.asymmetries(UNEVEN.with_columns(adjusted_p_value=0.5), P.classes)
    words = f"0 of {len(UNEVEN)} pairs of classes are confused more often one way than the other."
    assert none.texts[0].get_text().split() == words.split()


def test_the_matrix_says_its_counts() -> None:
    matrix = confusion_matrix(P)
    texts = [text.get_text() for text in figures.confusion_matrix(matrix).texts]
    assert sorted(texts) == sorted(str(count) for count in matrix.counts.ravel())


def test_very_many_classes_become_pairs() -> None:
    many = Predictions.from_arrays(
        np.arange(60) % 30, np.roll(np.eye(30)[np.arange(60) % 30], 1, 1), [*map(str, range(30))]
    )
    axes = figures.confusion_matrix(confusion_matrix(many))
    assert axes.get_title("left") == "The most confused pairs of 30 classes"


def test_files_are_written_twice_alike(tmp_path: Path) -> None:
    first, second = (figures.save(figures.figure_of(DRAWN["reliability"](None)), tmp_path / name) for name in "ab")
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
    with pytest.raises(DataError, match="expected one of png, svg, pdf, not 'gif'"):
        figures.encode(figures.figure_of(DRAWN["reliability"](None)), "gif")


def test_maps_have_the_colours_of_the_explorer() -> None:
    values = np.random.default_rng(0).normal(size=(1, 8, 8)).astype(np.float32)
    rows, targets = np.array([3]), np.array([1])
    on_layer = Attribution(values, rows, targets, "Grad-CAM", "layer4")
    on_input = Attribution(values, rows, targets, "Input x gradient")
    of = predictions(20)
    images = ImageSet(np.full((20, 128, 128, 3), 90, np.uint8), of.label, of.classes, "test", "d" * 64)
    figure = figures.attribution_grid(images, of, {"cam": on_layer, "input": on_input}, signed=None)
    for ax, maps in zip(figure.axes[1:3], (on_layer, on_input), strict=True):
        signed = maps_reply([Explained("", maps.method, maps.layer, "", maps)], [""])[0]["maps"][0]["signed"]
        top = render.scale_of(values, signed=signed)
        assert (ax.images[0].get_array() == render.overlay(images.image(3), values[0], top, signed=signed)).all()
    assert (on_layer.two_sided, on_input.two_sided) == (False, True)
