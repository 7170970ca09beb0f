"""What several journeys do: open a notebook, a view, an image."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

READY = ".wb[data-ready=yes]"


def notebook(lab: tuple[Path, str], request: pytest.FixtureRequest, *code: str) -> str:
    cells = [nbformat.v4.new_code_cell(text) for text in code]
    # without a kernel's name JupyterLab opens a dialog and waits
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    name = f"{request.node.originalname}_{abs(hash(request.node.name)) % 10_000}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab[0] / name)
    return name


def explorer(page: Page, name: str = "Matrix") -> Locator:
    """The explorer, with a view opened; without a name the one that it opens with."""
    shown = page.locator(READY)
    expect(shown).to_be_visible()
    if name:
        view(page, name)
    return shown


def view(page: Page, name: str) -> None:
    page.locator(".wb-tabs").get_by_role("tab", name=name, exact=True).click()


def shoot(page: Page, shots: Path | None, name: str) -> None:
    if shots is not None:
        page.locator(READY).first.screenshot(path=shots / f"{name}.png")


def most_confused(page: Page) -> Locator:
    """The cell off the diagonal with the largest count."""
    cells = page.locator(".wb-matrix td button:not(.wb-right)")
    counts = cells.evaluate_all("cells => cells.map((cell) => Number(cell.textContent))")
    return cells.nth(int(np.argmax(counts)))


def see_maps(page: Page) -> str:
    """Choose the first image and wait for its maps; its row id."""
    tile = page.locator(".wb-tile").first
    tile.click()
    row = tile.get_attribute("data-row")
    detail = page.locator(".wb-detail")
    expect(detail).to_have_attribute("data-row", str(row))
    expect(page.locator(".wb-families canvas").nth(1)).to_be_visible()
    colours = page.locator(".wb-families canvas").first.evaluate(
        """canvas => new Set(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data).size"""
    )
    assert colours > 20, "the map is empty"
    return str(row)
