"""The notebook docs/quickstart.ipynb runs, and is committed with its outputs, small, without a machine's paths."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOK = Path(__file__).parents[1] / "docs/quickstart.ipynb"
LARGEST = 300_000  # bytes


def test_the_notebook_is_committed_with_its_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    shown = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in shown)
    kinds = {kind for cell in shown for output in cell.outputs for kind in output.get("data", {})}
    assert {"image/svg+xml", "image/png", "text/html"} <= kinds  # the diagram, the figures, the tables
    assert NOTEBOOK.stat().st_size < LARGEST
    assert str(Path.home()) not in NOTEBOOK.read_text()
    assert "/tmp/" not in NOTEBOOK.read_text()


@pytest.mark.system
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Jupyter's own parts
def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    (sweep,) = (cell for cell in notebook.cells if "roadmap.sweep" in cell.source)
    assert sweep.outputs[0]["data"]["text/plain"].count("\n") == 6  # a line per step, below two of headings
