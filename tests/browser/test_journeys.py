"""A day's work in JupyterLab and in the stand-alone page: review, cohorts, filters, keys; and accessibility."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import open_and_run
from tests.browser.steps import explorer, notebook, shoot, view

WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


def gallery_rows(page: Page) -> list[str]:
    return page.locator(".wb-tile").evaluate_all(
        """tiles => tiles.map((tile) => [parseFloat(tile.style.top), parseFloat(tile.style.left), tile.dataset.row])
            .sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , row]) => row)"""
    )


def histogram(page: Page, column: str) -> Locator:
    return page.locator(f".wb-facet[data-column={column}] .wb-histogram")


def brush(page: Page, plot: Locator, first: float, last: float) -> None:
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + first * box["width"], box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + last * box["width"], box["y"] + 12)
    page.mouse.up()


def test_a_review_and_a_cohort_are_there_tomorrow(page: Page, lab, digits: str, request, shots, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    name = notebook(lab, request, digits, "explorer = workbench.Explorer(run)\nexplorer")
    open_and_run(page, lab[1], name)
    explorer(page, "Filter")
    expect(page.locator(".wb-dot")).to_have_attribute("data-state", "live")
    words = page.locator(".wb-words")
    expect(words).to_contain_text("All ")
    errors = int(re.sub(r"\D", "", words.text_content() or ""))
    brush(page, histogram(page, "confidence"), 0.0, 0.5)
    expect(words).to_contain_text("confidence below")
    chosen = int((words.text_content() or "").split(" of ")[0])
    assert 4 <= chosen < errors
    shoot(page, shots, "journey_filter")

    view(page, "Cohorts")
    page.get_by_label("Name of the cohort").fill("unsure")
    page.get_by_role("button", name=f"Save {chosen} image").click()
    saved = page.locator(".wb-cohort[data-cohort=unsure]")
    expect(saved).to_contain_text("confidence below")

    rows = gallery_rows(page)
    page.keyboard.press("Tab")
    page.locator(".wb-tile").first.focus()
    page.keyboard.press("r")
    deck = page.locator("dialog.wb-deck")
    for place, key in enumerate("ynd"):
        expect(deck).to_have_attribute("data-row", rows[place])
        expect(deck.locator("h3").first).to_have_text(f"{place + 1} of {chosen}")
        if place == 0:
            shoot(page, shots, "journey_review")
        page.keyboard.press(key)
    title = deck.locator("h3").first
    expect(title).to_have_text(f"4 of {chosen}")
    page.keyboard.press("u")
    expect(title).to_have_text(f"3 of {chosen}")
    page.keyboard.press("d")
    for place in range(4, chosen + 1):
        expect(title).to_have_text(f"{place} of {chosen}")
        page.keyboard.press("ArrowRight")
    expect(deck).to_contain_text("Wrong: 1. Correct: 1. Don't know: 1.")
    expect(deck).to_contain_text("1 label of this run is corrected: accuracy on corrected labels")
    page.keyboard.press("Escape")
    expect(deck).to_be_hidden()
    page.locator(".wb-tile").first.focus()
    page.keyboard.press("?")
    expect(page.locator("dialog.wb-help")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("dialog.wb-help")).to_be_hidden()

    folder = next(tmp_path.glob("digits/**/decisions.json"))
    decided = json.loads(folder.read_text())["rows"]
    assert decided[rows[0]]["tags"] == ["wrong label"]
    assert isinstance(decided[rows[0]]["label"], int)
    assert [decided[row]["tags"] for row in rows[1:3]] == [["label confirmed"], ["ambiguous"]]
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    expect(page.locator(".wb-dot")).not_to_have_attribute("data-state", "live")
    open_and_run(page, lab[1], name)  # a new page, a new kernel
    explorer(page, "Cohorts")
    saved.locator(".wb-line").click()
    expect(words).to_contain_text("cohort: unsure")
    assert sorted(gallery_rows(page)) == sorted(rows)
    expect(page.locator(f".wb-tile[data-row='{rows[0]}'] .wb-mark")).to_have_text("≠")
    saved.get_by_role("button", name="Remove the cohort unsure").click()
    expect(saved).to_be_hidden()
    expect(words).to_contain_text("All ")


def dressed(page: Page, theme: str) -> None:
    """JupyterLab in a theme."""
    page.evaluate("(name) => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", theme)
    light = str("Light" in theme).lower()
    page.wait_for_function("(light) => document.body.dataset.jpThemeLight === light", arg=light)


@pytest.fixture
def light_afterwards(page: Page) -> Iterator[None]:
    """The theme is kept by the server, for all tests."""
    yield
    dressed(page, "JupyterLab Light")


def test_axe_finds_no_violation_in_any_view(page: Page, lab, digits: str, request, shots, light_afterwards) -> None:
    open_and_run(page, lab[1], notebook(lab, request, digits, "workbench.Explorer(run)"))
    explorer(page, "")
    expect(page.locator(".wb-card[data-kind]").first).to_be_visible()
    page.locator(".wb-tile").first.click()
    expect(page.locator(".wb-families canvas").first).to_be_visible()
    axe, found = Axe(), []

    def look(where: str) -> None:
        violations = axe.run(page, context=".wb", options=WCAG).response["violations"]
        serious = [one for one in violations if one["impact"] in ("serious", "critical")]
        found.extend(f"{where}: {one['id']} {[node['html'][:120] for node in one['nodes'][:3]]}" for one in serious)

    names = page.locator(".wb-side .wb-tabs [role=tab]").all_text_contents()
    assert {"Attributions", "Selection"} < set(names)
    for theme in ("Light", "Dark"):
        dressed(page, f"JupyterLab {theme}")
        for name in names:
            view(page, name)
            if name == "Attributions":
                expect(page.locator(".wb-maprow canvas").nth(5)).to_be_visible()
                shoot(page, shots, f"journey_maps_{theme.lower()}")
            if name == "Selection":
                expect(page.locator(".wb-together")).to_contain_text("most like it, of its true class")
                expect(page.locator(".wb-meanmap, .wb-together-map [role=status]").first).to_be_visible()
            look(f"{theme}, {name}")
        for tab in page.locator(".wb-detail .wb-tabs button").all_text_contents():
            page.locator(".wb-detail .wb-tabs").get_by_role("button", name=tab, exact=True).click()
            look(f"{theme}, {tab}")
        shoot(page, shots, f"journey_inspector_{theme.lower()}")
        page.get_by_role("button", name="Review", exact=True).click()
        expect(page.locator("dialog.wb-deck[data-row]")).to_be_visible()
        look(f"{theme}, review")
        page.keyboard.press("Escape")
    assert found == []


SECOND = """
import copy, dataclasses, torch
from workbench.models.predict import predict
torch.manual_seed(0)
other = dataclasses.replace(run.classifier, module=copy.deepcopy(run.classifier.module))
with torch.no_grad():
    for p in other.module.parameters():
        p.add_(0.35 * p.abs().mean() * torch.randn_like(p))
