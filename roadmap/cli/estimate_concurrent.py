"""Combined speed of several runs on one device, to choose how many runs of a sweep to start at once.

A small network leaves most of a GPU, or of several cores, idle; concurrent runs may use it. Each trains in its own
process, as with hydra/launcher=processes, and all are timed over the same interval.
"""

import multiprocessing
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError

import torch

from roadmap.cli.estimate import make_workload, open_shared
from roadmap.config import PlannedRun
from roadmap.errors import first_line
from roadmap.training.device import seed_everything
from roadmap.training.forecast import check_updates
from roadmap.training.profile import NO_LR, SEED, find_bound
from roadmap.training.profile import wait as wait_for_device
from roadmap.training.state import build_train_state
from roadmap.training.step import train_step
from roadmap.training.work import CountedBatches, Work

SECONDS = 5.0  # length of a timing
WARM_UP = 3  # updates
WAIT_EVERY = 20  # updates: a training does not synchronize with the device after each, but the timing must
PATIENCE = 300.0  # seconds for all to be ready
CONTEXT = multiprocessing.get_context("spawn")  # a forked process cannot use a GPU


@dataclass(frozen=True)
class ConcurrentRate:
    """Measurement of several concurrent runs."""

    runs: int
    images_per_s: float | None  # sum over the runs; None if they do not fit
    obstacle: str | None = None  # why they do not fit


def measure_concurrent(
    planned: PlannedRun, counts: Sequence[int], seconds: float = SECONDS
) -> list[ConcurrentRate]:
    """Measure each number of processes that train this run, with the processor's cores shared evenly."""
    threads = torch.get_num_threads()
    return [_measure(planned, count, max(1, threads // count), seconds) for count in counts]


def find_best(measured: Sequence[ConcurrentRate]) -> ConcurrentRate | None:
    """Return the fastest; None if nothing fits."""
    fitting = [one for one in measured if one.images_per_s is not None]
    return max(fitting, key=lambda one: one.images_per_s or 0.0, default=None)


def _measure(planned: PlannedRun, count: int, threads: int, seconds: float) -> ConcurrentRate:
    barrier = CONTEXT.Barrier(count)
    pairs = [CONTEXT.Pipe(duplex=False) for _ in range(count)]
    processes = [CONTEXT.Process(target=_train, args=(planned, threads, seconds, barrier, end)) for _, end in pairs]
    for process, (_, end) in zip(processes, pairs, strict=True):
        process.start()
        end.close()  # so that a dead process is seen as an end of file here
    try:
        answers = [_receive(process, start) for process, (start, _) in zip(processes, pairs, strict=True)]
    finally:
        for process in processes:
            process.terminate()
            process.join()
    return combine(answers)


def combine(answers: Sequence[float | str | None]) -> ConcurrentRate:
    """Combine each process's images per second, error text, or None if it waited for another in vain."""
    rates = [answer for answer in answers if isinstance(answer, float)]
    if len(rates) == len(answers):
        return ConcurrentRate(len(answers), sum(rates))
    obstacle = next((answer for answer in answers if isinstance(answer, str)), None)
    return ConcurrentRate(len(answers), None, obstacle or f"not all are ready within {PATIENCE:.0f} seconds")


def _receive(process: BaseProcess, start: Connection) -> float | str | None:
    """Return what a process sends, or how it ended without sending."""
    if not wait([start], 2 * PATIENCE):
        return None
    try:
        answer: float | str | None = start.recv()
    except EOFError:
        process.join()
        return f"a process ended with status {process.exitcode}"
    return answer


def _train(planned: PlannedRun, threads: int, seconds: float, barrier: Barrier, end: Connection) -> None:
    """Time one run in its own process. Sends images per second, an error, or None if another process failed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C goes to all processes; this one ends silently
    try:
        end.send(_time_updates(planned, threads, seconds, barrier))
    except BrokenBarrierError:
        end.send(None)
    except Exception as error:  # out of memory has many types
        barrier.abort()
        end.send(first_line(error))


def _time_updates(planned: PlannedRun, threads: int, seconds: float, barrier: Barrier) -> float:
    torch.set_num_threads(threads)
    workload, data = make_workload(planned), open_shared(planned.config, {})
    seed_everything(SEED)
    train_state = build_train_state(
        workload.build(), workload.data, workload.recipe, workload.hardware, workload.device, workload.batch_size
    )
    for _ in range(WARM_UP):
        train_step(train_state, next(data.updates), NO_LR)
    wait_for_device(workload.device)
    bound = find_bound(workload, is_update=True)
    barrier.wait(PATIENCE)
    updates, images, loss, started = 0, 0, torch.zeros(()), time.perf_counter()
    while time.perf_counter() - started < seconds:
        batches = CountedBatches(next(data.updates))
        loss = train_step(train_state, batches, NO_LR)
        updates, images = updates + 1, images + batches.images
        if updates % WAIT_EVERY == 0:
            wait_for_device(workload.device)
    wait_for_device(workload.device)
    taken = time.perf_counter() - started
    check_updates(workload, updates, Work(images, loss.item()), taken, bound)
    return updates * workload.recipe.total_batch / taken
