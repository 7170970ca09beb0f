"""Clicks in the explorer, timed in a real browser from the event to the repaint; run it by itself.

JupyterLab and Chromium run on this machine, on the shipped run with the images of ``CIFAR10_ROOT``, else ``./data``.
Times are taken inside the page: from the event to the end of the frame in which the view says that it is drawn.
With ``shipped``, ``million`` or ``page`` only that part runs. The last line is one JSON object: medians over 20 clicks
in milliseconds, the 95th percentile of each as ``..._p95_ms``, and the messages and bytes that a click brought from the
kernel. ``..._1m_...`` are of 1,000,000 made-up rows.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from playwright.sync_api import Page, sync_playwright

from tests.benchmarks.timing import report
from tests.browser.conftest import jupyter, open_and_run
from tests.browser.install import chromium
from workbench.explorer import page as pages
from workbench.explorer.state import ExplorerState
from workbench.runs.opening import SHIPPED, open_run

CLICKS, FRESH, STARTS = 20, 9, 5
PARTS = ("usedSize", "embedderHeapUsedSize", "backingStorageSize")  # of a page's memory
SHIPPED_RUN = "import workbench\nrun = workbench.open_run({folder!r})"
MADE_UP = """
import numpy as np
import workbench
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet

rows, classes = 1_000_000, 10
rng = np.random.default_rng(0)
label = rng.integers(0, classes, rows)
weights = rng.random((rows, classes), np.float32) ** 4 + 0.8 * np.eye(classes, dtype=np.float32)[label]
points = rng.normal(size=(rows, 8)).astype(np.float32) + 3 * np.eye(classes, 8, dtype=np.float32)[label]
predictions = Predictions.from_arrays(
    label, weights / weights.sum(1, keepdims=True), [f"class {k}" for k in range(classes)], embedding=points
)
few = rng.integers(0, 256, (1000, 32, 32, 3), np.uint8)


class Tiled:
    def __len__(self):
        return rows

    def __getitem__(self, row):
        return few[row % len(few)]


run = workbench.Run("a million rows", predictions, ImageSet(Tiled(), label, predictions.classes, "test", "made up"))
"""
MEASURE = """
window.after = () => new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = resolve;  // sent from a frame's callback it comes when that frame has been painted
    port2.postMessage(0);
});
window.timed = async (act, done) => {
    const log = { ...document.querySelector(".wb").log };
    const begun = performance.now();
    act();
    do {
        if (performance.now() - begun > 60000) throw new Error(`not drawn within a minute: ${done}`);
        await new Promise(requestAnimationFrame);
    } while (!done());
    await window.after();
    const now = document.querySelector(".wb").log;
    return [performance.now() - begun, now.messages - log.messages, now.bytes - log.bytes];
};
window.one = (selector) => document.querySelector(selector);
window.idle = async () => {  // until no evidence is under way
    while ([...document.querySelectorAll(".wb-verdict")].some((chip) => /waiting|testing/.test(chip.textContent)))
        await new Promise((resolve) => setTimeout(resolve, 50));
};
window.gallery = () => one(".wb-gallery").dataset.painted === one(".wb-words").textContent;
window.explained = (row) => (one(".wb-detail").dataset.explained ?? "").startsWith(`${row} `);
window.tile = (row) => one(`.wb-tile[data-row='${row}']`);
window.chip = (text) => [...document.querySelectorAll(".wb-chips button")].find((b) => b.textContent.includes(text));
window.words = () => one(".wb-words").textContent;
"""


def summary(name: str, found: list[list[float]]) -> dict[str, float]:
    """Median and 95th percentile of the times of some clicks, and what the median click brought."""
    ms, messages, size = np.array(found, float).T
    return {
        f"{name}_ms": round(float(np.median(ms)), 1),
        f"{name}_p95_ms": round(float(np.percentile(ms, 95)), 1),
        f"{name}_messages": float(np.median(messages)),
        f"{name}_bytes": float(np.median(size)),
    }


def cells(page: Page) -> list[list[float]]:
    """Clicks on the matrix, each on another cell whose images were not shown before."""
    return page.evaluate(  # type: ignore[no-any-return]
        """async (count) => {
            const cells = [...document.querySelectorAll(".wb-matrix td button:not(.wb-right):not(.wb-zero)")];
            cells.sort((a, b) => Number(b.textContent) - Number(a.textContent));
            const found = [];
            for (const cell of cells.slice(0, count)) {
                const before = words();
                found.push(await timed(() => cell.click(), () => words() !== before && gallery()));
            }
            return found;
        }""",
        CLICKS,
    )


def images(page: Page, rows: list[str], *, rest: bool) -> list[list[float]]:
    """Clicks on images until their maps are drawn; with ``rest`` the evidence on the last one is waited for."""
    return page.evaluate(  # type: ignore[no-any-return]
        """async ([rows, rest]) => {
            const found = [];
            for (const row of rows) {
                if (rest) await idle();
                found.push(await timed(() => tile(row).click(), () => explained(row)));
            }
            return found;
        }""",
        [rows, rest],
    )


def walked(page: Page) -> list[list[float]]:
    """The right arrow, to an image whose map was fetched ahead, until picture and map are drawn."""
    return page.evaluate(  # type: ignore[no-any-return]
        """async (count) => {
            const found = [];
            const press = () =>
                one(".wb-detail").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
            for (let k = 0; k < count; k++) {
                await idle();
                await new Promise((resolve) => setTimeout(resolve, 700));  // as an eye rests
                const before = one(".wb-detail").dataset.staged;
                const drawn = ({ row, staged }) => staged !== before && staged === row;
                found.push(await timed(press, () => drawn(one(".wb-detail").dataset)));
            }
            return found;
        }""",
        CLICKS,
    )


def remembered(page: Page) -> dict[str, float]:
    """The page's memory after 50 and after 500 images walked by keyboard with their maps, garbage collected, in MB."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.enable")

    def megabytes() -> float:
        session.send("HeapProfiler.collectGarbage")
        used = session.send("Runtime.getHeapUsage")  # of objects, nodes and array buffers
        return round(sum(used.get(part, 0) for part in PARTS) / 1e6, 1)

    walk = """async (count) => {
        for (let k = 0; k < count; k++) {
            const before = one(".wb-detail").dataset.staged;
            const what = { key: "ArrowRight", bubbles: true };
            one(".wb-detail").dispatchEvent(new KeyboardEvent("keydown", what));
            while (one(".wb-detail").dataset.staged === before) await new Promise(requestAnimationFrame);
        }
    }"""
    page.evaluate(walk, 50)
    first = megabytes()
    page.evaluate(walk, 450)
    after = megabytes()
    return {"memory_50_mb": first, "memory_500_mb": after, "memory_ratio": round(after / first, 3)}