second = dataclasses.replace(run, name="shaken copy", classifier=other, predictions=predict(other, run.images))
"""


RESTED = """async () => {  // until the explorer has had one size for a while
    const size = () => JSON.stringify(document.querySelector(".wb").getBoundingClientRect());
    for (let [before, same] = [size(), 0]; same < 20; before = size()) {
        await new Promise((resolve) => setTimeout(resolve, 25));
        same = size() === before ? same + 1 : 0;
    }
    return true;
}"""


def walk(page: Page, images: int) -> None:
    """Walk by keyboard; every image comes with its map, and both are in sight."""
    detail = page.locator(".wb-detail")
    for _ in range(images):
        before = detail.get_attribute("data-row")
        page.keyboard.press("ArrowRight")
        expect(detail).not_to_have_attribute("data-row", str(before))
        expect(detail).to_have_attribute("data-row", re.compile(r"\d+"))  # none while the answer is under way
        expect(detail).to_have_attribute("data-staged", str(detail.get_attribute("data-row")))
    for part in (".wb-picture canvas", ".wb-stage canvas"):
        expect(page.locator(part).first).to_be_in_viewport(ratio=1)


def test_a_day_at_every_size_in_light_and_dark(
    page: Page, lab, digits: str, request, shots, tmp_path: Path, light_afterwards
) -> None:
    """One kernel all day, two models: walk, review, cohorts, comparison, exports; the notebook stays as it is."""
    open_and_run(page, lab[1], notebook(lab, request, digits, SECOND, "workbench.Explorer(run, compared=second)"))
    shown = explorer(page)
    page.get_by_role("button", name="Errors only").click()
    words = page.locator(".wb-words")
    expect(words).to_have_text("All 899 images")
    page.keyboard.press("Escape")
    page.locator(".wb-tile").first.click()
    steps = 50
    for theme in ("Light", "Dark"):
        dressed(page, f"JupyterLab {theme}")
        for width, height in ((1440, 900), (1024, 768), (2200, 1300)):
            page.set_viewport_size({"width": width, "height": height})
            shown.scroll_into_view_if_needed()
            page.wait_for_function(RESTED)
            page.locator(".wb-tile.wb-shown").click()  # JupyterLab may have taken the focus while it was resized
            walk(page, steps)
            steps = 3
            assert shown.evaluate("node => node.scrollWidth <= node.clientWidth + 1"), f"{width} is too narrow"
            shoot(page, shots, f"day_{width}_{theme.lower()}")
            if page.locator(".wb-shut").is_visible():  # on a small screen the inspector slides over the gallery
                page.locator(".wb-shut").click()
                expect(page.locator(".wb-detail")).not_to_be_in_viewport()
                shoot(page, shots, f"day_{width}_{theme.lower()}_shut")
                page.locator(".wb-tile").first.click()
    dressed(page, "JupyterLab Light")
    page.set_viewport_size({"width": 1500, "height": 1700})

    view(page, "Cohorts")
    page.get_by_label("Name of the cohort").fill("everything")
    page.get_by_role("button", name="Save 899 images as cohort").click()
    expect(page.locator(".wb-cohort[data-cohort=everything]")).to_contain_text("second model: accuracy")
    view(page, "Compare")
    expect(page.locator(".wb-lines")).to_contain_text("Agreement by cohort")
    expect(page.locator(".wb-line", has_text="everything")).to_be_visible()
    broken = page.locator(".wb-line", has_text="broken")
    count = int((broken.locator("span").nth(2).text_content() or "0").replace(",", ""))
    assert count > 20
    broken.click()
    expect(words).to_contain_text(f"{count} of 899 images: outcome of the comparison: broken")
    page.locator(".wb-tile").first.click()
    beside = page.locator(".wb-models h5")
    expect(beside.nth(1)).to_contain_text("shaken copy")
    left, right = (beside.nth(k).bounding_box() for k in (0, 1))
    assert left is not None
    assert right is not None
    assert left["x"] + left["width"] <= right["x"]  # the models' maps stand side by side
    shoot(page, shots, "explorer_compare")
    view(page, "Selection")
    expect(page.locator(".wb-together-map")).to_contain_text("In 24 others of it", timeout=120_000)
    expect(page.locator(".wb-together tbody tr")).to_have_count(12)
    shoot(page, shots, "journey_selection")

    page.locator(".wb-tile").first.focus()
    page.keyboard.press("r")
    deck = page.locator("dialog.wb-deck")
    for place in range(20):
        expect(deck.locator("h3").first).to_have_text(f"{place + 1} of {count}")
        page.keyboard.press("ynd"[place % 3])
    expect(deck.locator("h3").first).to_have_text(f"21 of {count}")
    page.keyboard.press("Escape")
    decided = json.loads(next(tmp_path.glob("digits/**/decisions.json")).read_text())["rows"]
    assert len(decided) == 20

    menu = page.locator(".wb-export .wb-opener")
    for name in page.locator(".wb-side .wb-tabs [role=tab]").all_text_contents():
        view(page, name)
        figures = []
        for _ in range(2):  # twice in a row: the second is the same
            menu.click()
            with page.expect_download() as got:
                page.locator(".wb-export").get_by_role("button", name="PNG").first.click()
            figures.append(Path(got.value.path()).read_bytes())
        assert figures[0].startswith(b"\x89PNG")
        assert figures[0] == figures[1], f"the figure of {name} is another one the second time"


def test_no_key_reaches_the_notebook(page: Page, lab, digits: str, request) -> None:
    """Every letter in every view and every field, with the notebook in command mode."""
    open_and_run(page, lab[1], notebook(lab, request, digits, "workbench.Explorer(run)"))
    explorer(page)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:enter-command-mode')")
    before = page.evaluate(NOTEBOOK)
    page.locator(".wb-tile").first.click()
    letters = [*"abcdefghijklmnopqrstuvwxyz", "d", "d", "Shift+m", "ArrowDown", "ArrowUp", "Enter"]
    for name in page.locator(".wb-side .wb-tabs [role=tab]").all_text_contents():
        view(page, name)
        for place in (page.locator(".wb-tabs [aria-selected=true]"), page.locator(".wb-tile").first):
            place.focus()
            for key in letters:
                page.keyboard.press(key)
                if key in ("f", "r"):  # the whole screen, a review: back from them
                    page.evaluate("() => document.fullscreenElement && document.exitFullscreen()")
                    page.keyboard.press("Escape")
        for field in page.locator(".wb input[type=text]:visible, .wb textarea:visible").all():
            field.fill("")
            field.press_sequentially("add bxm", delay=0)
            expect(field).to_have_value("add bxm")
    assert page.evaluate(NOTEBOOK) == before
    assert page.evaluate("() => document.activeElement.closest('.wb') !== null"), "the focus left the explorer"


NOTEBOOK = """() => {
    const { content } = window.jupyterapp.shell.currentWidget;
    const cells = content.model.toJSON().cells.map(({ cell_type, source }) => [cell_type, source]);
    return [cells, content.activeCellIndex, content.mode];
}"""


def test_a_page_keeps_decisions_and_exports_them(browser, digits_run: Path, tmp_path: Path) -> None:
    from workbench.explorer import page as pages
    from workbench.explorer.state import ExplorerState
    from workbench.runs.examples import train_digits

    state = ExplorerState(train_digits(digits_run))
    state.cohorts._file = None  # kept in memory: the run is everybody's
    state.cohorts.save("first", state.run.predictions.index[:40], "the first forty")
    text, _ = pages.page(state)
    (tmp_path / "explorer.html").write_text(text, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1300, "height": 1000}, accept_downloads=True)
    page.goto(f"file://{tmp_path}/explorer.html")
    explorer(page, "")
    for step in range(1, 6):
        expect(page.locator(".wb-tour")).to_contain_text(f"{step} of 5.")
        page.locator(".wb-tour button").first.click()
    expect(page.locator(".wb-tour")).to_be_hidden()
    page.reload()
    explorer(page, "Cohorts")
    expect(page.locator(".wb-tour")).to_be_hidden()
    expect(page.locator(".wb-cohort[data-cohort=first]")).to_contain_text("the first forty")
    tile = page.locator(".wb-tile").first
    row = tile.get_attribute("data-row")
    tile.click()
    tile.focus()
    page.keyboard.press("1")
    expect(page.locator(f".wb-tile[data-row='{row}'] .wb-mark")).to_have_text("≠")
    expect(page.locator(".wb-decisions [role=status]")).to_contain_text("until this page is closed")
    page.get_by_label("Note").fill("look again")
    page.get_by_label("Note").blur()
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Tags and notes (CSV)").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("index,label,predicted,tags,corrected_label,note")
    assert lines[1].startswith(f"{row},")
    assert "wrong label,,look again" in lines[1]
    page.close()
