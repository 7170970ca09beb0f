import dataclasses

import numpy as np
import pytest

from tests.factories import CLASSES, classifier, image_set, predictions
from workbench.predict import predict
from workbench.run import Run
from workbench.state import PAGE, ExplorerState


@pytest.fixture
def run() -> Run:
    images, model = image_set(60), classifier()
    return Run("tiny", predict(model, images), images, model)


def bare(rows: int = 300) -> ExplorerState:
    return ExplorerState(Run("bare", predictions(rows)))


def test_starts_with_all_errors_worst_first() -> None:
    state = bare()
    wrong = state.run.predictions.index[~state.run.predictions.correct]
    assert sorted(state.rows) == sorted(wrong)
    assert state.description == f"All {len(wrong)} errors"


def test_cell_selects_its_rows_and_again_releases_them() -> None:
    state = bare()
    state.select_cell(1, 2)
    p = state.run.predictions
    assert sorted(state.rows) == sorted(p.index[(p.label == 1) & (p.predicted == 2)])
    assert state.description.endswith("errors: class 1 taken for class 2")
    state.select_cell(1, 2)
    assert len(state.rows) == p.error_count


def test_diagonal_cell_shows_right_images() -> None:
    state = bare()
    state.select_cell(0, 0)
    assert len(state.rows) > 0
    assert state.description.endswith("images of class 0, rightly recognised")


def test_pages_cover_the_rows_once() -> None:
    state = bare()
    state.wrong_only = False
    seen: list[int] = []
    for page in range(state.page_count):
        state.page = page
        seen += state.page_frame["index"].to_list()
        assert len(state.page_frame) <= PAGE
    assert seen == state.rows.tolist()


def test_change_of_query_drops_what_is_no_longer_there() -> None:
    state = bare()
    state.page, state.selected = 1, int(state.rows[0])
    place = state.run.predictions.position(state.selected)
    other = (int(state.run.predictions.label[place]) + 1) % 4
    state.select_cell(other, (other + 1) % 4)
    assert (state.page, state.selected) == (0, -1)


def test_maps_for_predicted_and_true_class(run: Run) -> None:
    state = ExplorerState(run)
    state.selected = int(state.rows[0])
    place = run.predictions.position(state.selected)
    maps = state.explain().maps
    assert list(maps) == [
        f"{CLASSES[run.predictions.predicted[place]]} (predicted)",
        f"{CLASSES[run.predictions.label[place]]} (true)",
    ]
    assert all(np.isfinite(a.values).all() for a in maps.values())
    assert {a.values.shape for a in maps.values()} == {(1, 4, 4)}
    state.method = "Integrated gradients"
    assert {a.values.shape for a in state.explain().maps.values()} == {(1, 32, 32)}


def test_without_images_says_so(run: Run) -> None:
    state = ExplorerState(dataclasses.replace(run, images=None))
    state.selected = int(state.rows[0])
    assert "images are not on this machine" in state.explain().message


def test_widgets_follow_the_state_and_the_state_the_widgets(run: Run) -> None:
    from workbench.ui.explorer import Explorer

    explorer = Explorer(run)
    true, predicted = int(run.predictions.label[0]), 1
    explorer.matrix._clicked(None, {"true": true, "predicted": predicted}, None)
    assert explorer.matrix.cell == [true, predicted]
    assert [item["index"] for item in explorer.gallery.items] == explorer.state.rows.tolist()[:PAGE]
    assert explorer.gallery.description == explorer.state.description
    if explorer.gallery.items:
        assert explorer.gallery.sheet.startswith(b"\x89PNG")
    explorer.state.select_cell(true, predicted)
    explorer.gallery._received(None, {"row": int(explorer.state.rows[0])}, None)
    assert explorer.detail.row == explorer.state.rows[0]
    assert len(explorer.detail.panels) == 3
    assert sum(bar["value"] for bar in explorer.detail.bars) == pytest.approx(1, abs=1e-5)


def test_gallery_ignores_rows_and_pages_that_are_not_there(run: Run) -> None:
    from workbench.ui.explorer import Explorer

    explorer = Explorer(run)
    explorer.gallery._received(None, {"row": 10_000}, None)
    explorer.gallery._received(None, {"page": 99}, None)
    assert explorer.state.selected == -1
    assert explorer.state.page == explorer.state.page_count - 1
