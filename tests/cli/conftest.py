"""Fixture that runs `python train.py WORDS...` in this process, since a new process takes seconds to start."""

import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from roadmap.cli import console as terminal

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    status: int  # the exit status
    out: str
    err: str  # on one line, since rich wraps at the terminal's width


@pytest.fixture
def train(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Outcome]:
    """Run train.py with its runs under tmp_path, on a terminal that is wide enough for any table."""
    monkeypatch.setattr(terminal.OUT, "width", 400)

    def train(*overrides: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["train.py", *overrides, f"output_dir={tmp_path}"])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
        captured = capsys.readouterr()
        return Outcome(int(end.value.code or 0), captured.out, " ".join(captured.err.split()))

    return train
