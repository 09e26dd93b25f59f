"""One process at a time per run folder; a dead process blocks nobody."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from roadmap.errors import RunError
from roadmap.runs import run_dir as folder
from roadmap.runs.read_run import Run
from roadmap.runs.run_dir import RunDir
from roadmap.system.lock import Lock

ROOT = Path(__file__).parents[2]
OpenRun = Callable[..., RunDir]
CLAIM = """
import sys
from dataclasses import replace
from roadmap.cli.run_folders import open_run_dir
from roadmap.config import plan_runs
(planned,) = plan_runs(["+roadmap=step0_resnet"], is_sweep=False)
open_run_dir(replace(planned, config=replace(planned.config, output_dir=sys.argv[1]))).claim()
print("claimed", flush=True)
sys.stdin.read()
"""


def state_of(run: RunDir) -> Run:
    record = run.state()
    assert record is not None
    return record


@pytest.mark.parametrize("end", ["killed", "ended"])
def test_run_of_a_live_process_cannot_be_claimed(open_run: OpenRun, tmp_path: Path, end: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", CLAIM, str(tmp_path)], cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == b"claimed\n"
        run = open_run()
        before = (run.path / "state.json").read_bytes()
        with pytest.raises(RunError) as caught:
            run.claim()
        assert (run.path / "state.json").read_bytes() == before
        if end == "killed":
            process.kill()
        else:
            process.communicate()
    message = str(caught.value)
    assert f"{run.path} is being trained by process {process.pid} on {socket.gethostname()}" in message
    run.claim()
    assert state_of(run).pid == os.getpid()


def test_error_names_a_process_that_has_just_claimed_the_run(
    open_run: OpenRun,
) -> None:
    """Which has taken the folder, and not yet written its state over the one of the sweep that planned the run."""
    first, second = open_run(), open_run()
    first.plan()
    ready, taken = os.pipe()
    child = os.fork()  # POSIX locks are between processes
    if child == 0:
        Lock(first.path / ".lock").acquire()
        os.write(taken, b"x")
        time.sleep(0.3)
        first.claim()
        time.sleep(60)
        os._exit(1)
    os.read(ready, 1)
    try:
        with pytest.raises(RunError, match=f"is being trained by process {child} on {socket.gethostname()}; wait"):
            second.claim()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_unknown_holder_is_another_process(open_run: OpenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "TRIES", 2)
    monkeypatch.setattr(Lock, "acquire", lambda lock: False)
    with pytest.raises(RunError, match="is being trained by another process; wait for it"):
        open_run().claim()


@pytest.mark.system  # several processes: 4 s
def test_concurrent_claims_are_exclusive(open_run: OpenRun, tmp_path: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-c", CLAIM, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(4)]
    lines = [process.stdout.readline() for process in processes]  # a refused process prints nothing
    for process in processes:
        process.communicate()
    assert sorted(lines) == [b"", b"", b"", b"claimed\n"]
    assert state_of(open_run()).pid == processes[lines.index(b"claimed\n")].pid


def test_starting_run_is_not_marked_as_pending(open_run: OpenRun) -> None:
    """By another sweep, which had looked at the folder before."""
    run, other = open_run(), open_run()
    run.path.mkdir(parents=True)
    lock = Lock(run.path / ".lock")
    assert lock.acquire()
    child = os.fork()  # POSIX locks work between processes
    if child == 0:
        other.plan()
        os._exit(0 if not other.state() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    lock.close()
    other.plan()
    assert state_of(other).state == "pending"
