"""The commit recorded in a result."""

import re
import subprocess
from pathlib import Path

import pytest

from roadmap.runs import commit as module
from roadmap.runs.commit import find_commit


def test_the_commit_is_marked_where_what_a_result_hangs_on_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = find_commit()
    assert commit is not None
    assert re.fullmatch("[0-9a-f]{40}(-changed)?", commit)

    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        (tmp_path / "roadmap/runs").mkdir(parents=True, exist_ok=True)
        (tmp_path / "train.py").write_text("")
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "roadmap/runs/commit.py"))
    find = find_commit.__wrapped__  # without the cache
    (tmp_path / "notes.md").write_text("not of the code")
    assert re.fullmatch("[0-9a-f]{40}", find())
    (tmp_path / "train.py").write_text("changed")
    assert re.fullmatch("[0-9a-f]{40}-changed", find())
