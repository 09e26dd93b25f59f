"""What the analysis imports, and the cost of reading results."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "torchvision", "timm", "hydra"}
NEEDS_TORCH = ("roadmap.training", "roadmap.data", "roadmap.model", "roadmap.cli")
# Diagrams are drawn from the description of a plan.
TORCH_FREE = ("roadmap.model.describe", "roadmap.model.layer_plan", "roadmap.model.spec")


def loaded_by(module: str) -> set[str]:
    """Return the packages loaded by an import, beyond those that compose a configuration."""
    program = f"import sys, roadmap.config; own = {{*sys.modules}}; import {module}; print(*{{*sys.modules}} - own)"
    command = [sys.executable, "-c", program]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    return {name.partition(".")[0] for name in printed.split()}


@pytest.mark.system  # three programs: 8 s
def test_drawing_loads_no_torch_and_reading_not_even_a_drawing_library() -> None:
    drawing = {"matplotlib", "numpy", "rich"}
    assert loaded_by("roadmap.analysis.results") & (HEAVY | drawing) == set()
    assert loaded_by("roadmap.analysis.tables_and_figures") & (HEAVY | drawing) == drawing
    assert loaded_by("roadmap.analysis.report.report") & (HEAVY | {"matplotlib"}) == set()


def test_the_analysis_never_imports_torch() -> None:
    """Neither in a function, nor by a module that needs it."""
    files = sorted((ROOT / "roadmap/analysis").rglob("*.py"))
    assert len(files) > 30
    for file in files:
        names = []
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
        own = [name for name in names if name.startswith(NEEDS_TORCH) and not name.startswith(TORCH_FREE)]
        assert (own, HEAVY & {name.partition(".")[0] for name in names}) == ([], set()), file
