"""One process at a time per run folder; a dead process blocks nobody."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from roadmap.errors import RunError
from roadmap.lock import Lock
from roadmap.runs.folder import RunFolder

ROOT = Path(__file__).parents[2]
OpenRun = Callable[..., RunFolder]
CLAIM = """
import sys
from dataclasses import replace
from roadmap.command import open_folder
from roadmap.config import plan_runs
(planned,) = plan_runs(["+roadmap=step0_resnet"], is_sweep=False)
open_folder(replace(planned, config=replace(planned.config, output_dir=sys.argv[1]))).claim()
print("claimed", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["killed", "ended"])
def test_a_run_that_another_process_trains_is_refused_until_that_is_gone(
    open_run: OpenRun, tmp_path: Path, end: str
) -> None:
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
    assert run.state()["pid"] == os.getpid()


def test_processes_that_claim_a_run_at_once_get_it_one_at_a_time(open_run: OpenRun, tmp_path: Path) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-c", CLAIM, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(4)]
    lines = [process.stdout.readline() for process in processes]  # a refused process prints nothing
    for process in processes:
        process.communicate()
    assert sorted(lines) == [b"", b"", b"", b"claimed\n"]
    assert open_run().state()["pid"] == processes[lines.index(b"claimed\n")].pid


def test_a_run_that_begins_is_not_marked_as_pending(open_run: OpenRun) -> None:
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
    assert other.state()["state"] == "pending"
