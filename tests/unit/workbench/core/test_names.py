"""Class names in the forms that people have them."""

import pytest

from workbench.core.names import class_names
from workbench.errors import DataError


@pytest.mark.parametrize(
    "classes",
    [
        ["cat", "dog", "owl"],
        ("cat", "dog", "owl"),
        {"owl": 2, "cat": 0, "dog": 1},
        {2: "owl", 0: "cat", 1: "dog"},
        {"2": "owl", "0": "cat", "1": "dog"},
    ],
)
def test_every_form_is_read_by_its_meaning(classes: object) -> None:
    assert class_names(classes) == ("cat", "dog", "owl")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({"cat", "dog"}, "a set, which has no order: give a list"),
        (3, "not int"),
        (None, "not NoneType"),
        ("cat", "not str"),
        (["cat"], "at least two"),
        ([], "not none"),
        (["crane", "dog", "crane"], "unique names, not 'crane'"),
        ({"cat": 0, "dog": 2}, r"the numbers 0 to 1, each once, not \[0, 2\]"),
        ({"cat": 0, "dog": 0}, r"not \[0, 0\]"),
        ({"cat": "x", "dog": "y"}, "from names to numbers, or from numbers to names"),
    ],
)
def test_what_is_no_order_of_names_is_told(classes: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        class_names(classes)  # type: ignore[arg-type]


def test_many_duplicates_are_named_in_short() -> None:
    with pytest.raises(DataError) as told:
        class_names([f"class {i // 2}" for i in range(1000)])
    assert "'class 0'" in str(told.value)
    assert len(str(told.value)) < 300
