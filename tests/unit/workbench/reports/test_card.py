import dataclasses
from pathlib import Path

import pytest

from tests.factories import image_folder
from workbench import store
from workbench.__main__ import main
from workbench.analysis.calibration import reliability
from workbench.core.predictions import Predictions
from workbench.runs.opening import open_run


def test_card_has_the_measured_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training import run

    data, folder = image_folder(tmp_path / "data", rows=60), tmp_path / "run"
    options = ["--epochs", "1", "--width", "8", "--batch-size", "16", "--workers", "0", "--image-sizes", "32"]
    assert run.main(["--recipe", "fast", "--data", str(data), "--out", str(folder), *options]) == 0
    opened = open_run(folder, str(data))
    store.write(opened.predictions, folder / "predictions")
    command = ["card", "--checkpoint", str(folder), "--data", str(data), "--hardware", "a test", "--pixels", "as PNG"]
    command += ["--note", "Made in two sittings."]
    assert main(command) == 0
    card = (folder / "MODEL_CARD.md").read_text()
    p = opened.predictions
    assert f"{p.accuracy:.2%} of 60 test images correct" in card
    assert f"({p.error_count} misclassified;" in card
    assert opened.classifier is not None
    assert str(opened.classifier.card["weights_sha256"]) in card
    assert "cutout 12" in card
    assert "The test split was evaluated once, at the end." in card
    measured = opened.classifier.card["measured"]
    for name, words in (("last", "last step"), ("average", "running mean")):
        assert f"{measured[f'validation_{name}']['loss']:.4f} ({words})" in card
    assert "seeds of this recipe" not in card
    assert f"Confidence is {p.confidence.mean():.1%} on average where {p.accuracy:.1%} are correct" in card
    assert f"differ by {reliability(p).error.value:.1%} (root mean square" in card
    assert "- Made in two sittings." in card
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    store.write(p, folder / "seeds" / "0")  # the model itself, which is no other seed
    another = dataclasses.replace(p.provenance, checkpoint="another")
    store.write(Predictions(p.table, p.classes, another), folder / "seeds" / "1")
    assert main([*command, "--force"]) == 0
    card = (folder / "MODEL_CARD.md").read_text()
    assert f"2 seeds of this recipe: {p.accuracy:.2%}, {p.accuracy:.2%}; mean {p.accuracy:.2%}" in card
