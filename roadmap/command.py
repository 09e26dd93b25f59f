"""`train.py`: check every run of a command, train each, and report on all of them.

A run's error is printed and recorded in its folder, but not raised, so that a sweep continues.
"""

import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from roadmap import terminal
from roadmap.config import Mode, PlannedRun, Sweep, advise, plan_run, plan_runs, prepare_overrides, read_sweep
from roadmap.errors import Interrupted, RoadmapError, RunError
from roadmap.isolation import (
    ENDED_BY,
    IN_SWEEP,
    LAUNCHER,
    find_gpus,
    is_launchers,
    is_stopping,
    run_isolated,
    stop_side_by_side,
)
from roadmap.runs.files import check_room, make_folder
from roadmap.runs.folder import Identity, RunFolder
from roadmap.runs.neighbours import check_places, describe_other_settings
from roadmap.sweep import expand
from roadmap.terminal import ERR, OUT, is_done, report_sweep, say, show_error, show_summary, warn
from roadmap.together import PLACE, decide_together, record_failure

HYDRA_ANSWERS = ("help", "hydra_help", "cfg", "info", "shell_completion")  # Hydra's own flags, which train nothing
SIDE_BY_SIDE = ("joblib", LAUNCHER)  # launchers that run in child processes
REQUEUE_S = 60  # time for a cluster to requeue the job and end its processes


def main(hydra_app: Callable[[], Any]) -> int:
    """Run the command line in `sys.argv`; the exit status is 0 only if all of its runs are done."""
    terminal.forget()
    sys.argv[1:] = prepare_overrides(sys.argv[1:])
    arguments = get_args_parser().parse_args()
    if any(getattr(arguments, name) for name in HYDRA_ANSWERS):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # for `train.py --help | head`
        hydra_app()
        return 0
    try:
        sweep = read_sweep(arguments.overrides, arguments.multirun)
        words = expand(sweep) if sweep else arguments.overrides
        plan = plan_runs(words, arguments.multirun)
        folders = [open_folder(planned) for planned in plan]
        check_places(_folders_of(Mode.train, plan, folders))
        for experiment in {folder.path.parents[1] for folder in folders}:
            make_folder(experiment)
            if arguments.multirun:  # Hydra starts with writing a file, and reports a full disk by a traceback
                check_room(experiment)
    except RoadmapError as error:
        show_error(error)
        return 1
    except KeyboardInterrupt:  # nothing has started
        return ENDED_BY + signal.SIGINT
    if IN_SWEEP not in os.environ:
        _advise_on_all(plan)
        for text in describe_other_settings(_folders_of(Mode.train, plan, folders)):
            warn(text)
    launcher = _find_launcher(arguments.overrides)
    if launcher == LAUNCHER and (gpus := len(find_gpus())) > 1:  # one run per GPU; a user's own number wins
        words = [f"hydra.launcher.n_jobs={gpus}", *words]
    # Hydra does not know `+sweep=`, so pass its expansion.
    sys.argv[1:] = [*(word for word in sys.argv[1:] if word not in arguments.overrides), *words]
    if sweep:
        _say_cost(sweep, arguments.overrides, _folders_of(Mode.train, plan, folders))
    if arguments.multirun and PLACE.is_first:
        _mark_pending(_folders_of(Mode.train, plan, folders))
        _say_where(arguments.overrides, folders)
    return _run_all(hydra_app, plan, folders, arguments.multirun, launcher)


def _run_all(
    hydra_app: Callable[[], Any],
    plan: Sequence[PlannedRun],
    folders: Sequence[RunFolder],
    is_sweep: bool,
    launcher: str | None,
) -> int:
    """Run all jobs, report on them, and return the exit status."""
    trained, evaluated = (_folders_of(mode, plan, folders) for mode in (Mode.train, Mode.eval))
    expected = _count_evaluations(evaluated) + len(evaluated)
    try:
        with ExitStack() as stack:
            noted = stack.enter_context(stop_side_by_side()) if launcher in SIDE_BY_SIDE else []
            hydra_app()
        if noted:
            raise Interrupted(noted[0])
    except KeyboardInterrupt as interrupt:
        number = interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT
        ERR.print(f"stopped by {number.name}; run the same command again to go on from the last checkpoint")
        return ENDED_BY + number
    finally:
        _leave_group()
        _remove_empty_folders(folders)
    if not PLACE.is_first:
        return 1 if terminal.errors else 0
    if is_sweep and trained:
        report_sweep(trained, {planned.config.data.note for planned in plan})
    # Files cover every run; `terminal.errors` only those in this process, while a launcher may have others.
    is_complete = _count_evaluations(evaluated) == expected and all(is_done(folder) for folder in trained)
    return 0 if is_complete and not terminal.errors else 1


