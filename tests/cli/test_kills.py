"""Runs that are killed, and the same command started again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Results = Callable[[Path], Any]  # see tests/conftest.py
Start = Callable[..., subprocess.Popen[str]]  # see conftest.py, as Run
Run = Callable[..., Any]
SMALL = (
    "recipe.epochs=2",
    "recipe.warmup_epochs=0",
    "recipe.total_batch=128",
    "regime.width.modern=8",
    "regime.width.resnet=8",
    "hardware.checkpoint_minutes=0",  # a checkpoint after each update, so that many kills hit one
)
SWEEP = ("-m", "+roadmap=step0_resnet,step12_downsample", *SMALL)
KILLS = 10
PATIENCE = 120  # seconds


def wait_for(seen: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    """Return False if the process ended first."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None:
        if seen():
            return True
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)  # writing a checkpoint takes longer
    return False


def written_since(start: float, pattern: str, output_dir: Path) -> bool:
    def is_new(path: Path) -> bool:
        try:
            return path.stat().st_mtime > start
        except FileNotFoundError:  # renamed in between
            return False

    return any(is_new(path) for path in output_dir.rglob(pattern))


def all_results(output_dir: Path, read_results: Results) -> dict[str, Any]:
    return {str(path.parent.relative_to(output_dir)): read_results(path.parent) for path in _summaries(output_dir)}


def _summaries(output_dir: Path) -> list[Path]:
    return sorted(output_dir.rglob("summary.json"))


@pytest.mark.system  # three starts: the shortest proof that a killed process leaves enough behind
def test_a_killed_run_goes_on_and_ends_as_if_it_was_not(
    start: Start, run: Run, tmp_path: Path, read_results: Results
) -> None:
    overrides = ("+roadmap=step12_downsample", *SMALL)
    place = Path("micro-digits/step12_downsample/seed0")
    process = start(*overrides, f"output_dir={tmp_path / 'killed'}")
    assert wait_for((tmp_path / "killed" / place / "checkpoint.previous.pt").exists, process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "killed" / place / "summary.json").exists()
    assert run(*overrides, f"output_dir={tmp_path / 'killed'}").status == 0
    assert run(*overrides, f"output_dir={tmp_path / 'whole'}").status == 0
    assert read_results(tmp_path / "killed" / place) == read_results(tmp_path / "whole" / place)


@pytest.mark.system  # over ten starts: minutes
def test_a_sweep_that_is_killed_ten_times_ends_as_if_it_was_not(
    start: Start, run: Run, tmp_path: Path, read_results: Results
) -> None:
    """In turn at the start, while a checkpoint is written, and between two checkpoints."""
    assert run(*SWEEP, f"output_dir={tmp_path / 'whole'}").status == 0
    expected = all_results(tmp_path / "whole", read_results)
    assert len(expected) == 2

    seed = int(os.environ.get("KILL_SEED", random.randrange(2**32)))
    print(f"random seed {seed}, which KILL_SEED sets")
    generator = random.Random(seed)
    kills = sweeps = in_writing = 0
    while kills < KILLS:
        sweeps += 1
        output_dir = tmp_path / f"sweep{sweeps}"
        while kill_sometime(start(*SWEEP, f"output_dir={output_dir}"), kills, output_dir, generator):
            kills += 1
            in_writing += any(output_dir.rglob("*.pt.new"))
        assert all_results(output_dir, read_results) == expected
    print(f"{kills} kills in {sweeps} sweeps, {in_writing} while a checkpoint was written")


def kill_sometime(process: subprocess.Popen[str], number: int, output_dir: Path, generator: random.Random) -> bool:
    """Return False if the process had finished before."""
    started = time.time()
    if number % 4 == 3:
        time.sleep(generator.uniform(0, 3))
    elif number % 4 == 1:
        wait_for(lambda: written_since(started, "*.pt.new", output_dir), process)
    else:
        wait_for(lambda: written_since(started, "checkpoint.pt", output_dir), process)
        time.sleep(generator.uniform(0, 1))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


@pytest.mark.system  # four starts
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGINT, 130)])
def test_a_signal_is_told_by_state_and_exit_status(
    start: Start, sent: signal.Signals, status: int, tmp_path: Path
) -> None:
    overrides = ("+roadmap=step12_downsample", *SMALL, "recipe.epochs=50", f"output_dir={tmp_path}")
    process = start(*overrides)
    folder = tmp_path / "micro-digits/step12_downsample/seed0"
    assert wait_for((folder / "checkpoint.pt").exists, process)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert f"stopped by {sent.name}; run the same command again to go on from the last checkpoint" in output
    state = json.loads((folder / "state.json").read_text())
    assert (state["state"], state["error"]) == ("interrupted", f"stopped by {sent.name}")


@pytest.mark.system  # three starts
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_leaves_those_that_read_images_to_the_one_that_trains(
    start: Start, run: Run, sent: signal.Signals, tmp_path: Path, read_results: Results
) -> None:
    """As sent by a terminal on Ctrl-C, and by SLURM."""
    overrides = ("+roadmap=step12_downsample", *SMALL, "hardware.workers=2", "hardware.resident=false")
    place = Path("micro-digits/step12_downsample/seed0")
    process = start(*overrides, f"output_dir={tmp_path / 'stopped'}")
    assert wait_for((tmp_path / "stopped" / place / "checkpoint.previous.pt").exists, process)
    os.killpg(process.pid, sent)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + sent, output
    assert "Traceback" not in output
    state = json.loads((tmp_path / "stopped" / place / "state.json").read_text())
    assert (state["state"], state["error"]) == ("interrupted", f"stopped by {sent.name}")
    for name in ("stopped", "whole"):
        done = run(*overrides, f"output_dir={tmp_path / name}")
        assert done.status == 0, done.err
    assert read_results(tmp_path / "stopped" / place) == read_results(tmp_path / "whole" / place)


@pytest.mark.system  # a sweep in a separate process
def test_a_sweep_goes_on_when_nobody_reads_what_it_says(start: Start, tmp_path: Path) -> None:
    """As in `train.py ... | head -1`."""
    overrides = ("-m", "+roadmap=step0_resnet,step12_downsample", *SMALL, f"output_dir={tmp_path}")
    process = start(*overrides)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()  # stderr's, too
    assert process.wait() == 0
    assert len(_summaries(tmp_path)) == 2


def test_ctrl_c_ends_a_plan_without_a_trace() -> None:
    process = subprocess.Popen(
        [sys.executable, "scripts/plan_roadmap.py", "-m", "+sweep=roadmap"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, first, rest) == (130, "+sweep=roadmap: every step: 13 distinct networks\n", "")


@pytest.mark.system  # two starts at once
def test_of_two_that_start_a_run_at_once_one_says_so_and_goes_on(start: Start, tmp_path: Path) -> None:
    overrides = ("-m", "+roadmap=step0_resnet,step12_downsample", *SMALL, f"output_dir={tmp_path}")
    pair = [start(*overrides), start(*overrides)]
    outputs = [process.communicate()[0] for process in pair]
    assert len(_summaries(tmp_path)) == 2
    assert all(json.loads(path.read_text())["epochs"] == 2 for path in _summaries(tmp_path))
    for output in outputs:  # each run was trained by one process and skipped by the other
        assert output.count("top-1 ") + output.count("is being trained by") + output.count("done already") >= 2
    trained = [output.count("seed 0: top-1 ") for output in outputs]
    assert sum(trained) == 2
