import dataclasses
import json
from pathlib import Path

import pytest

from training.errors import TrainingError
from training.recipe import RECIPES, Recipe
from training.run import main, parser, recipe_from


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda r: r.name)
def test_json_round_trip(recipe: Recipe) -> None:
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_paper_recipe_is_the_published_one() -> None:
    paper = RECIPES["paper"]
    assert (paper.epochs, paper.optimizer, paper.learning_rate, paper.weight_decay) == (40, "adam", 0.001, 0.0001)
    assert (paper.schedule, paper.plateau_factor, paper.plateau_patience) == ("plateau", 0.2, 3)
    assert (paper.cutout, paper.rotate_degrees, paper.crop_padding, paper.coarse_dropout) == (16, 5.0, 4, True)


def test_every_field_is_an_option() -> None:
    help_text = parser().format_help()
    for field in dataclasses.fields(Recipe):
        if field.name != "name":
            assert f"--{field.name.replace('_', '-')}" in help_text


def test_options_change_the_named_recipe() -> None:
    options = parser().parse_args(
        ["--recipe", "paper", "--epochs", "3", "--no-coarse-dropout", "--image-sizes", "16", "32"]
    )
    changed = dataclasses.replace(RECIPES["paper"], epochs=3, coarse_dropout=False, image_sizes=(16, 32))
    assert recipe_from(options) == changed


def test_digits_have_their_own_recipe() -> None:
    assert recipe_from(parser().parse_args(["--data", "digits"])).name == "digits"


def test_sizes_share_the_epochs() -> None:
    recipe = Recipe(name="x", epochs=5, image_sizes=(16, 32))
    assert [recipe.image_size(e) for e in range(5)] == [16, 16, 16, 32, 32]


def test_fast_recipe_can_be_shortened() -> None:
    recipe = dataclasses.replace(RECIPES["fast"], epochs=2)
    assert [recipe.image_size(e) for e in range(2)] == [20, 24]


def test_a_tuned_recipe_is_short_and_low_and_keeps_the_validation_rows() -> None:
    fast = RECIPES["fast"]
    tuned = fast.for_tuning()
    assert tuned.epochs == fast.epochs // 10
    assert tuned.learning_rate < 0.2 * fast.learning_rate
    assert tuned.image_sizes == fast.image_sizes[-1:]
    assert (tuned.seed, tuned.validation_fraction) == (fast.seed, fast.validation_fraction)


@pytest.mark.parametrize(
    ("field", "value"), [("warm_up", 1.0), ("average", 1.0), ("cutout", -1), ("architecture", "vgg")]
)
def test_bad_fields_are_named(field: str, value: object) -> None:
    with pytest.raises(TrainingError, match=f"--{field.replace('_', '-')}: expected"):
        dataclasses.replace(RECIPES["fast"], **{field: value})


def test_unknown_field_is_named() -> None:
    with pytest.raises(TrainingError, match="unknown field 'colour'"):
        Recipe.from_json({"name": "x", "epochs": 1, "colour": 3})


@pytest.mark.parametrize("option", ["--epochs", "--batch-size"])
def test_bad_values_end_with_one_line(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", "digits", "--out", str(tmp_path / "nowhere"), option, "0"]) == 2
    assert capsys.readouterr().err == f"error: {option}: expected at least 1, not 0\n"
