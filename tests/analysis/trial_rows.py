"""The experiment `trial`, whose run folders the fixture `write_run` writes below tmp_path, read as rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from roadmap.analysis.read_runs import read_runs
from roadmap.analysis.results import Row, aggregate
from roadmap.runs.read_run import Run, State

Write = Callable[..., Any]  # of the fixtures in conftest.py
RUN = Run("step0_resnet", 0, "ResNet", {}, None, "x", 0, "micro", "digits", "short", Path("x"), State.done)


def rows_of(tmp_path: Path, experiment: str = "trial") -> list[Row]:
    return aggregate(read_runs(tmp_path / experiment))
