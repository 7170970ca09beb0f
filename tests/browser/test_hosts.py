"""The explorer in other hosts than JupyterLab: as an app with Voila, and in Notebook 7."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import TOKEN, Console, served
from tests.browser.steps import explorer, most_confused, see_maps


def notebook(folder: Path, digits_run: Path, last: str) -> None:
    copy = shutil.copytree(digits_run, folder / "digits", ignore=shutil.ignore_patterns("explorer"))
    code = f"import workbench\ndigits = lambda: workbench.train_digits({json.dumps(str(copy))})\n{last}"
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), folder / "app.ipynb")


@pytest.fixture
def page(browser):
    one = browser.new_page(viewport={"width": 1400, "height": 1500})
    console = Console(one)
    one.set_default_timeout(120_000)
    yield one
    console.check()
    one.close()


def use(page: Page) -> None:
    """Cell, image, maps: what the widget needs its kernel for."""
    explorer(page)
    cell = most_confused(page)
    count = int(cell.text_content() or 0)
    cell.click()
    expect(page.locator(".wb-words")).to_contain_text("predicted as")
    expect(page.locator(".wb-tile")).to_have_count(count)
    see_maps(page)


def test_an_app_with_voila(page: Page, tmp_path: Path, digits_run: Path, shots: Path | None) -> None:
    notebook(tmp_path, digits_run, "workbench.Dashboard({'first': digits, 'again': digits})")
    command = ["voila", "app.ipynb", "--Voila.ip=127.0.0.1", f"--token={TOKEN}"]
    with served(command, tmp_path, {"JUPYTER_CONFIG_DIR": str(tmp_path / ".config")}) as address:
        page.goto(f"{address}/?token={TOKEN}")
        use(page)
        page.get_by_label("Compare with").select_option("again")
        expect(page.locator(".wb-tabs").get_by_role("tab", name="Compare", exact=True)).to_be_visible()
        if shots is not None:
            page.screenshot(path=shots / "explorer_voila.png")


def test_notebook_7(page: Page, tmp_path: Path, digits_run: Path, shots: Path | None) -> None:
    notebook(tmp_path, digits_run, "workbench.Explorer(digits())")
    options = ["--ServerApp.ip=127.0.0.1", "--allow-root", f"--IdentityProvider.token={TOKEN}"]
    command = [
        "notebook",
        *options,
        f"--ServerApp.root_dir={tmp_path}",
        "--JupyterNotebookApp.expose_app_in_browser=True",
    ]
    with served(command, tmp_path, {"JUPYTER_CONFIG_DIR": str(tmp_path / ".config")}) as address:
        page.goto(f"{address}/notebooks/app.ipynb?token={TOKEN}")
        page.wait_for_function("() => window.jupyterapp !== undefined")
        page.evaluate(
            """async () => {
                const app = window.jupyterapp;
                await app.restored;
                while (!app.shell.currentWidget?.context) await new Promise(requestAnimationFrame);
                await app.shell.currentWidget.context.ready;
                await app.shell.currentWidget.sessionContext.ready;
                await app.commands.execute("notebook:run-all-cells");
            }"""
        )
        use(page)
        if shots is not None:
            page.screenshot(path=shots / "explorer_notebook7.png")
