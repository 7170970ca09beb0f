"""Words that Python and the views share have one home, and travel in the header."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.factories import predictions
from workbench.analysis.compare import OUTCOMES
from workbench.core.records import TARGETS, VERDICTS
from workbench.explorer.answers import Answers
from workbench.explorer.selection import check_selection
from workbench.explorer.state import ExplorerState
from workbench.explorer.words import AT_ONCE, SLOWLY, START, TAGS, shared_words
from workbench.runs.run import Run

STATIC = Path(__file__).resolve().parents[4] / "workbench" / "explorer" / "static"
CODE = {path.name: path.read_text(encoding="utf-8") for path in STATIC.glob("*.js")}


def test_the_header_brings_them() -> None:
    header = ExplorerState(Run("r", predictions(40))).header()
    assert header["words"] == shared_words()
    assert header["start"] == dict(START) == check_selection({}, 4)
    assert set(shared_words()["outcomes"].values()) == set(OUTCOMES)


@pytest.mark.parametrize("word", [*TAGS, *(v for v in VERDICTS if " " in v), *(o for o in OUTCOMES if " " in o)])
def test_no_view_repeats_them(word: str) -> None:
    assert not [name for name, text in CODE.items() if f'"{word}"' in text]


def test_the_views_ask_only_what_is_answered() -> None:
    asked = set(re.findall(r"\bask\.(\w+)\(", CODE["kernel.js"])) | {"start", "ping", "stop"}
    assert asked - {"stop"} == {*AT_ONCE, *SLOWLY}


def test_every_question_has_an_answer() -> None:
    answers = Answers(ExplorerState(Run("r", predictions(40))))
    for ask in SLOWLY:
        assert answers.takes_long(ask, {})
    for ask in AT_ONCE:
        assert ask in answers.short_questions(lambda *_: None)


def test_the_first_selection_of_the_views_tests_is_this_one() -> None:
    text = (STATIC.parents[2] / "tests" / "js" / "start.mjs").read_text(encoding="utf-8")
    assert set(re.findall(r"^  (\w+):", text, re.MULTILINE)) == set(START)
    assert set(TARGETS) >= set(START["targets"])
