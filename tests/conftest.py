from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from filelock import FileLock

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):  # more threads than cores slow each other down
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
TOGETHER = {"tests/browser": "browser", "tests/notebooks": "notebooks"}  # share servers, or load the machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one group run in one worker, one after another; those that take longest begin first."""
    for item in items:
        for folder, group in TOGETHER.items():
            if item.nodeid.startswith(folder):
                item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: not item.nodeid.startswith(tuple(TOGETHER)))


FAULTS = ("tests/unit/test_faults.py", "tests/unit/test_hostile.py")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How often each fault was tried, of those that ran."""
    passed = [report.nodeid for report in terminalreporter.getreports("passed") if report.when == "call"]
    tried = Counter(name.partition("::")[2].partition("[")[0] for name in passed if name.startswith(FAULTS))
    if tried:
        terminalreporter.section(f"{tried.total()} faults tried")
        for name, count in sorted(tried.items()):
            terminalreporter.line(f"{count:4} {name.removeprefix('test_').replace('_', ' ')}")


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits model in its default place, trained if it is not there yet, once for all workers."""
    from workbench.runs.examples import DIGITS, train_digits

    with FileLock(tmp_path_factory.getbasetemp().parent / "digits.lock"):
        assert train_digits().predictions.accuracy >= 0.97
    return DIGITS


@pytest.fixture(scope="session")
def shots() -> Path | None:
    """Where screenshots go, if anywhere: the folder that WORKBENCH_SHOTS names."""
    folder = os.environ.get("WORKBENCH_SHOTS")
    if folder is None:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)
