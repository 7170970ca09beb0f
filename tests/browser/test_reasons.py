"""What decides in a selection, a method's settings, and the train images behind an error."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import open_and_run
from tests.browser.steps import explorer, notebook, shoot, view

TRAIN = """import dataclasses
from workbench.models.predict import predict
from workbench.runs.training import load_images
images = load_images("digits", "train")
run = dataclasses.replace(run, train=predict(run.classifier, images), train_images=images)
workbench.Explorer(run)"""


def test_concepts_settings_and_train_images(page: Page, lab, digits: str, request, shots) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    open_and_run(page, lab[1], notebook(lab, request, digits, TRAIN))
    explorer(page, "Selection").scroll_into_view_if_needed()
    page.get_by_role("button", name="Which concepts decide in these images?").click()
    concepts = page.locator(".wb-concept")
    expect(concepts).to_have_count(6)
    expect(page.locator(".wb-concepts")).to_contain_text(
        re.compile(r"the predicted class leads the next by \d\.\d+: concept")
    )
    drawn = concepts.first.locator(".wb-strip canvas").first
    expect(drawn).to_have_attribute("width", "64")  # painted over, with the patch framed
    white = "canvas => canvas.getContext('2d').getImageData(0, 0, 64, 64).data.filter((v) => v === 255).length"
    assert drawn.evaluate(white) > 100
    concepts.first.scroll_into_view_if_needed()
    shoot(page, shots, "reasons_concepts")

    page.locator(".wb-tile").first.click()
    menu = page.locator(".wb-mapbar .wb-opener")
    menu.first.click()
    page.get_by_label("Integrated gradients").check()
    page.get_by_label("Grad-CAM", exact=True).uncheck()
    page.keyboard.press("Escape")
    kinds = page.locator(".wb-family h6, .wb-family figcaption, .wb-families")
    expect(kinds.first).to_contain_text("Integrated gradients (black)")
    menu.nth(1).click()
    steps = page.get_by_label("steps")
    expect(steps).to_have_value("64")
    steps.fill("8")
    steps.press("Tab")
    expect(page.locator(".wb-families")).to_contain_text("Integrated gradients (black, steps 8)")
    expect(page.get_by_role("button", name="Defaults")).to_be_visible()  # the menu stays open
    shoot(page, shots, "reasons_settings")
    page.get_by_role("button", name="Defaults").click()
    expect(page.locator(".wb-families")).not_to_contain_text("steps 8")
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Train images behind it").click()
    expect(page.locator(".wb-section .wb-panel")).to_have_count(12)
    expect(page.locator(".wb-section")).to_contain_text("Train images that speak for")
    expect(page.locator(".wb-section .wb-panel canvas")).to_have_count(12)
    shoot(page, shots, "reasons_train")
    view(page, "Matrix")
