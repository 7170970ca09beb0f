"""The pictures of the explorer in the guides and the README, taken of the shipped model in a real JupyterLab.

``CIFAR10_ROOT=... python -m tests.browser.pictures --votes cifar10h-counts.npy --robustness DIR``
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.conftest import REPOSITORY, jupyter, open_and_run
from tests.browser.install import chromium
from tests.browser.steps import READY, explorer, view

LIMIT_MS = 300_000
CODE = """
import dataclasses, pathlib, workbench
run = workbench.with_votes(workbench.open_example(), {votes})
if {robustness} is not None:
    run = workbench.with_robustness(run, {robustness})
run = dataclasses.replace(run, folder=pathlib.Path({folder}))  # what is decided here lies nowhere else
workbench.Explorer(run, selection={selection})
"""
CELL = {"steps": [{"kind": "cells", "cells": [[3, 5]]}], "wrong_only": False}
SURE = {"steps": [{"kind": "range", "column": "confidence", "low": 0.8, "high": None}]}


def matrix(page: Page) -> None:
    """A cell of the matrix."""
    view(page, "Matrix")


def facets(page: Page) -> None:
    """A filter by confidence among all images."""
    view(page, "Filter")
    expect(page.locator(".wb-left svg, .wb-left canvas").first).to_be_visible()


def cohorts(page: Page) -> None:
    """Two cohorts."""
    view(page, "Cohorts")
    page.get_by_label("Name of the cohort").fill("sure errors")
    page.get_by_role("button", name="as cohort").click()
    expect(page.locator(".wb-cohort")).to_have_count(1)
    page.locator(".wb-tile").first.click()
    expect(page.locator(".wb-families canvas").first).to_be_visible()


def selection(page: Page) -> None:
    """What the images of a cell share."""
    view(page, "Selection")
    page.locator(".wb-tile").nth(2).click()
    expect(page.locator(".wb-together-map")).to_contain_text("others of it", timeout=LIMIT_MS)


def concepts(page: Page) -> None:
    """The concepts that decide in a cell."""
    view(page, "Selection")
    page.locator(".wb-tile").nth(2).click()
    page.get_by_role("button", name=re.compile("Why .+ and not")).click(timeout=LIMIT_MS)
    expect(page.locator(".wb-concept")).to_have_count(6, timeout=LIMIT_MS)
    page.locator(".wb-concepts").evaluate("node => node.scrollIntoView()")
    page.wait_for_timeout(500)


def what_if(page: Page) -> None:
    """A blurred image, and the smallest changes."""
    view(page, "Attributions")
    page.locator(".wb-tile").nth(1).click()
    page.get_by_role("button", name="What if").click()
    page.get_by_role("button", name="Smallest changes").click()
    expect(page.locator(".wb-flips .wb-chip").first).to_be_visible(timeout=LIMIT_MS)
    page.locator(".wb-flips .wb-chip").first.click()
    page.locator(".wb-sliders").evaluate("node => node.scrollIntoView()")
    page.wait_for_timeout(1500)


def robustness(page: Page) -> None:
    """Accuracy under corruptions."""
    view(page, "Robustness")
    expect(page.locator(".wb-corruption").first).to_be_visible()


def findings(page: Page) -> None:
    """The first view: findings, and one image with its map."""
    view(page, "Findings")
    expect(page.locator(".wb-card[data-kind]").first).to_be_visible(timeout=LIMIT_MS)
    page.locator(".wb-tile").first.click()
    expect(page.locator(".wb-families canvas").first).to_be_visible(timeout=LIMIT_MS)
    page.wait_for_timeout(3000)


def review(page: Page) -> None:
    """A review of labels."""
    page.get_by_role("button", name="Review", exact=True).click()
    expect(page.locator(".wb-deck canvas").nth(1)).to_be_visible(timeout=LIMIT_MS)
    page.wait_for_timeout(1000)


PICTURES: Mapping[str, tuple[Callable[[Page], None], dict[str, object]]] = {
    "docs/explorer_matrix.png": (matrix, CELL),
    "docs/explorer_filter.png": (facets, {**SURE, "wrong_only": False}),
    "docs/explorer_cohorts.png": (cohorts, SURE),
    "docs/explorer_selection.png": (selection, CELL),
    "docs/explorer_concepts.png": (concepts, CELL),
    "docs/explorer_whatif.png": (what_if, SURE),
    "docs/explorer_robustness.png": (robustness, {}),
    "docs/explorer_review.png": (review, SURE),
    "notebooks/explorer.png": (findings, {}),
}


def take(browser: Browser, address: str, folder: Path, name: str, options: argparse.Namespace) -> None:
    """One picture, in a notebook and kernel of its own."""
    steps, selected = PICTURES[name]
    given = {key: repr(None if value is None else str(value)) for key, value in vars(options).items() if key != "only"}
    code = CODE.format(**given, folder=repr(str(folder / Path(name).stem)), selection=repr(selected))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    whole = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)], metadata={"kernelspec": kernel})
    notebook = f"{Path(name).stem}.ipynb"
    nbformat.write(whole, folder / notebook)
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.add_init_script("try { localStorage.setItem('workbench.tour', 'seen') } catch {}")
    open_and_run(page, address, notebook, limit_s=LIMIT_MS / 1000)
    page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
    explorer(page, "").scroll_into_view_if_needed()
    steps(page)
    shown = page.locator(".wb-deck" if steps is review else READY).first
    shown.screenshot(path=REPOSITORY / name)
    page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--votes", type=Path, required=True)
    parser.add_argument("--robustness", type=Path)
    parser.add_argument("--only", nargs="*", default=list(PICTURES))
    options = parser.parse_args()
    path = chromium()
    if path is None:
        raise SystemExit("Chromium is needed: python -m tests.browser.install")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        with jupyter(folder, {}) as address:
            for name in options.only:
                take(browser, address, folder, name, options)
                print(json.dumps({"picture": name}), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
