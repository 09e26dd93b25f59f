"""The commit recorded in a result."""

import re
import subprocess
from pathlib import Path

import pytest

from roadmap import __version__
from roadmap.runs import commit as module
from roadmap.runs.commit import find_commit


def commit_all(repository: Path) -> None:
    git = ["git", "-C", str(repository), "-c", "user.name=n", "-c", "user.email=e"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first", "--allow-empty"]):
        subprocess.run([*git, *words], check=True)


def test_changed_code_marks_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = find_commit()
    assert commit is not None
    assert re.fullmatch("[0-9a-f]{40}(-changed)?", commit)

    (tmp_path / "roadmap/runs").mkdir(parents=True)
    (tmp_path / "train.py").touch()
    commit_all(tmp_path)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "roadmap/runs/commit.py"))
    find = find_commit.__wrapped__  # without the cache
    (tmp_path / "notes.md").write_text("not of the code")
    assert re.fullmatch("[0-9a-f]{40}", find())
    (tmp_path / "train.py").write_text("changed")
    assert re.fullmatch("[0-9a-f]{40}-changed", find())


def test_a_package_inside_another_repository_is_not_that_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_all(tmp_path)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "copy/roadmap/runs/commit.py"))
    (tmp_path / "copy").mkdir()
    assert find_commit.__wrapped__() == f"version {__version__}"  # as of a wheel: no checkout around it
    (tmp_path / "copy/train.py").write_text("")
    assert find_commit.__wrapped__() is None


def test_git_errors_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.py").write_text("")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "roadmap/runs/commit.py"))
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to test this
    assert find_commit.__wrapped__() is None
    assert "git does not read" in (said := capsys.readouterr().err)
    assert "dubious ownership" in said
