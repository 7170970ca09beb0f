"""A day's work in JupyterLab and in the stand-alone page: review, cohorts, filters, keys; and accessibility."""

from __future__ import annotations

import json
import re
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


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_axe_finds_no_violation_in_any_view(page: Page, lab, digits: str, request, shots, theme: str) -> None:
    open_and_run(page, lab[1], notebook(lab, request, digits, "workbench.Explorer(run)"))
    page.evaluate(
        "(name) => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})", f"JupyterLab {theme}"
    )
    page.wait_for_function("(dark) => document.body.dataset.jpThemeLight === String(!dark)", arg=theme == "Dark")
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
    assert "Attributions" in names
    for name in names:
        view(page, name)
        if name == "Attributions":
            expect(page.locator(".wb-maprow canvas").nth(5)).to_be_visible()
            shoot(page, shots, f"journey_maps_{theme.lower()}")
        look(name)
    for tab in page.locator(".wb-detail .wb-tabs button").all_text_contents():
        page.locator(".wb-detail .wb-tabs").get_by_role("button", name=tab, exact=True).click()
        look(tab)
    shoot(page, shots, f"journey_inspector_{theme.lower()}")
    page.get_by_role("button", name="Review", exact=True).click()
    expect(page.locator("dialog.wb-deck[data-row]")).to_be_visible()
    look("review")
    page.keyboard.press("Escape")
    page.evaluate("() => window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")
    assert found == []


def test_a_page_keeps_decisions_and_exports_them(browser, digits_run: Path, tmp_path: Path) -> None:
    from workbench.explorer import page as pages
    from workbench.explorer.state import ExplorerState
    from workbench.runs.opening import train_digits

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
