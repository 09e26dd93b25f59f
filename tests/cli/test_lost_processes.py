"""A killed process of a launcher ends its whole pool: queued runs start in another, the others go on alone."""

from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from roadmap.cli import console as terminal
from roadmap.cli.launch import HandedJob, launch_jobs
from roadmap.cli.run_folders import open_run_dir
from roadmap.config import Command, plan_command

RESULTS = {"top1": 50.0, "best_top1": 50.0, "gmacs": 0.1, "parameters": 1000}  # of a finished run


class Pool(Launcher):
    """Two runs at a time; the run of seed 1 kills its process whenever it is trained."""

    def __init__(self, command: Command) -> None:
        self.by_words = {" ".join(job.overrides): job.planned for job in command.jobs}
        self.launched: list[list[int]] = []

    def setup(self, **_: object) -> None: ...

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        runs = [self.by_words[overrides] for (overrides,) in job_overrides]
        assert all(isinstance(overrides, HandedJob) for (overrides,) in job_overrides)
        self.launched.append([run.config.seed for run in runs])
        for pair in (runs[start : start + 2] for start in range(0, len(runs), 2)):
            folders = [open_run_dir(run) for run in pair]
            for folder in folders:
                folder.claim()
            if any(run.config.seed == 1 for run in pair):
                for folder in folders:
                    folder.close()
                raise BrokenProcessPool("killed")
            for folder in folders:
                folder.finish(RESULTS)
                folder.close()
        return [JobReturn(status=JobStatus.COMPLETED) for _ in runs]


def test_only_the_run_that_ends_its_process_is_not_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.forget()
    asked = plan_command(["seed=range(5)", f"output_dir={tmp_path}"], is_sweep=True)
    pool = Pool(asked)
    launch_jobs(pool, asked.jobs, 0)
    assert pool.launched == [[0, 1, 2, 3, 4], [2, 3, 4], [0], [1]]
    records = [open_run_dir(job.planned).state() for job in asked.jobs]
    states = [record and record.state for record in records]
    assert states == ["done", "interrupted", "done", "done", "done"]
    text = " ".join(capsys.readouterr().err.split())
    assert (
        "a process of the launcher was killed, and with it resnet seed 0, resnet seed 1; they go on alone" in text
    )
    assert "error: resnet seed 1: its process was killed" in text
