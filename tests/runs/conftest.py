"""Fixtures: a run's configuration and folder, without a training."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from roadmap.cli.run_folders import open_run_dir
from roadmap.config import plan_runs
from roadmap.runs.run_dir import RunDir

OpenRun = Callable[..., RunDir]


@pytest.fixture(scope="session")
def config() -> dict[str, Any]:
    """A resolved configuration, as dictionaries."""
    (planned,) = plan_runs(["+roadmap=step7_kernel", "model/kernel_size=9", "seed=3"], is_sweep=False)
    return asdict(planned.config)


@pytest.fixture
def open_run(tmp_path: Path) -> OpenRun:
    """Open the folder of a run under tmp_path: of step 0, if no other is named, with the overrides."""

    def open_run(*words: str) -> RunDir:
        network = [] if any(word.startswith("+") for word in words) else ["+roadmap=step0_resnet"]
        (planned,) = plan_runs([*network, *words], is_sweep=False)
        return open_run_dir(replace(planned, config=replace(planned.config, output_dir=str(tmp_path))))

    return open_run