def _folders_of(mode: Mode, plan: Sequence[PlannedRun], folders: Sequence[RunFolder]) -> list[RunFolder]:
    return [folder for planned, folder in zip(plan, folders, strict=True) if planned.config.mode is mode]


def run_job(cfg: DictConfig) -> None:
    """Run one job of a command."""
    if is_stopping():
        return
    try:
        planned = plan_run(cfg)
        with closing(open_folder(planned)) as folder:
            _run(planned, folder)
    except RoadmapError as error:
        show_error(error)
        if PLACE.size > 1:  # other ranks may wait for this one; the launcher ends them
            sys.exit(1)
    except KeyboardInterrupt:
        if not is_launchers():  # there it would end the other processes before they have saved
            raise


def _run(planned: PlannedRun, folder: RunFolder) -> None:
    if planned.config.mode is Mode.eval:
        _evaluate(planned, folder)
    elif HydraConfig.get().runtime.choices["hydra/launcher"] == LAUNCHER and _is_sweep():
        _isolate(planned, folder)
    elif reason := decide_together(lambda: _claim(planned, folder)):
        say(reason)
    else:
        _train(planned, folder)


def _isolate(planned: PlannedRun, folder: RunFolder) -> None:
    if reason := folder.reason_to_skip(_retries(planned)):
        say(f"{folder.path}: {reason}")
    elif error := run_isolated(HydraConfig.get().overrides.task, folder):
        raise RunError(f"{folder.path}: {error}")


def _claim(planned: PlannedRun, folder: RunFolder) -> str | None:
    """Claim the folder of a run to train, or return why it is not trained."""
    if (reason := folder.reason_to_skip(_retries(planned))) is None:
        folder.claim()
        reason = folder.reason_to_skip(retries=True)  # another process may have just finished it
    return reason and f"{folder.path}: {reason}"


def _retries(planned: PlannedRun) -> bool:
    """Return True if failed runs are retried; a command with a single run always does."""
    return planned.config.retry_failed or not _is_sweep()


def _is_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def open_folder(planned: PlannedRun) -> RunFolder:
    """Return the folder of a planned run, without writing anything."""
    config = planned.config
    identity = Identity(
        step=config.step.name,
        step_index=config.step.index,
        label=config.step.label,
        variant=planned.variant,
        reference=config.reference,
        experiment=config.experiment,
        seed=config.seed,
        regime=config.regime.name,
        data=config.data.name,
        recipe=config.recipe.name,
    )
    return RunFolder(Path(config.output_dir), identity, asdict(config))


def _train(planned: PlannedRun, folder: RunFolder) -> None:
    try:
        from roadmap import jobs

        summary = jobs.train(planned.config, folder, OUT, warn)
    except KeyboardInterrupt as interrupt:
        if PLACE.is_first and not is_done(folder):
            folder.interrupt(str(interrupt) or "stopped by SIGINT")
        if isinstance(interrupt, Interrupted) and interrupt.outer is not None:
            interrupt.outer(interrupt.number, None)  # a cluster launcher's, which requeues the job
            if not PLACE.is_first:
                time.sleep(REQUEUE_S)  # its end would end rank 0 before rank 0 has requeued the job
        raise
    except RoadmapError as error:
        record_failure(folder, error, str(error))
        raise
    except Exception as error:  # a bug, ours or a library's: the sweep continues, with the traceback printed
        record_failure(folder, error, f"{type(error).__name__}: {error}")
        trace = traceback.format_exc()
        ERR.print(trace, markup=False, highlight=False, soft_wrap=True)
        terminal.errors.append(str(error))
        if PLACE.size > 1:
            sys.exit(f"process {PLACE.rank} of {PLACE.size}: {trace}")
    else:
        if PLACE.is_first:
            show_summary(summary, folder)


