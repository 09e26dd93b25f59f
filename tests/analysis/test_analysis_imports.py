"""Allowed imports of the analysis, and the import cost of reading results."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN_LIBRARIES = {
    "frames": {"pandas"},
    "figures/dataframe_plots": {"matplotlib", "pandas", "plotly"},
    "publish": {"yaml"},
    "report/plotly_figures": {"pandas", "plotly"},
    "report/report": {"plotly", "jinja2", "markupsafe"},
    "report/walk": {"markupsafe"},
    **{
        f"figures/{name}": {"matplotlib"}
        for name in ("ablation", "block_files", "hyperparameter", "matplotlib_settings", "roadmap", "transfer")
    },
}


def name_of(file: Path) -> str:
    """Return the path of a module below roadmap/analysis, such as figures/roadmap."""
    return file.relative_to(ROOT / "roadmap/analysis").with_suffix("").as_posix()


def loaded_by(module: str) -> set[str]:
    """Return the packages loaded by an import, beyond those that compose a configuration."""
    program = f"import sys, roadmap.config; own = {{*sys.modules}}; import {module}; print(*{{*sys.modules}} - own)"
    command = [sys.executable, "-c", program]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    return {name.partition(".")[0] for name in printed.split()}


@pytest.mark.system  # three programs: 8 s
def test_drawing_loads_no_torch_and_reading_not_even_a_drawing_library() -> None:
    heavy = {"torch", "torchvision", "timm", "hydra", "matplotlib", "numpy", "rich"}
    assert loaded_by("roadmap.analysis.results") & heavy == set()
    assert loaded_by("roadmap.analysis.tables_and_figures") & heavy == {"matplotlib", "numpy", "rich"}
    assert (
        loaded_by("roadmap.analysis.report.report") & {"torch", "torchvision", "timm", "hydra", "matplotlib"}
        == set()
    )


@pytest.mark.parametrize("file", sorted((ROOT / "roadmap/analysis").rglob("*.py")), ids=lambda file: name_of(file))
def test_analysis_imports_no_other_room(file: Path) -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "scipy", "rich"}
    allowed |= OWN_LIBRARIES.get(name_of(file), set())
    names = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    # Without torch: the steps' choices are read from conf/, diagrams are drawn from a plan's description, and a
    # run's state is read by the reader of the runs.
    rooms = (
        "roadmap.analysis",
        "roadmap.config.convert",
        "roadmap.config.paper",
        "roadmap.config.roadmap_files",
        "roadmap.config.roadmaps",
        "roadmap.config.search_path",
        "roadmap.config.sweep_networks",
        "roadmap.config.variant",
        "roadmap.errors",
        "roadmap.runs.naming",
        "roadmap.model.describe",
        "roadmap.model.layer_plan",
        "roadmap.model.spec",
        "roadmap.runs.config_hash",
        "roadmap.runs.metrics",
        "roadmap.runs.overrides",
        "roadmap.runs.read_files",
        "roadmap.runs.read_run",
        "roadmap.system.commands",
    )
    strangers = [name for name in names if name.partition(".")[0] not in allowed and not name.startswith(rooms)]
    assert strangers == []
