"""The public names: typed for their users, light to import, and reachable by their older modules."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import workbench
from workbench.moved import MOVED, RENAMED

ROOT = Path(__file__).resolve().parents[2]
CLIENT = """
import workbench
run = workbench.open_run("DIR", data="data")
reveal_type(run.predictions.accuracy)
reveal_type(workbench.analyse(workbench.classifier_of(MODEL, ("a", "b")), workbench.load_images("photos")))
reveal_type(workbench.Explorer(run, compared=run).state.rows)
"""


def mypy(code: str, folder: Path) -> str:
    (folder / "client.py").write_text(textwrap.dedent(code), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]
    options = ["--cache-dir", str(ROOT / ".mypy_cache"), str(folder / "client.py")]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_a_checker_of_types_knows_what_a_client_gets(tmp_path: Path) -> None:
    client = "from torch import nn\nMODEL = nn.Identity()\n" + CLIENT
    said = mypy(client, tmp_path)
    assert 'Revealed type is "float"' in said, said
    assert 'Revealed type is "workbench.runs.run.Run"' in said
    assert "ndarray" in said
    assert "error" not in said, said


WOULD_FAIL = {
    "workbench.open_run(3)": "arg-type",
    "workbench.open_run('DIR', images='x')": "call-arg",
    "workbench.analyse('model', 'images')": "arg-type",
    "workbench.Explorer('run')": "arg-type",
    "workbench.open_runs('DIR')": "attr-defined",
}


def test_a_checker_of_types_rejects_what_would_fail(tmp_path: Path) -> None:
    said = mypy("\n".join(["import workbench", *WOULD_FAIL]), tmp_path)
    for number, (line, error) in enumerate(WOULD_FAIL.items(), start=2):
        assert re.search(rf"client\.py:{number}: error: .*\[{error}\]", said), f"{line}\n{said}"


def test_every_public_name_is_there_and_says_what_it_takes() -> None:
    for name in workbench.__all__:
        found = getattr(workbench, name)
        words = found.__doc__ or ""
        assert "Parameters" in words or name in ("open_example", "train_digits"), name
        if callable(found) and not isinstance(found, type):
            assert "Raises" in words, name
            assert "Returns" in words, name


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(AttributeError, match="no attribute 'opened'"):
        workbench.opened  # type: ignore[attr-defined]  # noqa: B018


def test_importing_it_brings_nothing_heavy() -> None:
    code = "import sys, workbench; print(sorted({'torch', 'polars', 'numpy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("older", "homes"), MOVED.items())
def test_modules_import_by_their_older_names(older: str, homes: tuple[str, ...]) -> None:
    module = importlib.import_module(f"workbench.{older}")
    present = [importlib.import_module(f"workbench.{home}") for home in homes]
    if len(present) == 1 and older not in RENAMED:
        assert module is present[0]
    for home in present:
        for name in vars(home):
            if not name.startswith("_"):
                assert getattr(module, name) is not None or getattr(home, name) is None


OLDER_LINES = (
    "from workbench.files import alone",
    "from workbench.projection import keep, kept",
    "from workbench.remote import fetched, staged",
    "from workbench.whatif import Change, changed",
    "from workbench.explain import Judge, explain, named_targets",
    "from workbench.foreign import classifier_of, cropped, load_weights",
    "from workbench.attribution.layers import find_layers, kept",
    "from workbench.classifier import Classifier, Layer, Precision, untouched",
    "from workbench.records import Attribution, ImageSet, Query",
    "from workbench.run import Run, open_run",
    "from workbench import decode, predict, render, source, views",
)


def test_names_import_from_their_older_modules() -> None:
    subprocess.run([sys.executable, "-c", "\n".join(OLDER_LINES)], check=True, cwd=ROOT)


def test_older_functions_take_what_they_took() -> None:
    from tests.factories import predictions
    from workbench.maps import sample_errors, stage_maps  # noqa: F401
    from workbench.runs.run import Run

    run = Run("r", predictions(60))
    assert set(sample_errors(run, 4)) <= set(run.predictions.index[~run.predictions.correct])
