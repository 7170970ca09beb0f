from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebook_runs_from_top_to_bottom(path: Path, digits_run: Path) -> None:
    """``digits_run`` is in the default place, so the notebook finds it trained."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = {kind for output in outputs for kind in output.get("data", {})}
    assert {"image/png", "text/html", "application/vnd.jupyter.widget-view+json"} & shown
    if "Explorer(" in path.read_text(encoding="utf-8"):
        assert "application/vnd.jupyter.widget-view+json" in shown
    if path.stem == "retrain":
        texts = [output["data"]["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {})]
        _retraining_pays(" ".join(texts))


def _retraining_pays(text: str) -> None:
    """Of what exchanged labels cost, at least 80 % comes back, in at most a quarter of the time from the weights."""
    found = re.search(
        r"cost (\d+\.\d) points.* Of these (\d+)% are back .* and (\d+)% after .* which took (\d+)% of the time", text
    )
    assert found, text
    cost, retrained, tuned, time = map(float, found.groups())
    assert cost > 2
    assert min(retrained, tuned) >= 80
    assert time <= 25