def sorts(page: Page) -> list[list[float]]:
    """All rows in another order, and the errors among them, in turn."""
    return page.evaluate(  # type: ignore[no-any-return]
        """async (count) => {
            const found = [];
            chip("Errors only").click();
            for (let k = 0; k < count; k++) {
                const stale = [...document.querySelectorAll(".wb-tile")];
                const renewed = () => !stale.some((tile) => tile.isConnected) && gallery();
                found.push(await timed(() => {
                    const now = [...document.querySelectorAll(".wb-gallery select")][0];
                    now.value = ["confidence down", "margin", "entropy down", "loss down"][k % 4];
                    now.dispatchEvent(new Event("change"));
                }, renewed));
            }
            return found;
        }""",
        CLICKS,
    )


def filters(page: Page) -> list[list[float]]:
    """The errors alone, and all rows again."""
    return page.evaluate(  # type: ignore[no-any-return]
        """async (count) => {
            const found = [];
            for (let k = 0; k < count; k++) {
                const before = words();
                found.push(await timed(() => chip("Errors only").click(), () => words() !== before && gallery()));
            }
            return found;
        }""",
        CLICKS,
    )


def starts(page: Page) -> tuple[list[list[float]], list[list[float]]]:
    """The explorer's cell run again, until its first images are drawn: from the keystroke, and from the widget's start.

    Each time the explorer before has come to rest, with its findings there.
    """
    found = page.evaluate(
        """async (count) => {
            const found = [];
            const { commands, shell } = window.jupyterapp;
            for (let k = 0; k < count; k++) {
                const old = one(".wb");
                one(".wb-tabs [data-view=findings]").click();
                while (!one(".wb-card[data-kind=remainder]")) await new Promise((wait) => setTimeout(wait, 50));
                await new Promise((wait) => setTimeout(wait, 1000));
                shell.currentWidget.content.activeCellIndex = 1;
                const begun = performance.now();
                commands.execute("notebook:run-cell");
                const drawn = () => one(".wb[data-ready=yes]") && one(".wb") !== old && gallery();
                let made = 0;  // when the widget is told to draw itself: its node appears
                const watch = new MutationObserver(() => {
                    const now = one(".wb");
                    if (now && now !== old) made ||= performance.now();
                });
                watch.observe(document.body, { childList: true, subtree: true });
                while (!drawn()) await new Promise(requestAnimationFrame);
                await after();
                watch.disconnect();
                const { messages, bytes } = one(".wb").log;
                const end = performance.now();
                found.push([[end - begun, messages, bytes], [end - made, messages, bytes]]);
            }
            return found;
        }""",
        STARTS,
    )
    return [whole for whole, _ in found], [drawing for _, drawing in found]


