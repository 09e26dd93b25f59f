"""A file is never partly written, even after a power cut, and reading one never runs code."""

import ast
import os
from pathlib import Path
from typing import Any

import pytest

from roadmap.runs.atomic import replace_file

ROOT = Path(__file__).parents[2]


def test_file_is_flushed_before_its_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut cannot be tested here, but the order of the calls that guard against it can."""
    path, previous = tmp_path / "checkpoint.pt", tmp_path / "checkpoint.previous.pt"
    path.write_bytes(b"before")
    calls = []
    flush, rename = os.fsync, os.replace

    def note_flush(file: int) -> None:
        calls.append(("flush", Path(os.readlink(f"/proc/self/fd/{file}")).name))
        flush(file)

    def note_rename(source: Any, target: Any) -> None:
        calls.append((Path(source).name, Path(target).name))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_flush)
    monkeypatch.setattr(os, "replace", note_rename)
    replace_file(path, b"after", previous)
    assert calls == [
        ("flush", "checkpoint.pt.new"),
        ("checkpoint.pt", "checkpoint.previous.pt"),
        ("checkpoint.pt.new", "checkpoint.pt"),
        ("flush", tmp_path.name),
    ]
    assert (path.read_bytes(), previous.read_bytes()) == (b"after", b"before")


@pytest.mark.parametrize("file", [*ROOT.glob("roadmap/**/*.py"), *ROOT.glob("scripts/*.py")], ids=lambda f: f.stem)
def test_pickles_that_can_run_code_are_never_read(file: Path) -> None:
    if file.stem == "copies":  # in memory: no file is opened
        assert "open" not in file.read_text()
        assert "Path" not in file.read_text()
        return
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {"pickle", "dill", "cloudpickle", "shelve"} & {name.partition(".")[0] for name in names}
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert "weights_only=True" in ast.unparse(node)
