"""One job of a command, in any process: claim the run's folder, train or evaluate, record the end."""

import gc
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from types import ModuleType

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from roadmap.cli import console
from roadmap.cli.console import (
    LOADING,
    OUT,
    Terminal,
    is_done,
    print_line,
    show_defect,
    show_error,
    show_summary,
    warn,
)
from roadmap.cli.launch import planned_of
from roadmap.cli.main_process import DIST_INFO, decide_on_main_process, record_failure
from roadmap.cli.printing import print_anything
from roadmap.cli.processes import (
    ENDED_BY,
    LAUNCHER,
    describe_stop,
    is_launcher_worker,
    is_stopping,
    is_watched,
    run_in_subprocess,
)
from roadmap.cli.run_folders import open_run_dir
from roadmap.config import Mode, PlannedRun, plan_job, use
from roadmap.data.spec import Source
from roadmap.errors import Interrupted, RoadmapError, RunError
from roadmap.runs.evaluations import record_evaluation
from roadmap.runs.run_dir import RunDir

REQUEUE_S = 60  # time for a cluster to requeue the job and end its processes


def run_job(cfg: DictConfig) -> float | None:
    """Run one job; return its top-1 in percent, or None if it is not done.

    Raises:
        RoadmapError: a run that another sweeper than Hydra's own asked for is not done.
    """
    if is_stopping():
        return None
    print_anything()  # also in a launcher's process
    planned = planned_of(cfg)
    is_asked = planned is None  # by a sweeper that waits for the result
    try:
        own = plan_job(cfg) if planned is None else planned
        planned = decide_on_main_process(lambda: own)  # each rank composed it separately, at another time
        with use(planned.search_path), closing(open_run_dir(planned)) as folder:
            if planned.config.mode is Mode.eval:
                return evaluate(planned, folder)
            if HydraConfig.get().runtime.choices["hydra/launcher"] == LAUNCHER and _is_sweep():
                _isolate(planned, folder)
            else:
                with claimed(planned, folder, _retries(planned)) as is_mine:
                    if is_mine:
                        load_run().train(planned.config, folder, terminal(), warn)
            if DIST_INFO.is_main_process and is_done(folder):
                return folder.summary().get("top1")
            if is_asked:
                record = folder.state()
                raise RunError(f"{folder.path} is not done: {(record and record.error) or 'it was stopped'}")
    except RoadmapError as error:
        if str(error) not in console.errors:
            show_error(error)
        if DIST_INFO.world_size > 1:  # other ranks may wait for this one; the launcher ends them
            sys.exit(1)
        if is_asked:
            raise
    except KeyboardInterrupt:
        if not is_launcher_worker():  # there it would end the other processes before they have saved
            raise
    return None


def run_handed(planned: PlannedRun) -> int:
    """Run a sweep's run in the process started for it, and return the exit status."""
    if is_stopping():  # from here on it looks for the sweep's end
        return 0
    try:
        with (
            use(planned.search_path),
            closing(open_run_dir(planned)) as folder,
            claimed(planned, folder, retries=True) as is_mine,
        ):
            if is_mine:
                load_run().train(planned.config, folder, terminal(), warn)
    except RoadmapError as error:
        show_error(error)
    except KeyboardInterrupt as interrupt:
        return ENDED_BY + (interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT)
    return 1 if console.errors else 0


@contextmanager
def claimed(planned: PlannedRun, folder: RunDir, retries: bool) -> Iterator[bool]:
    """Claim a run's folder and record how the run ends in this context.

    Args:
        retries: True to train a failed run again.

    Yields:
        True if the run is to be trained or resumed; False if there is nothing to do, which is printed.

    Raises:
        RoadmapError: the folder cannot be used, or the run failed for a cause that a user can fix.
        KeyboardInterrupt: the run was stopped, and has saved.
    """
    if reason := decide_on_main_process(lambda: _claim(planned, folder, retries)):
        print_line(reason + _describe_result(folder))
        yield False
    else:
        with recorded_end(folder):
            yield True


def terminal() -> Terminal:
    """Return where a run prints its progress: nowhere if its sweep's command shows that of all runs."""
    return Terminal(quiet=True) if is_watched() else OUT


