"""The package's structure: what may import what, and that docs/architecture.md names every file."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "roadmap"
# A package imports from those after it only. `config` uses the spec of `training`, which needs no torch.
LAYERS = (
    ("cli", "extend", "timm"),
    "analysis",
    "config",
    "training",
    ("data", "model", "runs"),
    "system",
    "errors",
)
LEVEL = {
    name: level for level, names in enumerate(LAYERS) for name in ([names] if isinstance(names, str) else names)
}
TORCH_FREE_TRAINING = {"roadmap.training.spec"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(module: str) -> Iterator[str]:
    """The modules of the package that a module imports, anywhere in its code."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "roadmap":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("roadmap."))


def package_of(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", [module for module in MODULES if module != "roadmap"])
def test_imports_point_one_way(module: str) -> None:
    own = package_of(module)
    uphill = [
        target
        for target in imports(module)
        if target != "roadmap" and package_of(target) != own and LEVEL[package_of(target)] <= LEVEL[own]
    ]
    assert not uphill


def test_config_uses_nothing_of_training_that_needs_torch() -> None:
    used = {target for module in MODULES if module.startswith("roadmap.config") for target in imports(module)}
    assert {target for target in used if target.startswith("roadmap.training")} <= TORCH_FREE_TRAINING


def test_the_library_of_a_dashboard_is_optional() -> None:
    """It is imported by its own modules alone, and these by none."""
    own = {name for name in MODULES if name.startswith(("roadmap.runs.loggers.", "roadmap.cli.wandb_"))}
    own.remove("roadmap.runs.loggers.none")
    libraries = r"^ *(import|from) (wandb|mlflow|trackio|tensorboard|torch\.utils\.tensorboard)\b"
    for module in MODULES.keys() - own:
        assert not own & set(imports(module)), module
        assert not re.search(libraries, MODULES[module].read_text(), re.MULTILINE), module


def test_the_top_of_the_package_is_a_list_of_rooms() -> None:
    top = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert top == {
        "__init__.py", "errors.py", "extend.py", "py.typed", "timm.py",
        "analysis", "cli", "config", "data", "model", "runs", "system", "training",
    }  # fmt: skip


def test_the_architecture_page_names_every_file() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    named = set(re.findall(r"`(roadmap/[\w/]+\.py)`", page))
    files = {str(path.relative_to(ROOT)) for path in MODULES.values() if path.name != "__init__.py"}
    assert named == files