def maps(page: Page) -> list[list[float]]:
    """The map of all rows drawn again, as a wheel's turn does."""
    return page.evaluate(  # type: ignore[no-any-return]
        """async (count) => {
            [...document.querySelectorAll(".wb-tabs [role=tab]")].find((tab) => tab.textContent === "Map").click();
            while (!one(".wb-scatter")?.dataset.painted) await new Promise(requestAnimationFrame);
            const found = [];
            const box = one(".wb-canvas").getBoundingClientRect();
            for (let k = 0; k < count; k++) {
                delete one(".wb-scatter").dataset.painted;
                const middle = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
                const what = { bubbles: true, cancelable: true, deltaY: k % 2 ? 40 : -40, ...middle };
                const turn = () => one(".wb-sketch").dispatchEvent(new WheelEvent("wheel", what));
                found.push(await timed(turn, () => one(".wb-scatter").dataset.painted));
            }
            return found;
        }""",
        CLICKS,
    )


def opened(browser: Any, address: str, folder: Path, code: str) -> Page:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    parts = [nbformat.v4.new_code_cell(text) for text in (code, "workbench.Explorer(run)")]
    name = f"benchmark_{abs(hash(code)) % 1000}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=parts, metadata={"kernelspec": kernel}), folder / name)
    page: Page = browser.new_page(viewport={"width": 1500, "height": 1700})
    open_and_run(page, address, name)
    page.wait_for_selector(".wb[data-ready=yes]")
    page.wait_for_selector(".wb-card[data-kind=remainder]")  # the findings, which are looked for first
    page.locator(".wb-tabs [data-view=matrix]").click()
    page.evaluate(MEASURE)
    return page


def shipped(browser: Any, address: str, folder: Path) -> dict[str, Any]:
    run = shutil.copytree(SHIPPED, folder / "run", ignore=shutil.ignore_patterns("explorer"))
    page = opened(browser, address, folder, SHIPPED_RUN.format(folder=str(run)))
    whole, drawing = starts(page)
    found = summary("cell_to_first_paint", whole) | summary("first_paint", drawing)
    page.wait_for_selector(".wb-card[data-kind=remainder]")
    page.locator(".wb-tabs [data-view=matrix]").click()
    found |= summary("cell_to_gallery", cells(page))
    page.evaluate("() => [...document.querySelectorAll('.wb-chips .wb-chip')][0].click()")
    page.wait_for_function("() => gallery()")
    page.get_by_label("Size").select_option("56")
    page.wait_for_function("() => gallery()")
    # every third, as the images beside one are fetched ahead
    rows = page.locator(".wb-tile").evaluate_all("tiles => tiles.map((tile) => tile.dataset.row)")[::3][: 2 * FRESH + 1]
    images(page, rows[:1], rest=False)  # the first map waits for imports
    found |= summary("fresh_gradcam", images(page, rows[1 : FRESH + 1], rest=True))
    found |= summary("fresh_gradcam_while_testing", images(page, rows[FRESH + 1 :], rest=False))
    page.evaluate("() => idle()")
    found |= summary("cached_map", images(page, rows[1 : FRESH + 1], rest=False))
    found |= summary("next_image", walked(page))
    found |= remembered(page)
    found |= summary("sort_10k", sorts(page))
    found |= summary("filter_10k", filters(page))
    found |= summary("map_10k", maps(page))
    page.close()
    return found


def stand_alone(browser: Any, folder: Path) -> dict[str, Any]:
    """The stand-alone page of the shipped run: its size, and the time from its address until its images are drawn."""
    text, left_out = pages.page(ExplorerState(open_run(SHIPPED)))
    (folder / "page.html").write_text(text, encoding="utf-8")
    drawn = """() => document.querySelector(".wb[data-ready=yes]")
        && document.querySelector(".wb-gallery").dataset.painted && performance.now()"""
    times = []
    for _ in range(STARTS):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto((folder / "page.html").as_uri(), wait_until="commit")
        times.append(page.wait_for_function(drawn).json_value())
        page.close()
    return {"page_ms": float(np.median(times)), "page_mb": len(text.encode()) / 1e6, "page_left_out": len(left_out)}


def million(browser: Any, address: str, folder: Path) -> dict[str, Any]:
    page = opened(browser, address, folder, MADE_UP)
    found = (
        summary("cell_to_gallery_1m", cells(page)) | summary("filter_1m", filters(page)) | summary("map_1m", maps(page))
    )
    page.close()
    return found


def main() -> None:
    path = chromium()
    if path is None:
        sys.exit("the benchmark needs Chromium")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        figures: dict[str, Any] = stand_alone(browser, folder) if sys.argv[1:] in ([], ["page"]) else {}
        with jupyter(folder, {}) as address:
            for name, part in (("shipped", shipped), ("million", million)):
                if sys.argv[1:] in ([], [name]):
                    figures |= part(browser, address, folder)
        browser.close()
    report("explorer", figures)


if __name__ == "__main__":
    main()
