"""Three of the changes that ARCHITECTURE.md describes, made for real: one file and one entry each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.factories import classifier, image_set, predictions

METHOD = '''
"""A method of a package of its own."""
import torch
from workbench.attribution.batch import Scored
from workbench.attribution.method import Method


def squared_gradient(classifier, batch, settings):
    x = batch.x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(Scored(classifier.module)(x, *batch.extra).sum(), x)
    return slope**2, None


method = Method(
    name="Squared gradient",
    family="gradient",
    library="own",
    citation="test",
    needs=(),
    signed=False,
    cost=lambda settings, channels, side: (1.0, 1.0),
    input=squared_gradient,
)
'''


def package(folder: Path, entry: str) -> Path:
    """A package as pip would leave it: a module, and the entry point in its metadata."""
    (folder / "tiny_methods.py").write_text(METHOD)
    metadata = folder / "tiny_methods-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-methods\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[workbench.methods]\ntiny = {entry}\n")
    return folder


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_a_method_comes_with_another_package(tmp_path: Path) -> None:
    code = (
        "from workbench.attribution.registry import methods, method_of\n"
        "from workbench.explorer.replies import method_header\n"
        "print(list(methods())[-1], method_of('squared-gradient').signed, method_header('Squared gradient', None))"
    )
    done = run(code, package(tmp_path, "tiny_methods:method"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Squared gradient False {'name': 'Squared gradient', 'family': 'gradient'")


@pytest.mark.parametrize("entry", ["tiny_methods:gone", "nowhere:method", "broken_methods:method", "os:sep"])
def test_a_package_that_does_not_load_is_named_and_omitted(entry: str, tmp_path: Path) -> None:
    folder = package(tmp_path, entry)
    (folder / "broken_methods.py").write_text("raise TypeError('Method() lacks arguments')\n")
    done = run("from workbench.attribution.registry import method_of; print(method_of('grad-cam').name)", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Grad-CAM\n"
    assert f"{entry!r} of an installed package is omitted" in done.stderr


def test_a_class_activation_map_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.attribution import registry
    from workbench.attribution.activation import from_gradients
    from workbench.attribution.attribute import attribute
    from workbench.attribution.targets import Targets
    from workbench.evidence.faithfulness import Bench
    from workbench.evidence.ranking import try_methods

    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    mine = registry.Method(
        "Mean activation",
        "class activation",
        "own",
        "test",
        (),
        False,
        lambda settings, channels, side: (1.0, 0.0),
        layer=from_gradients(lambda module, activation, gradient: activation.mean(1), needs_gradient=False),
    )
    registry.register(mine)
    c, images = classifier(), image_set(3)
    rows, targets = np.arange(3), Targets(np.zeros(3, np.int64))
    (maps,) = attribute(c, images.stack(rows), rows, targets, "mean-activation").values()
    assert maps.values.shape[0] == 3
    assert maps.method == maps.title == "Mean activation"
    heard: list[str] = []
    next(try_methods(Bench(c, images.stack(rows), rows, targets), progress=heard.append))
    trials = try_methods(Bench(c, images.stack(rows), rows, targets), ["Mean activation"])
    assert next(trials).method == "Mean activation"
    assert "Mean activation" in registry.methods()  # `try_methods` without names takes all of these


def test_a_section_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.reports import sections
    from workbench.reports.bundle import Bundle
    from workbench.reports.material import Material
    from workbench.reports.report import write_report
    from workbench.runs.run import Run

    def rows(material: Material) -> Bundle:
        return Bundle(metrics={"counted": len(material.predictions)})

    monkeypatch.setitem(sections.SECTIONS, "counted", sections.Section("How many rows?", rows))
    write_report(Material(Run("r", predictions(60))), tmp_path / "report")
    assert json.loads((tmp_path / "report" / "metrics.json").read_text())["counted"] == 60


def test_a_figure_is_one_function_on_axes_that_may_be_given() -> None:
    import inspect

    import matplotlib.figure

    from workbench import figures
    from workbench.analysis.classes import class_report

    of_run = class_report(predictions(60))
    given = matplotlib.figure.Figure().subplots()
    assert figures.class_error_rates(of_run, ax=given) is given
    drawn = [name for name in figures.__all__ if name not in ("encode", "figure_of", "save")]
    for name in drawn:
        words = inspect.signature(getattr(figures, name))
        assert "ax" in words.parameters or words.return_annotation == "Figure", name
