from __future__ import annotations

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