def _evaluate(planned: PlannedRun, folder: RunFolder) -> None:
    from roadmap import jobs
    from roadmap.model.weight_files import Kind

    evaluations = jobs.evaluate_weights(planned.config)
    if not PLACE.is_first:
        return
    kind, evaluation = next(iter(evaluations.items()))
    average = evaluations.get(Kind.averaged) if kind is Kind.raw else None
    folder.record_evaluation(
        {
            "init_from": planned.config.init_from,
            "weights": kind,
            **asdict(evaluation),
            **({} if average is None else {"ema_top1": average.top1}),
        }
    )
    say(
        f"{folder.identity.name} with {planned.config.init_from} on {evaluation.images:,} images of "
        f"{planned.config.data.name}: top-1 {evaluation.top1:.2f}  top-5 {evaluation.top5:.2f}  "
        f"loss {evaluation.loss:.4f}"
        + (" (of the averaged weights)" if kind is Kind.averaged else "")
        + ("" if average is None else f"; of the averaged weights top-1 {average.top1:.2f}")
    )


def _mark_pending(folders: Sequence[RunFolder]) -> None:
    """Mark all runs of a sweep as pending, so that those not reached yet are listed as missing."""
    for folder in folders:
        with suppress(RoadmapError):  # reported when the run is refused
            folder.plan()


def _say_where(words: Sequence[str], folders: Sequence[RunFolder]) -> None:
    """Print where jobs run, since a launcher may queue them far from this terminal."""
    if launcher := _find_launcher(words):
        experiment = folders[0].path.parents[1]
        runs = "1 run is" if len(folders) == 1 else f"{len(folders)} runs are"
        say(f"{runs} with hydra/launcher={launcher}; python scripts/status.py {experiment} --watch shows them")


def _find_launcher(words: Sequence[str]) -> str | None:
    return next((word.partition("=")[2] for word in reversed(words) if word.startswith("hydra/launcher=")), None)


def _say_cost(sweep: Sweep, words: Sequence[str], folders: Sequence[RunFolder]) -> None:
    """Print what a sweep will train, how to estimate its hours, and how to read its results."""
    if not folders:
        return
    done = sum(map(is_done, folders))
    say(f"{len(folders):,} runs: {done:,} done already, {len(folders) - done:,} to train")
    if done < len(folders):
        say(f"  hours: {shlex.join(['python', 'scripts/plan_roadmap.py', '-m', *words])}")
    for experiment in sorted({str(folder.path.parents[1]) for folder in folders}):
        say(f"  effects: {shlex.join(['python', 'scripts/attribute.py', experiment, *sweep.spec.options()])}")


def _leave_group() -> None:
    if PLACE.size > 1:
        from roadmap.training.group import leave_group

        leave_group()


def _remove_empty_folders(folders: Sequence[RunFolder]) -> None:
    """Remove the experiment folder that Hydra creates under the name before the swept values are known."""
    for output_dir in {folder.path.parents[2] for folder in folders}:
        for place in output_dir.glob("*/.sweep"):
            with suppress(OSError):  # files of a launcher, or runs
                place.rmdir()
                place.parent.rmdir()


def _count_evaluations(folders: Sequence[RunFolder]) -> int:
    paths = {folder.evaluations for folder in folders}
    return sum(len(path.read_text().splitlines()) for path in paths if path.exists())


def _advise_on_all(plan: Sequence[PlannedRun]) -> None:
    """Print each warning once, in a sweep with the steps that it concerns."""
    names = list(dict.fromkeys(planned.config.step.name for planned in plan))
    concerned: dict[str, list[str]] = {}
    for planned in plan:
        for text in advise(planned.config):
            concerned.setdefault(text, []).append(planned.config.step.name)
    for text, steps in concerned.items():
        is_sweep = len(plan) > 1
        warn(f"{text} ({', '.join(name for name in names if name in steps)})" if is_sweep else text)
