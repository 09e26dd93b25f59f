"""Errors for dataloader workers that died: killed from outside, out of memory, or crashed."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from torch.utils.data import DataLoader

from roadmap.errors import DataError, RoadmapError, WorkerLostError, WorkerMemoryError, first_line
from roadmap.system.machine import CRASHES, MemoryKills, name_signal

HINT = "Fewer workers (hardware.workers=N) need less, and 0 reads in this process"
NO_MEMORY = (  # raised by torch and Python in a worker
    "Caught MemoryError in DataLoader worker",
    "unable to allocate shared memory",
    "unable to write to file </torch_",
)
EXIT_CODE_TIMEOUT_S = 0.5  # a pipe breaks shortly before the exit code is available

_watched: "WeakKeyDictionary[DataLoader[Any], MemoryKills]" = WeakKeyDictionary()
_pin_errors: list[BaseException] = []


def watch_workers(loader: DataLoader[Any]) -> None:
    """Register the loader's workers for `explain_worker_errors`."""
    if loader.num_workers:
        _watched[loader] = MemoryKills()
    if loader.pin_memory:
        _hold_pin_errors()


@contextmanager
def explain_worker_errors() -> Iterator[None]:
    """Raise the cause instead of torch's internal error if a worker died; its SIGCHLD handler raises at any line.

    Raises:
        WorkerLostError: the worker was killed from outside.
        WorkerMemoryError: the worker ran out of memory.
        DataError: the worker crashed.
    """
    try:
        yield
    except RoadmapError:
        raise
    except Exception as error:  # a pipe that breaks at any byte raises errors of many types
        ended = _explain(error)
        if ended is None:
            if _pin_errors and "Pin memory thread" in str(error):
                raise error from _pin_errors.pop()
            raise
        raise ended from error


def _explain(error: Exception) -> DataError | None:
    workers = max((loader.num_workers for loader in _watched), default=0)
    if any(text in str(error) for text in NO_MEMORY):
        cause = str(error).strip().splitlines()[-1].strip()
        return WorkerMemoryError(f"a dataloader worker ran out of memory ({cause}). {HINT}", workers)
    loader, status = _find_dead_worker()
    if loader is None:
        return None
    kills = _watched.pop(loader)
    if status > 0:
        return DataError(f"a dataloader worker ended with status {status}: {first_line(error)}")
    number = -status
    if number == signal.SIGBUS:
        return WorkerMemoryError(
            f"a dataloader worker was killed for lack of shared memory (/dev/shm). {HINT}", workers
        )
    if number == signal.SIGKILL and kills.happened():
        return WorkerMemoryError(f"a dataloader worker was killed for lack of memory. {HINT}", workers)
    if number in CRASHES:
        return DataError(f"a dataloader worker crashed ({name_signal(number)}). {HINT}")
    hint = f", often because memory ran out. {HINT}" if kills.happened() is None else ""
    return WorkerLostError(
        f"a dataloader worker was killed from outside ({name_signal(number)}){hint}. Run the same command again to "
        "resume"
    )


def _find_dead_worker() -> tuple[DataLoader[Any] | None, int]:
    """Return the loader of a dead worker and the exit code, once it is available."""
    end = time.monotonic() + EXIT_CODE_TIMEOUT_S
    while _watched:
        for loader in list(_watched):
            for worker in getattr(getattr(loader, "_iterator", None), "_workers", ()):
                if worker.exitcode:
                    return loader, worker.exitcode
        if time.monotonic() > end:
            break
        time.sleep(0.02)
    return None, 0


@cache
def _hold_pin_errors() -> None:
    """Keep the error of torch's pin-memory thread, for the error that the process raises after it."""
    outer = threading.excepthook

    def hold(args: Any) -> None:
        if args.thread is not None and "_pin_memory_loop" in args.thread.name and args.exc_value is not None:
            _pin_errors[:] = [args.exc_value]
        else:
            outer(args)

    threading.excepthook = hold
