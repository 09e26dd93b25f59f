"""Decisions of a process group: rank 0 decides and records, and the other ranks follow."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from roadmap.cli.console import show_error
from roadmap.errors import Interrupted, ResumableError, RoadmapError
from roadmap.runs.run_dir import RunDir
from roadmap.system.rank import get_dist_info_or_default

T = TypeVar("T")

DIST_INFO = get_dist_info_or_default()


def decide_on_main_process(decide: Callable[[], T]) -> T:
    """Return rank 0's decision in all ranks, or raise its RoadmapError in all."""
    if DIST_INFO.world_size == 1:
        return decide()
    from roadmap.training.distributed import join_group

    answer: T | RoadmapError | None = None
    if DIST_INFO.is_main_process:
        try:
            answer = decide()
        except RoadmapError as error:
            answer = error
    shared: T | RoadmapError = join_group().broadcast(answer)
    if isinstance(shared, RoadmapError):
        raise shared
    return shared


def leave_group() -> None:
    """Leave the process group, if this process joined one; call it when nothing that trained is referenced."""
    if DIST_INFO.world_size > 1 and "roadmap.training.distributed" in sys.modules:
        from roadmap.training.distributed import leave_group

        leave_group()


def record_failure(folder: RunDir, error: Exception, text: str) -> None:
    """Mark the run as failed, or as interrupted if the same command resumes it after such an error.

    In a process group rank 0 does this; the other ranks send it their errors.

    Raises:
        RunError, ResumableError: on rank 0, if another rank's error is the cause.
        Interrupted: on rank 0, if another rank died without an error, for example because it was killed.
    """
    if DIST_INFO.world_size == 1:
        _record(folder, error, text)
        return
    from roadmap.training.distributed import join_group

    group = join_group()
    if not DIST_INFO.is_main_process:
        if not group.is_peer_failure(error):  # otherwise another rank reports the cause
            group.report_error(text, error)
        return
    with _without_stops():
        if not group.is_peer_failure(error):
            _record(folder, error, text)
        elif cause := group.peer_error():
            show_error(cause)
            _record(folder, cause, str(cause))
            raise cause from error
        else:
            interrupted = Interrupted(signal.SIGTERM)
            folder.interrupt("another process of the group is gone")
            raise interrupted from error


@contextmanager
def _without_stops() -> Iterator[None]:
    """Ignore SIGTERM: a launcher ends this process soon after the other one, and the cause is to be recorded."""
    outer = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if outer is None else outer)  # None: not Python's


def _record(folder: RunDir, error: Exception, text: str) -> None:
    if isinstance(error, ResumableError):
        folder.interrupt(text)
    else:
        folder.fail(text)