def load_run() -> ModuleType:
    """Import what trains, and say so, since it takes seconds; a sweep's command says it for its processes."""
    is_first = "torch" not in sys.modules
    if is_first and not is_watched():
        print_line(LOADING)
    from roadmap.cli import run

    if is_first:  # or each collection, as at the end of the process, searches all of torch, which takes two seconds
        gc.freeze()
    if is_stopping():  # meanwhile
        raise Interrupted(signal.SIGTERM)
    return run


def _claim(planned: PlannedRun, folder: RunDir, retries: bool) -> str | None:
    """Claim the folder of a run to train, or return why it is not trained."""
    if (reason := _reason_to_skip(planned, folder, retries)) is None:
        folder.claim()
        reason = folder.skip_reason(retries=True)  # another process may have just finished it
    return reason and f"{folder.path}: {reason}"


def _describe_result(folder: RunDir) -> str:
    """Return the top-1 of a finished run, to follow the reason why it is not trained."""
    top1 = folder.summary().get("top1") if is_done(folder) else None
    return "" if top1 is None else f": top-1 {top1:.2f}"


def _reason_to_skip(planned: PlannedRun, folder: RunDir, retries: bool) -> str | None:
    """Return why a run is not trained; raise RunError for a finished run on other images or from other weights."""
    reason, config = folder.skip_reason(retries), planned.config
    if reason and (config.data.source is not Source.digits or config.init_from):  # may have changed since
        load_run()
        from roadmap.cli.same_inputs import check_same_images, check_same_weights

        check_same_weights(config, folder)
        check_same_images(config, folder)
    return reason


def _isolate(planned: PlannedRun, folder: RunDir) -> None:
    """Train a run in a process of its own."""
    if reason := _reason_to_skip(planned, folder, _retries(planned)):
        print_line(f"{folder.path}: {reason}{_describe_result(folder)}")
    elif error := run_in_subprocess(planned, folder, warn):
        raise RunError(f"{folder.path}: {error}")


def _retries(planned: PlannedRun) -> bool:
    """Return True if failed runs are retried; a command with a single run always does."""
    return planned.config.retry_failed or not _is_sweep()


def _is_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


@contextmanager
def recorded_end(folder: RunDir) -> Iterator[None]:
    """Record and print how a training in a claimed folder ends; a defect is recorded and not raised."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if DIST_INFO.is_main_process and not is_done(folder):
            folder.interrupt(describe_stop(str(interrupt) or "stopped by SIGINT"))
        if isinstance(interrupt, Interrupted) and interrupt.outer is not None:
            interrupt.outer(interrupt.number, None)  # a cluster launcher's, which requeues the job
            if not DIST_INFO.is_main_process:
                time.sleep(REQUEUE_S)  # its end would end rank 0 before rank 0 has requeued the job
        raise
    except RoadmapError as error:
        record_failure(folder, error, str(error))
        raise
    except Exception as error:  # a bug, ours or a library's: the sweep continues, with the traceback printed
        record_failure(folder, error, f"{type(error).__name__}: {error}")
        trace = show_defect(error)
        if DIST_INFO.world_size > 1:
            sys.exit(f"process {DIST_INFO.rank} of {DIST_INFO.world_size}: {trace}")
    else:
        if DIST_INFO.is_main_process:
            show_summary(folder.summary(), folder)


def evaluate(planned: PlannedRun, folder: RunDir) -> float | None:
    """Evaluate weights, and print and record the results; return top-1 in percent on the main process."""
    run = load_run()
    from roadmap.model.weight_files import Kind

    evaluations = run.evaluate_weights(planned.config, warn)
    if not DIST_INFO.is_main_process:
        return None
    kind, evaluation = next(iter(evaluations.items()))
    average = evaluations.get(Kind.averaged) if kind is Kind.raw else None
    print_line(
        f"{folder.identity.name} with {planned.config.init_from} on {evaluation.images:,} images of "
        f"{planned.config.data.name}: top-1 {evaluation.top1:.2f}  top-5 {evaluation.top5:.2f}  "
        f"loss {evaluation.loss:.4f}"
        + (" (of the averaged weights)" if kind is Kind.averaged else "")
        + ("" if average is None else f"; of the averaged weights top-1 {average.top1:.2f}")
    )
    record_evaluation(
        folder,
        {
            "init_from": planned.config.init_from,
            "weights": kind,
            **asdict(evaluation),
            **({} if average is None else {"ema_top1": average.top1}),
        },
    )
    return evaluation.top1
