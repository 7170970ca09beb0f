from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console, jupyter, open_and_run


def small_notebook(folder: Path, code: str) -> str:
    cells = [nbformat.v4.new_code_cell(line) for line in (code, "workbench.Explorer(run)")]
    # without a kernel's name JupyterLab opens a dialog and waits
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "small.ipynb")
    return "small.ipynb"


def journey(page: Page, true: int, predicted: int, shots: Path | None) -> None:
    """Click a cell, see its images; click one, see its maps; go on with the keyboard."""
    gallery = page.locator(".wb-gallery").first
    title = gallery.locator("h3")
    expect(title).to_contain_text("All ")
    page.locator(f"td button[data-true='{true}'][data-predicted='{predicted}']").first.click()
    expect(title).to_contain_text("taken for")
    cell = page.locator(f"td button[data-true='{true}'][data-predicted='{predicted}']").first
    expect(cell).to_have_attribute("aria-pressed", "true")
    count = int(cell.text_content() or 0)
    tiles = gallery.locator(".wb-tiles button")
    expect(tiles).to_have_count(min(count, 40))
    tiles.first.click()
    detail = page.locator(".wb-detail").first
    expect(detail).to_have_attribute("data-maps", "2")
    row = tiles.first.get_attribute("data-row")
    expect(detail).to_have_attribute("data-row", str(row))
    painted = (
        detail.locator("canvas")
        .nth(1)
        .evaluate(
            """canvas => new Set(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data).size"""
        )
    )
    assert painted > 20, "the map is empty"
    if shots is not None:
        page.locator(".wb-explorer").first.screenshot(path=shots)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_cell_then_image_then_map(browser, digits_run: Path, tmp_path: Path, theme: str, shots: Path | None) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    name = small_notebook(folder, f"import workbench\nrun = workbench.train_digits({json.dumps(str(digits_run))})")
    page = browser.new_page(viewport={"width": 1400, "height": 1500})
    console = Console(page)
    with jupyter(folder, {}) as address:
        if theme == "dark":
            page.add_init_script("window.localStorage.clear()")
        open_and_run(page, address, name)
        if theme == "dark":
            page.evaluate(
                "() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
            )
            page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
        true, predicted = most_confused(digits_run)
        journey(page, true, predicted, shots and shots / f"explorer_digits_{theme}.png")
    console.check()
    page.close()


def most_confused(folder: Path) -> tuple[int, int]:
    import workbench
    from workbench.analysis import confusion

    run = workbench.train_digits(folder)
    true, predicted, _ = confusion.most_confused(confusion.confusion_matrix(run.predictions))[0]
    return true, predicted


def test_cat_taken_for_dog_in_the_notebook(browser, notebooks: Path, shots: Path | None) -> None:
    """The newcomer's way: the committed notebook, all cells, on CIFAR-10 with the shipped checkpoint."""
    from workbench.run import SHIPPED

    if not SHIPPED.is_dir():
        pytest.skip("no CIFAR-10 checkpoint is shipped")
    if not Path(os.environ.get("CIFAR10_ROOT", "data")).is_dir():
        pytest.skip("CIFAR-10 is not on this machine")
    page = browser.new_page(viewport={"width": 1400, "height": 1500})
    console = Console(page)
    with jupyter(notebooks, {}) as address:
        open_and_run(page, address, "explore_errors.ipynb", limit_s=420)
        journey(page, 3, 5, shots and shots / "explorer_cifar10.png")
    console.check()
    page.close()
