"""Journeys in a real JupyterLab and in the stand-alone page."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import TOKEN, Console, jupyter, open_and_run
from tests.browser.steps import READY, explorer, most_confused, notebook, see_maps, shoot, view


def test_cell_then_image_then_tag_and_the_tag_is_there_tomorrow(page: Page, lab, digits: str, request, shots) -> None:
    name = notebook(lab, request, digits, "explorer = workbench.Explorer(run)\nexplorer")
    open_and_run(page, lab[1], name)
    explorer(page)
    words = page.locator(".wb-words")
    expect(words).to_contain_text("All ")
    cell = most_confused(page)
    count = int(cell.text_content() or 0)
    cell.click()
    expect(words).to_contain_text("predicted as")
    expect(cell).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".wb-tile")).to_have_count(count)
    row = see_maps(page)
    page.locator(f".wb-tile[data-row='{row}']").focus()
    page.keyboard.press("1")
    expect(page.locator(".wb-decisions [role=status]")).to_have_text("saved")
    expect(page.locator(f".wb-tile[data-row='{row}'] .wb-mark")).to_be_visible()
    expect(page.locator(".wb-verdict summary").first).to_be_visible()
    shoot(page, shots, "explorer_digits")
    page.get_by_role("button", name="Training history").click()
    expect(page.locator(".wb-history svg")).to_be_visible()
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    open_and_run(page, lab[1], name)  # a new page, a new kernel
    explorer(page)
    most_confused(page).click()
    expect(page.locator(f".wb-tile[data-row='{row}'] .wb-mark")).to_be_visible()


def test_it_opens_with_findings_whose_rows_are_a_click_away(page: Page, lab, digits: str, request, shots) -> None:
    open_and_run(page, lab[1], notebook(lab, request, digits, "explorer = workbench.Explorer(run)\nexplorer"))
    explorer(page, "")
    expect(page.locator(".wb-tabs [role=tab]").first).to_have_attribute("aria-selected", "true")
    card = page.locator(".wb-card[data-kind=remainder]")
    expect(card).to_contain_text("lie outside every finding")
    expect(page.locator(".wb-missing-rules")).to_contain_text("votes")
    card.locator(".wb-choose").click()
    expect(page.locator(".wb-words")).to_contain_text("explained by no finding")
    found = int(re.sub(r"\D", "", card.locator(".wb-choose").text_content() or ""))
    expect(page.locator(".wb-tile").first).to_be_visible()
    assert page.locator(".wb-tile").count() == found
    card.locator(".wb-choose").click()
    expect(page.locator(".wb-words")).to_contain_text("All ")
    row = card.locator(".wb-thumb").first
    row.click()
    expect(page.locator(".wb-detail")).to_have_attribute("data-row", str(row.get_attribute("data-row")))
    shoot(page, shots, "explorer_findings")


def test_image_map_and_tags_fit_one_screen_and_arrows_walk(page: Page, lab, digits: str, request, shots) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    open_and_run(page, lab[1], notebook(lab, request, digits, "workbench.Explorer(run)"))
    explorer(page).scroll_into_view_if_needed()
    page.locator(".wb-tile").first.click()
    expect(page.locator(".wb-stage canvas")).to_be_visible()
    expect(page.locator(".wb-decisions button").first).to_be_in_viewport()
    for part in (".wb-picture canvas", ".wb-stage canvas", ".wb-bars", ".wb-tile.wb-shown"):
        expect(page.locator(part).first).to_be_in_viewport(ratio=1)
    rows = page.locator(".wb-tile").evaluate_all("tiles => tiles.slice(0, 6).map((tile) => tile.dataset.row)")
    for row in rows[1:]:
        page.keyboard.press("ArrowRight")
        expect(page.locator(".wb-detail")).to_have_attribute("data-row", row)
        expect(page.locator(".wb-tile.wb-shown")).to_have_attribute("data-row", row)
    page.locator(".wb-title").click()
    page.locator(".wb-detail .wb-walker button").first.click()
    expect(page.locator(".wb-detail")).to_have_attribute("data-row", rows[4])
    expect(page.locator(".wb-walker .wb-note")).to_contain_text("5 / ")
    page.set_viewport_size({"width": 1024, "height": 768})
    expect(page.locator(".wb-shut")).to_be_visible()
    shoot(page, shots, "explorer_narrow_inspector")
    page.locator(".wb-shut").click()
    expect(page.locator(".wb-detail")).not_to_be_in_viewport()


def test_circled_images_are_selected_here_and_in_the_kernel(page: Page, lab, digits: str, request, shots) -> None:
    code = "explorer = workbench.Explorer(run)\nexplorer"
    open_and_run(page, lab[1], notebook(lab, request, digits, code))
    explorer(page)
    page.get_by_role("button", name="Errors only").click()
    view(page, "Map")
    expect(page.locator(".wb-scatter")).to_have_attribute("data-painted", "principal 899")
    box = page.locator(".wb-sketch").bounding_box()
    assert box is not None
    angles = np.linspace(0, 6, 24)
    points = [
        (box["x"] + box["width"] * (0.5 + 0.3 * np.cos(a)), box["y"] + box["height"] * (0.5 + 0.35 * np.sin(a)))
        for a in angles
    ]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point)
    page.mouse.up()
    expect(page.locator(".wb-words")).to_contain_text("circled on the map")
    count = int((page.locator(".wb-words").text_content() or "").split(" of ")[0].replace(",", ""))
    assert 10 < count < 890
    shoot(page, shots, "explorer_lasso")
    page.wait_for_timeout(500)  # the kernel hears of it a moment later
    heard = page.evaluate(
        """async () => {
            const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            let found = "";
            const code = "print(len(explorer.state.rows), len(set(explorer.state.rows)))";
            const future = kernel.requestExecute({code});
            future.onIOPub = (message) => { if (message.header.msg_type === "stream") found += message.content.text; };
            await future.done;
            return found;
        }"""
    )
    assert heard.split() == [str(count)] * 2
    page.get_by_title("Back to the selection before").click()
    expect(page.locator(".wb-words")).to_have_text("All 899 images")


def test_figures_rows_and_code_are_exported(page: Page, lab, digits: str, request, tmp_path: Path) -> None:
    open_and_run(page, lab[1], notebook(lab, request, digits, "workbench.Explorer(run)"))
    explorer(page)
    row = see_maps(page)
    menu = page.locator(".wb-export .wb-opener")
    starts = {"PNG": b"\x89PNG", "SVG": b"<?xml", "PDF": b"%PDF"}
    for place in range(3):
        for kind, start in starts.items():
            menu.click()
            with page.expect_download() as got:
                page.locator(".wb-export").get_by_role("button", name=kind).nth(place).click()
            got.value.save_as(tmp_path / "figure")
            assert (tmp_path / "figure").read_bytes().startswith(start)
    menu.click()
    with page.expect_download() as got:
        page.get_by_role("button", name="Selected rows (CSV)").click()
    got.value.save_as(tmp_path / "rows.csv")
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[0].startswith("index,label,predicted,correct")
    assert row in {line.split(",")[0] for line in lines[1:]}
    most_confused(page).click()
    menu.click()
    page.get_by_role("button", name="Code for this view").click()  # the kernel hears of the cell before
    expect(page.locator(".wb-code")).to_have_value(re.compile(r"workbench.Explorer\(.*'cells'", re.DOTALL))
    menu.click()
    expect(page.get_by_role("button", name="Tags and notes")).to_be_visible()
    expect(page.get_by_role("button", name="Fixes for training")).to_have_count(0)  # these are rows of the test split


def test_no_menu_is_cut_off(page: Page, lab, digits: str, request, shots) -> None:
    page.set_viewport_size({"width": 1200, "height": 620})
    open_and_run(page, lab[1], notebook(lab, request, digits, "workbench.Explorer(run)"))
    explorer(page)
    see_maps(page)
    # every corner of an open list comes to rest in the window, and no box cuts it off
    whole = """() => {
        const list = document.querySelector(".wb-list:popover-open");
        const {left, top, right, bottom} = list.getBoundingClientRect();
        const inside = left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
        const points = [[left + 4, top + 4], [right - 4, top + 4], [left + 4, bottom - 4], [right - 4, bottom - 4]];
        return inside && points.every(([x, y]) => list.contains(document.elementFromPoint(x, y)));
    }"""
    for place, opener in enumerate((".wb-export .wb-opener", ".wb-mapbar .wb-opener", ".wb-chips .wb-opener")):
        page.locator(opener).scroll_into_view_if_needed()
        page.locator(opener).click()
        shown = page.locator(".wb-list:popover-open")
        expect(shown).to_be_visible()
        page.wait_for_function(whole, timeout=5_000)
        if shots is not None:
            page.screenshot(path=shots / f"menu_{place}.png")
        page.keyboard.press("Escape")
        expect(shown).to_have_count(0)
    page.locator(".wb-mapbar .wb-opener").click()
    page.get_by_label("LayerCAM").check()
    expect(page.locator(".wb-family h5", has_text="LayerCAM").first).to_be_visible()
    expect(page.locator(".wb-list:popover-open")).to_be_visible()  # it stays open for the next one
    page.locator(".wb-heading, .wb h2, .wb-words").first.click()
    expect(page.locator(".wb-list:popover-open")).to_have_count(0)


def test_by_keyboard_alone(page: Page, lab, digits: str, request) -> None:
    open_and_run(page, lab[1], notebook(lab, request, digits, "workbench.Explorer(run)"))
    explorer(page)

    def tab_to(selector: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    page.locator(".wb-export .wb-opener").focus()
    tab_to(".wb-matrix td button")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    cell = page.evaluate("() => [document.activeElement.dataset.true, document.activeElement.dataset.predicted]")
    assert cell == ["2", "1"]
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "all predicted as 1"
    page.keyboard.press("Enter")
    expect(page.locator(".wb-words")).to_contain_text("predicted as 1")
    page.keyboard.press("ArrowDown")
    page.locator("td button.wb-right").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".wb-words")).to_contain_text("correct")
    tab_to(".wb-tile")
    first = page.evaluate("() => document.activeElement.dataset.row")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    second = page.evaluate("() => document.activeElement.dataset.row")
    assert first != second
    page.keyboard.press("Enter")
    expect(page.locator(".wb-detail")).to_have_attribute("data-row", second)
    page.keyboard.press("4")
    expect(page.locator(".wb-decisions [role=status]")).to_have_text("saved")
    page.keyboard.press("Control+z")
    expect(page.locator(f".wb-tile[data-row='{second}'] .wb-mark")).to_have_count(0)
    page.keyboard.press("Backspace")
    expect(page.locator(".wb-words")).to_contain_text("predicted as 1")
    page.keyboard.press("Backspace")
    expect(page.locator(".wb-words")).to_contain_text("All ")


LATE_FINDINGS = """
import pathlib, time
import workbench.explorer.state as state
find_at_once = state.find
def find_late(*what, **how):
    while not pathlib.Path("{gate}").exists():
        time.sleep(0.05)
    return find_at_once(*what, **how)
