"""One process at a time per run folder; a dead process blocks nobody."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

import pytest

from roadmap.errors import RunError
from roadmap.runs import run_dir as folder
from roadmap.runs.read_run import Run
from roadmap.runs.run_dir import RunDir
from roadmap.system.lock import Lock

FORK = multiprocessing.get_context("fork")
OpenRun = Callable[..., RunDir]


def state_of(run: RunDir) -> Run:
    record = run.state()
    assert record is not None
    return record


@contextmanager
def another_process(begin: Callable[[], object], go_on: Callable[[], object] = int) -> Iterator[BaseProcess]:
    """Yield a process that has begun, goes on, and waits to be killed: POSIX locks are between processes."""
    has_begun = FORK.Event()

    def work() -> None:
        begin()
        has_begun.set()
        go_on()
        time.sleep(60)

    process = FORK.Process(target=work)
    process.start()
    assert has_begun.wait(10)
    try:
        yield process
    finally:
        process.kill()
        process.join()


def test_run_of_a_live_process_cannot_be_claimed(open_run: OpenRun) -> None:
    run = open_run()
    with another_process(run.claim) as process:
        before = (run.path / "state.json").read_bytes()
        with pytest.raises(RunError) as caught:
            run.claim()
        assert (run.path / "state.json").read_bytes() == before
    message = str(caught.value)
    assert f"{run.path} is being trained by process {process.pid} on {socket.gethostname()}" in message
    run.claim()
    assert state_of(run).pid == os.getpid()


def test_error_names_a_process_that_has_just_claimed_the_run(open_run: OpenRun) -> None:
    """Which has taken the folder, and not yet written its state over the one of the sweep that planned the run."""
    first, second = open_run(), open_run()
    first.plan()

    def claim_later() -> None:
        time.sleep(0.3)
        first.claim()

    with another_process(lambda: Lock(first.path / ".lock").acquire(), go_on=claim_later) as process:
        match = f"is being trained by process {process.pid} on {socket.gethostname()}; wait"
        with pytest.raises(RunError, match=match):
            second.claim()


def test_unknown_holder_is_another_process(open_run: OpenRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "TRIES", 2)
    monkeypatch.setattr(Lock, "acquire", lambda lock: False)
    with pytest.raises(RunError, match="is being trained by another process; wait for it"):
        open_run().claim()


def test_concurrent_claims_are_exclusive(open_run: OpenRun) -> None:
    run, outcomes, all_ready, all_tried = open_run(), FORK.SimpleQueue(), FORK.Barrier(4), FORK.Event()

    def claim() -> None:
        all_ready.wait()
        try:
            run.claim()
        except RunError:
            outcomes.put(None)
        else:
            outcomes.put(os.getpid())
        all_tried.wait()

    processes = [FORK.Process(target=claim) for _ in range(4)]
    for process in processes:
        process.start()
    (holder,) = {outcomes.get() for _ in processes} - {None}
    assert state_of(run).pid == holder
    all_tried.set()
    for process in processes:
        process.join()


def test_starting_run_is_not_marked_as_pending(open_run: OpenRun) -> None:
    """By another sweep, which had looked at the folder before."""
    run, other = open_run(), open_run()
    run.path.mkdir(parents=True)
    with another_process(lambda: Lock(run.path / ".lock").acquire()):
        other.plan()
        assert not other.state()
    other.plan()
    assert state_of(other).state == "pending"
