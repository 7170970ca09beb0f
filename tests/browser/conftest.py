from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.install import chromium

REPOSITORY = Path(__file__).resolve().parents[2]
TOKEN = "browser-tests"
expect.set_options(timeout=60_000)
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def jupyter(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """A JupyterLab on ``folder``, gone afterwards with its kernels; yields its address."""
    config = folder / ".config"
    (config / "labconfig").mkdir(parents=True)
    (config / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    options = ["--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True"]
    command = ["jupyterlab", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={folder}", *options]
    with served(command, folder, {"JUPYTER_CONFIG_DIR": str(config), **environment}) as address:
        yield address


@contextmanager
def served(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """A Jupyter server of a module and its options on a free port; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", *command, "--no-browser", f"--port={port}"]
    with (folder / ".server.log").open("w") as log:
        environment = {**os.environ, **environment}
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(server, f"{address}/api/status?token={TOKEN}", folder / ".server.log")
            yield address
        finally:
            server.terminate()
            server.wait(30)


def wait_for(server: subprocess.Popen[bytes], address: str, log: Path, limit_s: float = 120) -> None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError:  # it answers: not every server has this page
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the server did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def browser():
    path = chromium()
    if path is None:
        pytest.skip("no Chromium on this machine")
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


class Console:
    """What the page complained of; JupyterLab's and Voila's own start-up noise is known by name."""

    KNOWN = (
        "favicon",
        "Error: Failed to fetch",
        "/lab/api/workspaces",
        "Failed to load resource",
        "shared module",
        "(reading 'schema')",
    )

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def check(self) -> None:
        surprising = [text for text in self.errors if not any(known in text for known in self.KNOWN)]
        assert not surprising, surprising


def open_and_run(page: Page, address: str, notebook: str, limit_s: float = 180) -> None:
    """Open the notebook, run all its cells, and fail with the traceback of a cell that failed."""
    page.set_default_timeout(limit_s * 1000)
    # a workspace of its own, so that no tab of another test is restored
    page.goto(f"{address}/lab/workspaces/{uuid.uuid4().hex}/tree/{notebook}?token={TOKEN}")
    page.wait_for_function("() => window.jupyterapp !== undefined")
    ran = page.evaluate(
        """async () => {
            const app = window.jupyterapp;
            await app.restored;
            let widget = null;
            while (!widget || !widget.context) {
                widget = app.shell.currentWidget;
                await new Promise(requestAnimationFrame);
            }
            await widget.context.ready;
            await widget.revealed;
            await widget.sessionContext.ready;
            return await app.commands.execute("notebook:run-all-cells");
        }"""
    )
    failures = page.evaluate(
        """() => window.jupyterapp.shell.currentWidget.context.model.toJSON().cells
            .flatMap((cell) => cell.outputs ?? []).filter((o) => o.output_type === "error")
            .map((o) => o.traceback.join("\\n"))"""
    )
    assert not failures, failures[0]
    cells = page.evaluate("() => JSON.stringify(window.jupyterapp.shell.currentWidget.context.model.toJSON().cells)")
    assert ran, f"the cells did not run: {cells}"


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A JupyterLab for all journeys; each has a notebook, and so a kernel, of its own."""
    folder = tmp_path_factory.mktemp("lab")
    with jupyter(folder, {}) as address:
        yield folder, address


@pytest.fixture
def digits(digits_run: Path, tmp_path: Path) -> str:
    """Code that opens a copy of the digits' run, so that its tags lie nowhere else."""
    copy = shutil.copytree(digits_run, tmp_path / "digits", ignore=shutil.ignore_patterns("explorer"))
    return f"import workbench\nrun = workbench.train_digits({json.dumps(str(copy))})"


@pytest.fixture
def page(browser) -> Iterator[Page]:
    one = browser.new_page(viewport={"width": 1500, "height": 1700})
    one.add_init_script("try { localStorage.setItem('workbench.tour', 'seen') } catch {}")
    console = Console(one)
    yield one
    console.check()
    one.close()


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    """A copy of the notebooks, so that running them leaves the checkout as it is."""
    folder = tmp_path / "notebooks"
    shutil.copytree(REPOSITORY / "notebooks", folder)
    return folder