state.find = find_late
"""


def test_what_if_follows_the_sliders_and_findings_that_come_late_leave_it_alone(
    page: Page, lab, digits: str, request, tmp_path: Path, shots
) -> None:
    gate = tmp_path / "findings"
    code = digits + LATE_FINDINGS.format(gate=gate.as_posix())
    open_and_run(page, lab[1], notebook(lab, request, code, "workbench.Explorer(run)"))
    explorer(page)
    see_maps(page)
    page.get_by_role("button", name="What if").click()
    result = page.locator(".wb-result")
    expect(result).to_have_attribute("data-code", "Change()")
    page.get_by_label("rotate (degrees)").fill("90")
    expect(result).to_have_attribute("data-code", "Change(rotate=90)")
    gate.touch()
    view(page, "Findings")
    expect(page.locator(".wb-card[data-kind]").first).to_be_visible()
    expect(result).to_have_attribute("data-code", "Change(rotate=90)")
    box = page.locator(".wb-cutout").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 80, box["y"] + 100)
    page.mouse.up()
    expect(result).to_have_attribute("data-code", re.compile("cutout="))
    page.get_by_role("button", name="Smallest changes").click()
    chip = page.locator(".wb-flips .wb-chip").first
    expect(chip).to_be_visible(timeout=60_000)
    said = chip.inner_text()
    chip.click()
    expect(result).not_to_have_attribute("data-code", re.compile("cutout="))
    expect(result).to_contain_text(f"to {said.rpartition(': ')[2]}")
    shoot(page, shots, "explorer_what_if")


def test_a_notebook_reopened_without_its_kernel_shows_what_it_kept(
    browser, lab, digits: str, request, shots: Path | None
) -> None:
    page = browser.new_page(viewport={"width": 1500, "height": 1700})
    open_and_run(page, lab[1], notebook(lab, request, digits, "workbench.Explorer(run)"))
    explorer(page)
    expect(page.locator(".wb-fallback")).to_be_hidden()
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.reload()
    kept = page.locator(".wb-fallback")
    expect(kept).to_have_attribute("open", "", timeout=60_000)
    inside = page.frame_locator(".wb-fallback iframe")
    expect(inside.locator(READY)).to_be_visible()
    expect(inside.get_by_role("button", name="Review", exact=True)).to_have_count(0)  # what is decided there is lost
    inside.locator(".wb-tile").first.click()
    expect(inside.locator(".wb-detail")).to_have_attribute("data-row", re.compile(r"\d+"))
    if shots is not None:
        page.screenshot(path=shots / "explorer_reopened.png")
    page.close()


HOSTILE = """
import numpy as np, workbench
from workbench.core.predictions import Predictions
from workbench.core.records import ImageSet
from workbench.errors import DataError
names = ("<script>alert(1)</script>", "x" * 200, "\\u05d0\\u05d1\\u05d2 \\u0645\\u0631\\u062d\\u0628\\u0627", "a'b\\"c")
rng = np.random.default_rng(0)
label = rng.integers(0, 4, 200)
p = Predictions.from_arrays(label, rng.dirichlet(np.ones(4), 200).astype("float32"), names)
class Broken(ImageSet):
    def image(self, row):
        if row % 2:
            raise DataError(f"image {row}: no such file")
        return super().image(row)
images = Broken(rng.integers(0, 255, (200, 32, 32, 3)).astype("uint8"), label, names, "test", "f")
run = workbench.Run("<b>run</b>", p, images)
"""


def test_hostile_names_are_text_and_missing_files_are_told(page: Page, lab, request, shots) -> None:
    page.on("dialog", lambda _: pytest.fail("a class name ran as code"))
    open_and_run(page, lab[1], notebook(lab, request, HOSTILE, "workbench.Explorer(run)"))
    shown = explorer(page)
    expect(shown.locator(".wb-title")).to_contain_text("<b>run</b>")
    expect(shown.locator(".wb-tile span", has_text="<script>").first).to_be_visible()
    expect(shown.locator(".wb-missing").first).to_be_visible()
    for name in ("Classes", "Table", "Findings", "Calibration", "Matrix"):
        view(page, name)
    wide = page.evaluate(
        "() => document.querySelector('.wb').scrollWidth <= document.querySelector('.wb').clientWidth + 1"
    )
    assert wide, "a long name stretches the explorer"
    odd = shown.locator(".wb-tile.wb-missing, .wb-tile:has(.wb-missing)").first
    odd.click()
    expect(page.locator(".wb-detail .wb-problem")).to_contain_text("no such file")
    shoot(page, shots, "explorer_hostile")


def test_a_full_disk_while_tagging_is_said_and_nothing_lost(page: Page, lab, digits: str, request) -> None:
    full = """
import errno
from pathlib import Path
from workbench.explorer.decisions import Decisions
explorer = workbench.Explorer(run)
write = Path.write_text
def refuse(self, *args, **kwargs):
    if "decisions" in self.name:
        raise OSError(errno.ENOSPC, "No space left on device")
    return write(self, *args, **kwargs)
Path.write_text = refuse
explorer
"""
    open_and_run(page, lab[1], notebook(lab, request, digits, full))
    explorer(page)
    see_maps(page)
    page.get_by_role("button", name="ambiguous (2)").click()
    status = page.locator(".wb-decisions [role=status]")
    expect(status).to_contain_text("Not saved")
    expect(status).to_contain_text("disk full")
    expect(page.locator(".wb-tile .wb-mark").first).to_be_visible()


def test_a_run_rewritten_underneath_is_said(page: Page, lab, digits: str, request, tmp_path: Path) -> None:
    code = "explorer = workbench.Explorer(run)\nexplorer"
    folder = tmp_path / "kept"
    place = f"Path({json.dumps(str(folder))})"
    kept = "\n".join(
        [
            "import dataclasses",
            "from pathlib import Path",
            "from workbench import store",
            f"store.write(run.predictions, {place})",
            f"run = dataclasses.replace(run, predictions=store.read({place}))",
        ]
    )
    open_and_run(page, lab[1], notebook(lab, request, digits, kept, code))
    explorer(page)
    (folder / "predictions.parquet").write_bytes(b"being rewritten")
    page.locator(".wb-tile").nth(2).click()
    expect(page.locator(".wb-detail .wb-problem")).to_be_visible()
    expect(page.locator(".wb-tile").first).to_be_visible()


def test_a_restarted_kernel_is_told_in_the_view_that_was_open(page: Page, lab, digits: str, request) -> None:
    open_and_run(page, lab[1], notebook(lab, request, digits, "workbench.Explorer(run)"))
    explorer(page)
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    expect(page.locator(".wb-gone")).to_contain_text("Run this cell again")
    expect(page.locator(".wb-gone")).to_be_visible()


def test_a_busy_kernel_is_not_gone(page: Page, lab, digits: str, request) -> None:
    go = lab[0] / f"{request.node.originalname}.go"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.1)"
    name = notebook(lab, request, digits, "workbench.Explorer(run)", wait)
    page.goto(f"{lab[1]}/lab/tree/{name}?token={TOKEN}")
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.context?.isReady")
    page.evaluate(
        """async () => {
            const app = window.jupyterapp;
            await app.shell.currentWidget.sessionContext.ready;
            app.commands.execute("notebook:run-all-cells");
        }"""
    )
    expect(page.locator(".wb-kernel")).to_contain_text("busy with another cell")
    assert page.locator(".wb-fallback[open]").count() == 0
    assert page.locator(".wb-gone").count() == 0
    expect(page.locator(".wb-dot")).to_have_attribute("data-state", "busy")
    go.touch()
    explorer(page)
    expect(page.locator(".wb-dot")).to_have_attribute("data-state", "live")
    expect(page.locator(".wb-kernel")).to_have_count(0)


def test_two_views_of_one_explorer_hear_their_own_answers(page: Page, lab, digits: str, request) -> None:
    code = "explorer = workbench.Explorer(run)\nexplorer"
    open_and_run(page, lab[1], notebook(lab, request, digits, code, "explorer"))
    expect(page.locator(READY)).to_have_count(2)
    first, second = page.locator(READY).first, page.locator(READY).nth(1)
    first.locator(".wb-tabs").get_by_role("tab", name="Map", exact=True).click()
    second.locator(".wb-tile").first.click()
    row = str(second.locator(".wb-tile").first.get_attribute("data-row"))
    for shown in (first, second):  # one selection, here and there
        expect(shown.locator(".wb-detail")).to_have_attribute("data-row", row)
        expect(shown.locator(".wb-families canvas").first).to_be_visible()
        expect(shown.locator(".wb-verdict summary").first).to_be_visible()
    expect(first.locator(".wb-scatter")).to_have_attribute("data-painted", re.compile("principal"))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_opens_from_disk_with_the_network_cut(
    browser, digits_run: Path, tmp_path: Path, shots: Path | None, theme: str
) -> None:
    from workbench.explorer import page as pages
    from workbench.explorer.state import ExplorerState
    from workbench.runs.examples import train_digits

    text, left_out = pages.page(ExplorerState(train_digits(digits_run)))
    assert left_out == []
    (tmp_path / "explorer.html").write_text(text, encoding="utf-8")
    context = browser.new_context(offline=True, color_scheme=theme, viewport={"width": 1300, "height": 1200})
    page = context.new_page()
    console = Console(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{tmp_path}/explorer.html")
    explorer(page)
    cell = most_confused(page)
    cell.click()
    expect(page.locator(".wb-words")).to_contain_text("predicted as")
    expect(page.locator(".wb-tile")).to_have_count(int(cell.text_content() or 0))
    see_maps(page)
    page.get_by_role("button", name="why not the true one").click()
    expect(page.locator(".wb-families canvas")).to_have_count(3)
    for name in ("Map", "Findings", "Table", "Classes"):
        view(page, name)
    if shots is not None:
        page.screenshot(path=shots / f"page_{theme}.png", full_page=True)
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    console.check()
    context.close()


def test_cat_taken_for_dog_in_the_notebook(browser, notebooks: Path, shots: Path | None) -> None:
    """The newcomer's way: the committed notebook, all cells, on CIFAR-10 with the shipped checkpoint."""
    from workbench import store
    from workbench.runs.opening import SHIPPED

    if not SHIPPED.is_dir():
        pytest.skip("no CIFAR-10 checkpoint is shipped")
    if not Path(os.environ.get("CIFAR10_ROOT", "data")).is_dir():
        pytest.skip("CIFAR-10 is not on this machine")
    page = browser.new_page(viewport={"width": 1500, "height": 1700})
    console = Console(page)
    with jupyter(notebooks, {}) as address:
        open_and_run(page, address, "explore_errors.ipynb", limit_s=420)
        shown = page.locator(READY).first
        shown.locator("[data-view=matrix]").first.click()
        shown.locator("td button[data-true='3'][data-predicted='5']").click()
        shipped = store.read(SHIPPED / "predictions")
        count = int(((shipped.label == 3) & (shipped.predicted == 5)).sum())
        expect(shown.locator(".wb-words")).to_have_text(
            f"{count:,} of {shipped.error_count:,} errors: cat predicted as dog"
        )
        shown.locator(".wb-tile").first.click()
        expect(shown.locator(".wb-families canvas")).to_have_count(2)
        expect(shown.locator(".wb-verdict summary")).to_have_count(2)
        if shots is not None:
            shown.screenshot(path=shots / "explorer_cifar10.png")
    console.check()
    page.close()
