"""Fixtures that run `python train.py WORDS...`: in this process, which takes seconds less, or in its own."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from roadmap.cli import console as terminal
from roadmap.cli import run as jobs
from roadmap.cli import sweep_report
from roadmap.config import Config, PlannedRun
from roadmap.runs.run_dir import RunDir

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


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[PlannedRun]:
    """The runs that were trained, in place of training them."""
    runs: list[PlannedRun] = []

    def train(config: Config, folder: RunDir, *_: object) -> None:
        runs.append(PlannedRun(config, folder.identity.variant, tuple(folder.config_folders)))
        results = {"top1": 50.0, "best_top1": 50.0, "best_epoch": 1}
        folder.finish({**results, "parameters": 1, "gmacs": 1.0, "images_per_s": 1.0})

    monkeypatch.setattr(jobs, "train", train)
    monkeypatch.setattr(sweep_report, "report_sweep", lambda folders, notes: None)
    return runs


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start train.py in a session of its own, so that a signal to its group does not reach the tests."""

    def start(*words: str, **pipes: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "train.py", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **pipes}
        return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, start_new_session=True, **pipes)

    return start


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., Outcome]:
    """Run train.py in a process of its own."""

    def run(*words: str) -> Outcome:
        process = start(*words, stderr=subprocess.PIPE)
        out, err = process.communicate()
        return Outcome(process.returncode, out, " ".join(err.split()))

    return run
