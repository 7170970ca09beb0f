"""The project's files agree with each other."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import rattler
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
NAMED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "albumentations": "albumentations",
    "captum": "captum",
    "grad-cam": "pytorch_grad_cam",
    "jupyterlab": None,
    "ipywidgets": "ipywidgets",
    "seaborn": "seaborn",
    "scikit-learn": "sklearn",
}


def requirements() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {canonicalize_name(r.name): r for r in map(Requirement, project["dependencies"])}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().split()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_environment_has_the_ranges_of_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    found: dict[str, str] = {}
    for entry in environment["dependencies"]:
        if isinstance(entry, str):
            strict = rattler.MatchSpec(entry, strict=True)
            found[CONDA_NAMES.get(strict.name.normalized, strict.name.normalized)] = str(strict.version or "")
        else:
            for line in entry["pip"]:
                if not line.startswith("--"):
                    requirement = Requirement(line)
                    found[canonicalize_name(requirement.name)] = str(requirement.specifier)
    del found["pip"], found["python"]
    wanted = requirements()
    assert sorted(found) == sorted(wanted)
    for name, specifier in found.items():
        assert set(specifier.split(",")) == set(str(wanted[name].specifier).split(",")), name


def test_constraints_lie_within_the_ranges() -> None:
    pinned = constraints()
    for name, requirement in requirements().items():
        assert requirement.specifier.contains(pinned[name]), f"{requirement} against {pinned[name]}"
    assert {"torch", "torchvision"} <= set(pinned)  # an open range may bring another build


def test_named_packages_are_dependencies_and_used() -> None:
    code = "\n".join(p.read_text() for folder in ("training", "workbench") for p in (ROOT / folder).rglob("*.py"))
    for name, module in NAMED.items():
        assert name in requirements()
        if module is not None:
            assert re.search(rf"^\s*(import {module}|from {module})\b", code, re.MULTILINE), name


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_define_nothing_and_hold_no_output(path: Path) -> None:
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            assert not re.search(r"^\s*(def|class) ", "".join(cell["source"]), re.MULTILINE)


def test_package_loads_without_torch() -> None:
    code = "import sys, workbench; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_each_dependency_has_its_reason() -> None:
    readme = (ROOT / "docs" / "packages.md").read_text()
    for name in requirements():
        assert f"`{name}`" in readme, name


def test_commands_in_the_readme_are_understood() -> None:
    from training.run import parser as training_parser
    from workbench.cli.parser import parser as workbench_parser

    commands = re.findall(
        r"^python -m (training\.run|workbench) ?(.*)$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert len(commands) >= 4
    for module, arguments in commands:
        parser = training_parser() if module == "training.run" else workbench_parser()
        parser.parse_args(arguments.split("#")[0].split())


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "benchmarks").glob("*.py")), ids=lambda p: p.stem)
def test_benchmarks_import(path: Path) -> None:
    """Names that a benchmark takes from the packages are there."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("workbench", "training", "tests"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
