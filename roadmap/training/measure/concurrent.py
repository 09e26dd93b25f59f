"""Total throughput of several concurrent runs on one device, to choose how many runs of a sweep to start at once.

A small network leaves most of a GPU, or of several cores, idle. Each run trains in its own process, as with
hydra/launcher=processes, and all are timed over the same interval.
"""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError

import torch

from roadmap.errors import MeasurementError, first_line
from roadmap.training.measure.images import open_data
from roadmap.training.measure.speed import run_updates
from roadmap.training.measure.workload import Workload

SECONDS = 5.0  # of one timing
WARM_UP = 3  # updates
READY_TIMEOUT = 300.0  # seconds
CONTEXT = multiprocessing.get_context("spawn")  # a forked process cannot use a GPU

barrier: Barrier  # of the runs, set in each process of the pool


@dataclass(frozen=True)
class ConcurrentRate:
    runs: int
    images_per_s: float | None  # sum over the runs; None if they do not fit
    obstacle: str | None = None  # why they do not fit


def measure_concurrent(
    workload: Workload, counts: Sequence[int], seconds: float = SECONDS, prepare: Callable[[], object] | None = None
) -> list[ConcurrentRate]:
    """Measure each number of processes that train this network, with the processor's cores shared evenly.

    `prepare` is called first in each process, to import what the workload needs.
    """
    threads = torch.get_num_threads()
    measured = []
    for count in counts:  # the runs wait for each other, so the pool starts a process for each
        setup = (CONTEXT.Barrier(count), max(1, threads // count), prepare)
        with ProcessPoolExecutor(count, mp_context=CONTEXT, initializer=_set_up_process, initargs=setup) as pool:
            futures = [pool.submit(time_run_updates, workload, seconds) for _ in range(count)]
            measured.append(combine([future.exception() or future.result() for future in futures]))
    return measured


def find_best(measured: Sequence[ConcurrentRate]) -> ConcurrentRate | None:
    """Return the fastest; None if nothing fits."""
    fitting = [rate for rate in measured if rate.images_per_s is not None]
    return max(fitting, key=lambda rate: rate.images_per_s or 0.0, default=None)


def _set_up_process(shared: Barrier, threads: int, prepare: Callable[[], object] | None) -> None:
    global barrier
    barrier = shared
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all processes; this one exits silently
    torch.set_num_threads(threads)
    if prepare is not None:
        prepare()


def time_run_updates(workload: Workload, seconds: float) -> float:
    """Return the images per second of one run, in its own process.

    Raises:
        BrokenBarrierError: another run failed, or is not ready in time.
        MeasurementError: this run failed, so that the others need not wait for it.
    """
    try:
        data = open_data(workload, {})
        train_state = workload.start()
        run_updates(workload, train_state, data.updates, WARM_UP)
        barrier.wait(READY_TIMEOUT)
        updates, taken = run_updates(workload, train_state, data.updates, 1, at_least=seconds)
    except BrokenBarrierError:
        raise
    except Exception as error:  # out of memory has many types, and not all can be sent to another process
        barrier.abort()
        raise MeasurementError(first_line(error)) from None
    return updates * workload.batch_size * workload.accumulation / taken


def combine(answers: Sequence[float | BaseException]) -> ConcurrentRate:
    """Combine the runs' images per second and errors; a broken barrier only means that another run failed."""
    errors = [answer for answer in answers if isinstance(answer, BaseException)]
    if not errors:
        return ConcurrentRate(len(answers), sum(answer for answer in answers if isinstance(answer, float)))
    causes = [first_line(error) for error in errors if not isinstance(error, BrokenBarrierError)]
    late = f"not all are ready within {READY_TIMEOUT:.0f} seconds"
    return ConcurrentRate(len(answers), None, next(iter(causes), late))
