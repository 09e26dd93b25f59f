"""The table of an experiment's runs, in every possible state of a folder."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fixture_types import Call

from roadmap.cli.run_folders import open_run_dir
from roadmap.cli.status import main
from roadmap.config import plan_runs
from roadmap.runs.experiment_status import RunStatus, estimate_seconds_left, format_duration, read_statuses
from roadmap.runs.read_run import Run, State
from roadmap.runs.run_dir import RunDir

RESULTS = {"top1": 40.0, "best_top1": 40.0, "gmacs": 0.1, "parameters": 1000}  # of a finished run


def open_run(output_dir: Path, step: str, seed: int = 0) -> RunDir:
    (planned,) = plan_runs([f"+roadmap={step}", f"seed={seed}", "recipe.epochs=10"], is_sweep=False)
    return open_run_dir(replace(planned, config=replace(planned.config, output_dir=str(output_dir))))


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def change_state(run: RunDir, **values: object) -> None:
    path = run.path / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """One run in each state."""
    steps = ("step0_resnet", "step1_stage_ratio", "step2_patchify", "step3_depthwise", "step4_width")
    done, running, failed, interrupted, gone = (open_run(tmp_path, step) for step in steps)
    for run in (done, running, failed, interrupted, gone):
        run.claim()
        for epoch in (1, 2, 3, 4):
            run.log({"epoch": epoch, "top1": 10.0 * epoch, "seconds": 30.0})
    done.finish(RESULTS)
    failed.fail("the loss is not finite: nan in epoch 5\nand more")
    interrupted.interrupt("stopped by SIGTERM")
    change_state(gone, pid=dead_pid())
    open_run(tmp_path, "step10_fewer_norms").plan()
    unreadable = open_run(tmp_path, "step5_inverted", seed=1)
    unreadable.plan()
    (unreadable.path / "state.json").write_text("{")
    return tmp_path / "micro-digits"


def test_every_state_is_told_in_the_order_of_the_roadmap(experiment: Path) -> None:
    statuses = read_statuses(experiment)
    assert [(status.run.name.partition("_")[0], status.state) for status in statuses] == [
        ("step0", "done"),
        ("step1", "running"),
        ("step2", "failed"),
        ("step3", "interrupted"),
        ("step4", "interrupted"),
        ("step10", "pending"),
        ("step5", "damaged"),
    ]
    running, pending = statuses[1], statuses[5]
    assert (running.epoch, running.run.epochs, running.top1, running.seconds_left) == (4, 10, 40.0, 180.0)
    assert (pending.epoch, pending.top1, pending.seconds_left) == (0, None, None)


def test_the_table_and_the_exit_status(experiment: Path, call: Call) -> None:
    table = call("status", "micro-digits", "--output-dir", experiment.parent, status=1).out
    assert "step1_stage_ratio" in table
    assert "4/10" in table
    assert "3 min" in table
    assert "failed: step2_patchify seed 0: the loss is not finite: nan in epoch 5\n" in table
    assert "7 runs: 1 pending, 1 running, 1 done, 1 failed, 2 interrupted, 1 damaged; about 8 min" in table

    assert "nothing" in call("status", "nothing", "--output-dir", experiment.parent, status=2).err


def test_the_rest_of_a_sweep_is_estimated_from_the_epochs_behind_it() -> None:
    def status(name: str, state: str, epoch: int = 0, epoch_seconds: float | None = None) -> RunStatus:
        run = Run(
            name, 0, name, {}, None, "trial", 0, "micro", "digits", "short", Path("x"), State(state), epochs=10
        )
        return RunStatus(run, epoch=epoch, epoch_seconds=epoch_seconds)

    done, pending = status("step0", "done", 10, 30.0), status("step0", "pending")
    assert estimate_seconds_left([done, pending]) is None  # its start is unknown
    assert estimate_seconds_left([status("step1", "running"), pending]) is None
    running = status("step1", "running", 4, 50.0)
    assert estimate_seconds_left([done, running]) == 300
    assert estimate_seconds_left([done, running, pending]) == 600  # 6 x 50, then 10 x 30
    assert estimate_seconds_left([done, running, running, pending]) == 450
    assert estimate_seconds_left([done, running, status("step2", "pending")]) == 700  # at the mean of 30 and 50
    slow = status("step1", "running", 0, 100.0)
    assert estimate_seconds_left([running, slow]) == 1000  # two at once; the longer one determines the time


def test_without_a_name_the_running_experiment_is_shown(tmp_path: Path, call: Call) -> None:
    run = open_run(tmp_path, "step0_resnet")
    run.claim()
    shutil.copytree(run.path, tmp_path / "done/step0_resnet/seed0")
    (tmp_path / "done/step0_resnet/seed0/state.json").write_text("{}")
    printed = call("status", "--output-dir", tmp_path, status=1).out
    assert printed.startswith(f"micro-digits: the only running experiment in {tmp_path}\n")


def test_a_watch_ends_when_nothing_runs_or_waits(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(tmp_path, "step0_resnet")
    run.claim()
    monkeypatch.setattr("time.sleep", lambda _: run.finish(RESULTS))
    call("status", "micro-digits", "--output-dir", tmp_path, "--watch", "0.1")


@pytest.mark.parametrize(
    ("seconds", "text"), [(45, "45 s"), (89, "89 s"), (120, "2 min"), (3599, "1 h 00 min"), (12000, "3 h 20 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("text", ["-1", "0", "nan", "inf", "1e300", "soon"])
def test_an_impossible_time_between_refreshes_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Even where no run is pending, so that it would not be used."""
    with pytest.raises(SystemExit) as ended:
        main([f"--watch={text}"])
    assert ended.value.code == 2
    allowed = "is no number of seconds" if text == "soon" else "must be above 0 and at most 86400 seconds, a day"
    assert f"argument --watch: {text}" in (error := capsys.readouterr().err)
    assert allowed in error
