"""A run is under way only while the very process that its state names runs: host, pid and start together."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from roadmap.runs import process
from roadmap.runs.experiment_status import read_statuses
from roadmap.runs.process import describe_process, find_start_time, is_alive
from roadmap.runs.read_run import GONE, State
from roadmap.runs.run_dir import RunDir

OpenRun = Callable[..., RunDir]  # see conftest.py
HOST = socket.gethostname()
START = find_start_time(os.getpid())


def test_this_process_is_alive_with_a_start_time() -> None:
    assert describe_process() == {"host": HOST, "pid": os.getpid(), "process_start": START}
    assert find_start_time(os.getpid()) == START
    assert is_alive(HOST, os.getpid(), START)


@pytest.mark.parametrize(
    ("host", "pid", "start", "alive"),
    [
        (HOST, os.getpid(), None, True),
        (HOST, os.getpid(), "an earlier boot 5", False),
        (HOST, os.getpid(), "", False),
        (HOST, 2**70, None, False),
        ("elsewhere", os.getpid(), START, None),
    ],
    ids=["no start time", "reused pid", "empty start time", "impossible pid", "unknown host"],  # a pid is no name
)
def test_process_is_alive_under_its_pid_and_start_time(
    host: str, pid: int, start: str | None, alive: bool | None
) -> None:
    assert is_alive(host, pid, start) is alive


@pytest.mark.parametrize("is_reaped", [True, False])
def test_zombie_is_not_alive(is_reaped: bool) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as child:
        start = find_start_time(child.pid)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        if is_reaped:
            child.wait()
        assert is_alive(HOST, child.pid, start) is False


def test_ps_reports_the_start_time_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.sys, "platform", "darwin")
    start = find_start_time(os.getpid())
    assert start is not None
    assert len(start.split()) == 5  # such as Sat Nov 28 22:24:51 2026
    assert find_start_time(2**22) is None


def test_run_with_a_reused_pid_is_marked_interrupted(open_run: OpenRun) -> None:
    run = open_run()
    run.claim()
    run.close()
    path = run.path / "state.json"
    assert START is not None
    path.write_text(path.read_text().replace(START, "an earlier boot 5"))
    (entry,) = read_statuses(run.path.parents[1])
    assert (entry.state, entry.remark) == ("interrupted", GONE)
    assert open_run().mark_ended(State.interrupted, "its process is gone")
    (entry,) = read_statuses(run.path.parents[1])
    assert (entry.state, entry.remark) == ("interrupted", "its process is gone")


def test_live_run_keeps_its_state(open_run: OpenRun) -> None:
    run = open_run()
    run.claim()
    before = (run.path / "state.json").read_bytes()
    assert not open_run().mark_ended(State.failed, "its process is gone")
    assert (run.path / "state.json").read_bytes() == before
