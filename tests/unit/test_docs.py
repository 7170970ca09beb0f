"""The documentation is tried: every Python snippet runs, every command too or is at least understood."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if path.stem != "index")
TOP = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TOO_LONG = ("torchrun", "python -m training.run", "pip ", "make ")
MINE = """
import torch, torchvision, workbench
def build():
    torch.manual_seed(0)
    return workbench.Classifier.from_module(
        torchvision.models.resnet18(num_classes=3).eval(), ("ant", "bee", "cow"), "imagenet", image_size=64)
"""


@pytest.fixture
def place(tmp_path: Path, digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages speak of: photos, a checkpoint, predictions of another framework, a module of one's own."""
    from workbench import store
    from workbench.attribution import registry
    from workbench.models import predict
    from workbench.reports import sections
    from workbench.runs import training

    drawn = np.random.default_rng(0)
    paths = []
    for row in range(12):
        folder = tmp_path / "photos" / "val" / ("ant", "bee", "cow")[row % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = drawn.integers(0, 256, (60 + row, 80, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{row}.jpg")
        paths.append((folder / f"{row}.jpg").relative_to(tmp_path).as_posix())
    (tmp_path / "new_images").mkdir()
    for row in range(3):
        Image.fromarray(drawn.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "new_images" / f"{row}.png")
    shares = drawn.dirichlet(np.ones(3), 12)
    frame = pl.DataFrame({"path": paths, "label": [path.split("/")[2] for path in paths]})
    frame.with_columns(pl.Series(f"probability_{k}", shares[:, k]) for k in range(3)).write_csv(tmp_path / "theirs.csv")
    (tmp_path / "mine.py").write_text(MINE)
    shutil.copytree(digits_run, tmp_path / "DIR")
    classifier = training.load_classifier(digits_run)
    for split in ("train", "test"):
        images = training.load_images("digits", split)
        store.write(predict.predict(classifier, images), tmp_path / {"train": "train", "test": "predictions"}[split])
    shutil.copytree(tmp_path / "DIR", tmp_path / "mended")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    monkeypatch.setattr(sections, "SECTIONS", dict(sections.SECTIONS))
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_snippet_runs(page: Path, place: Path) -> None:
    names: dict[str, object] = {}
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    for kind, code in blocks:
        if kind == "python":
            exec(compile(code, str(page), "exec"), names)
            continue
        for line in code.splitlines():
            command = line.split("#")[0].strip()
            if not command or command.startswith(TOO_LONG):
                continue
            words = [sys.executable if word == "python" else word for word in shlex.split(command)]
            if "--out" in words and (out := place / words[words.index("--out") + 1]).exists():
                shutil.rmtree(out)
            done = subprocess.run(words, cwd=place, env=os.environ, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("page", [*PAGES, *TOP], ids=lambda page: page.stem)
def test_every_command_is_understood(page: Path) -> None:
    from training.run import parser as training_parser
    from workbench.cli.parser import parser as workbench_parser

    command = re.compile(r" -m (training\.run|workbench) ([^\n`]*)")
    for kind, arguments in command.findall(page.read_text(encoding="utf-8")):
        if "..." in arguments or "--" not in arguments:  # named in passing
            continue
        parser = training_parser() if kind == "training.run" else workbench_parser()
        parser.parse_args(shlex.split(arguments.split("#")[0]))


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, *TOP]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_site_has_every_public_name_and_every_figure(tmp_path: Path) -> None:
    """Built without a warning; each public function and class has words of its own, and stands in the reference."""
    from workbench import figures

    done = subprocess.run(
        [sys.executable, "docs/build.py", str(tmp_path / "site")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    site = tmp_path / "site"
    for path in sorted([*(ROOT / "workbench").rglob("*.py"), *(ROOT / "training").rglob("*.py")]):
        if path.name in ("__main__.py", "__init__.py"):
            continue
        module = path.relative_to(ROOT).with_suffix("")
        text = (site / "reference" / module / "index.html").read_text(encoding="utf-8")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{module}: {node.name}"
                assert f'id="{".".join(module.parts)}.{node.name}"' in text, f"{module}: {node.name} is not there"
    gallery = (site / "gallery" / "index.html").read_text(encoding="utf-8")
    for name in set(figures.__all__) - {"encode", "figure_of", "save"}:
        assert f"{name}.png" in gallery
    assert (site / "searchindex.js").is_file()
