"""`train.py`: check every run of a command, train each, and report on all of them.

A run's error is printed and recorded in its folder, but not raised, so that a sweep continues.
"""

import json
import os
import shlex
import signal
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from roadmap.cli import console as terminal
from roadmap.cli.console import ERR, OUT, is_done, print_line, report_sweep, show_error, show_summary, warn
from roadmap.cli.launch import launch, planned_of
from roadmap.cli.main_process import DIST_INFO, decide_on_main_process, record_failure, share
from roadmap.cli.processes import (
    ENDED_BY,
    HANDED,
    LAUNCHER,
    forward_stop_signals,
    is_launcher_worker,
    is_stopping,
    run_in_subprocess,
)
from roadmap.cli.script import print_anything
from roadmap.cli.sweep import expand
from roadmap.config import (
    Command,
    Job,
    Mode,
    PlannedRun,
    SearchPath,
    Sweep,
    list_warnings,
    plan_command,
    plan_job,
    prepare_overrides,
    read_search_path,
    read_sweep,
    use,
)
from roadmap.config.expand import BASIC
from roadmap.config.hydra_errors import explain_hydra_error
from roadmap.config.search_path import register
from roadmap.errors import ConfigError, DamagedError, Interrupted, RoadmapError, RunError
from roadmap.runs.atomic import check_room, make_folder
from roadmap.runs.conflicts import check_places, describe_damage, describe_other_settings
from roadmap.runs.record import Record, State
from roadmap.runs.run_dir import Identity, RunDir
from roadmap.system.rank import get_dist_info

HYDRA_ANSWERS = ("help", "hydra_help", "cfg", "info", "shell_completion")  # Hydra's own flags, which train nothing
HYDRA_RAISES = "HYDRA_FULL_ERROR"  # makes Hydra raise its errors instead of printing a traceback
REQUEUE_S = 60  # time for a cluster to requeue the job and end its processes


def main(hydra_app: Callable[[], Any]) -> int:
    """Run the command line in `sys.argv`; the exit status is 0 only if all of its runs are done."""
    terminal.forget()
    print_anything()
    if (handed := os.environ.pop(HANDED, None)) is not None:
        return _run_handed(PlannedRun.of_values(json.loads(handed)))
    arguments = get_args_parser().parse_args()
    try:
        get_dist_info()  # its variables may be wrong
        _check_flags(arguments)
        search_path = read_search_path(arguments.overrides, arguments.config_dir, arguments.config_name)
        with use(search_path):
            if any(getattr(arguments, name) for name in HYDRA_ANSWERS):
                return _answer(hydra_app)
            return _run_command(arguments)
    except RoadmapError as error:
        show_error(error)
        return 1
    except KeyboardInterrupt:  # nothing has started
        return ENDED_BY + signal.SIGINT


def _check_flags(arguments: Namespace) -> None:
    """Raise ConfigError for an unsupported flag of Hydra's, or two that exclude each other."""
    if arguments.config_path is not None:
        raise ConfigError(
            "--config-path replaces this project's configs, on which all others build: --config-dir "
            f"{arguments.config_path} adds a folder of your own"
        )
    if arguments.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun: a run goes on by its command, not from a file of Hydra's")
    if arguments.resolve and not (arguments.cfg or arguments.help):
        raise ConfigError("--resolve goes with --cfg, as in --cfg job --resolve")
    flags = ("run", "multirun", "cfg", "info", "shell_completion")
    given = [f"--{name.replace('_', '-')}" for name in flags if getattr(arguments, name)]
    if len(given) > 1:
        raise ConfigError(f"{' '.join(given)}: only one of them can be given")


def _answer(hydra_app: Callable[[], Any]) -> int:
    """Let Hydra answer by itself, as for --help."""
    outer = signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # for `train.py --help | head`
    register()
    sys.argv[1:] = prepare_overrides(sys.argv[1:])
    wants_traces = os.environ.get(HYDRA_RAISES)
    os.environ[HYDRA_RAISES] = "1"
    try:
        hydra_app()
        sys.stdout.flush()  # while a closed pipe still ends the process
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if wants_traces == "1":
            raise
        raise ConfigError(explain_hydra_error(error, get_args_parser().parse_args().overrides)) from None
    finally:
        signal.signal(signal.SIGPIPE, outer)
    return 0


def _run_command(arguments: Namespace) -> int:
    """Run a command that trains or evaluates, and return its exit status."""
    overrides = prepare_overrides(arguments.overrides)
    if sweep := read_sweep(overrides, arguments.multirun):
        overrides = expand(sweep)
    asked = plan_command(overrides, arguments.multirun)
    plan = [job.planned for job in asked.jobs]
    folders = [open_run_dir(planned) for planned in plan]
    trained = _folders_of(Mode.train, plan, folders)
    check_places(trained)
    if DIST_INFO.is_main_process:
        for experiment in {folder.path.parents[1] for folder in folders}:
            make_folder(experiment)
            if asked.is_sweep:  # so that many runs do not each report a full disk
                check_room(experiment)
    _advise_on_all(plan)
    for text in (*describe_damage(trained), *describe_other_settings(trained)):
        warn(text)
    typed = _flags_of(arguments) + arguments.overrides
    if sweep:
        _say_cost(sweep, typed, trained)
    if asked.is_sweep and DIST_INFO.is_main_process:
        _mark_pending(trained)
        _say_where(asked.launcher, folders)
    return _run_all(asked, plan, folders)


def _flags_of(arguments: Namespace) -> list[str]:
    """Return the flags that locate configs, for printed commands."""
    named = {"--config-dir": arguments.config_dir, "--config-name": arguments.config_name}
    return [word for flag, value in named.items() if value is not None for word in (flag, value)]


def _run_all(asked: Command, plan: Sequence[PlannedRun], folders: Sequence[RunDir]) -> int:
    """Run all jobs, report on them, and return the exit status."""
    trained, evaluated = (_folders_of(mode, plan, folders) for mode in (Mode.train, Mode.eval))
    expected = _count_evaluations(evaluated) + len(evaluated)
    noted: list[signal.Signals] = []
    try:
        with ExitStack() as stack:
            if asked.has_processes:
                noted = stack.enter_context(forward_stop_signals())
            try:
                launch(asked, run_job, _split_lost)
            except Exception:
                if not noted:
                    raise
        if noted:
            raise Interrupted(noted[0])
    except KeyboardInterrupt as interrupt:
        number = interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT
        ERR.print(f"stopped by {number.name}; run the same command again to go on from the last checkpoint")
        return ENDED_BY + number
    except RoadmapError as error:  # of a run that a sweeper could not do without, which has told it
        if str(error) not in terminal.errors:
            show_error(error)
        return 1
    except Exception as error:
        _show_defect(error)
        return 1
    finally:
        _leave_group()
        for folder in trained if DIST_INFO.is_main_process else ():
            folder.settle(State.interrupted, "its process ended without a word")
        _remove_empty_folders(folders)
    if not asked.is_known:  # the sweeper has evaluated its runs
        return 0
    if not DIST_INFO.is_main_process:
        return 1 if terminal.errors else 0
    if asked.is_sweep and trained:
        report_sweep(trained, {planned.config.data.note for planned in plan})
    # Files cover every run; `terminal.errors` only those in this process, while a launcher may have others.
    is_complete = _count_evaluations(evaluated) == expected and all(is_done(folder) for folder in trained)
    return 0 if is_complete and not terminal.errors else 1


def _split_lost(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Split the runs lost with a killed process into those that were running and those that had not started."""
    records = [_read_record(open_run_dir(job.planned)) for job in jobs]
    states = [record and record.state for record in records]
    under_way = [job for job, state in zip(jobs, states, strict=True) if state == State.running]
    waiting = [job for job, state in zip(jobs, states, strict=True) if state in (None, State.pending)]
    names = ", ".join(f"{job.planned.name} seed {job.planned.config.seed}" for job in under_way)
    if len(jobs) > 1 and under_way:
        warn(f"a process of the launcher was killed, and with it {names}; they go on alone after the others")
    elif under_way:
        error = "its process was killed (often the system's answer to a lack of memory)"
        open_run_dir(under_way[0].planned).interrupt(error)
        show_error(RunError(f"{names}: {error}; run the same command again to go on from the last checkpoint"))
    else:
        show_error(RunError("a process of the launcher was killed before a run had begun; run the command again"))
    return under_way, waiting


def _read_record(folder: RunDir) -> Record | None:
    try:
        return folder.state()
    except DamagedError:  # told when the run is refused
        return None


def _folders_of(mode: Mode, plan: Sequence[PlannedRun], folders: Sequence[RunDir]) -> list[RunDir]:
    return [folder for planned, folder in zip(plan, folders, strict=True) if planned.config.mode is mode]


def run_job(cfg: DictConfig) -> float | None:
    """Run one job of a command, in any process of its launcher; return its top-1 in percent.

    Raises:
        RoadmapError: a run that another sweeper than Hydra's own asked for is not done.
    """
    if is_stopping():
        return None
    print_anything()  # also in a launcher's process
    planned = planned_of(cfg)
    is_asked = planned is None  # by a sweeper that waits for the result
    try:
        if planned is None:
            planned = plan_job(cfg)
        planned = share(planned)
        with use(SearchPath(planned.folders)), closing(open_run_dir(planned)) as folder:
            top1 = _run(planned, folder)
            if is_asked and top1 is None:
                record = folder.state()
                raise RunError(f"{folder.path} is not done: {(record and record.error) or 'it was stopped'}")
            return top1
    except RoadmapError as error:
        if str(error) not in terminal.errors:
            show_error(error)
        if DIST_INFO.world_size > 1:  # other ranks may wait for this one; the launcher ends them
            sys.exit(1)
        if is_asked:
            raise
    except KeyboardInterrupt:
        if not is_launcher_worker():  # there it would end the other processes before they have saved
            raise
    return None


def _run_handed(planned: PlannedRun) -> int:
    """Run a sweep's run in the process started for it, and return the exit status."""
    if is_stopping():  # from here on it looks for the sweep's end
        return 0
    try:
        with use(SearchPath(planned.folders)), closing(open_run_dir(planned)) as folder:
            if reason := _claim(folder, retries=True):
                print_line(reason)
            else:
                _train(planned, folder)
    except RoadmapError as error:
        show_error(error)
    except KeyboardInterrupt as interrupt:
        return ENDED_BY + (interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT)
    return 1 if terminal.errors else 0


def _run(planned: PlannedRun, folder: RunDir) -> float | None:
    """Return top-1 in percent; None if the run is not done."""
    if planned.config.mode is Mode.eval:
        return _evaluate(planned, folder)
    if HydraConfig.get().runtime.choices["hydra/launcher"] == LAUNCHER and _is_sweep():
        _isolate(planned, folder)
    elif reason := decide_on_main_process(lambda: _claim(folder, _retries(planned))):
        print_line(reason)
    else:
        _train(planned, folder)
    return folder.summary().get("top1") if DIST_INFO.is_main_process and is_done(folder) else None


def _isolate(planned: PlannedRun, folder: RunDir) -> None:
    if reason := folder.reason_to_skip(_retries(planned)):
        print_line(f"{folder.path}: {reason}")
    elif error := run_in_subprocess(planned, folder, warn):
        raise RunError(f"{folder.path}: {error}")


def _claim(folder: RunDir, retries: bool) -> str | None:
    """Claim the folder of a run to train, or return why it is not trained."""
    if (reason := folder.reason_to_skip(retries)) is None:
        folder.claim()
        reason = folder.reason_to_skip(retries=True)  # another process may have just finished it
    return reason and f"{folder.path}: {reason}"


def _retries(planned: PlannedRun) -> bool:
    """Return True if failed runs are retried; a command with a single run always does."""
    return planned.config.retry_failed or not _is_sweep()


def _is_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def open_run_dir(planned: PlannedRun) -> RunDir:
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
    return RunDir(Path(config.output_dir), identity, asdict(config), planned.folders, planned.overrides)


def _train(planned: PlannedRun, folder: RunDir) -> None:
    try:
        from roadmap.cli import run as jobs

        summary = jobs.train(planned.config, folder, OUT, warn)
    except KeyboardInterrupt as interrupt:
        if DIST_INFO.is_main_process and not is_done(folder):
            folder.interrupt(str(interrupt) or "stopped by SIGINT")
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
        trace = _show_defect(error)
        if DIST_INFO.world_size > 1:
            sys.exit(f"process {DIST_INFO.rank} of {DIST_INFO.world_size}: {trace}")
    else:
        if DIST_INFO.is_main_process:
            show_summary(summary, folder)


def _show_defect(error: Exception) -> str:
    """Print the traceback of an error that is no user error, and return it."""
    trace = "".join(traceback.format_exception(error))
    ERR.print(trace, markup=False, highlight=False, soft_wrap=True)
    terminal.errors.append(str(error))
    return trace


def _evaluate(planned: PlannedRun, folder: RunDir) -> float | None:
    from roadmap.cli import run as jobs
    from roadmap.model.weight_files import Kind

    evaluations = jobs.evaluate_weights(planned.config)
    if not DIST_INFO.is_main_process:
        return None
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
    print_line(
        f"{folder.identity.name} with {planned.config.init_from} on {evaluation.images:,} images of "
        f"{planned.config.data.name}: top-1 {evaluation.top1:.2f}  top-5 {evaluation.top5:.2f}  "
        f"loss {evaluation.loss:.4f}"
        + (" (of the averaged weights)" if kind is Kind.averaged else "")
        + ("" if average is None else f"; of the averaged weights top-1 {average.top1:.2f}")
    )
    return evaluation.top1


def _mark_pending(folders: Sequence[RunDir]) -> None:
    """Mark all runs of a sweep as pending, so that those not reached yet are listed as missing."""
    for folder in folders:
        with suppress(RoadmapError):  # reported when the run is refused
            folder.plan()


def _say_where(launcher: str, folders: Sequence[RunDir]) -> None:
    """Print where jobs run, since a launcher may queue them far from this terminal."""
    if launcher != BASIC and folders:
        experiment = folders[0].path.parents[1]
        runs = "1 run is" if len(folders) == 1 else f"{len(folders)} runs are"
        print_line(
            f"{runs} with hydra/launcher={launcher}; python scripts/status.py {experiment} --watch shows them"
        )


def _say_cost(sweep: Sweep, overrides: Sequence[str], folders: Sequence[RunDir]) -> None:
    """Print what a sweep will train, how to estimate its hours, and how to read its results."""
    if not folders:
        return
    done = sum(map(is_done, folders))
    print_line(f"{len(folders):,} runs: {done:,} done already, {len(folders) - done:,} to train")
    if done < len(folders):
        print_line(f"  hours: {shlex.join(['python', 'scripts/plan_roadmap.py', '-m', *overrides])}")
    for experiment in sorted({str(folder.path.parents[1]) for folder in folders}):
        print_line(
            f"  effects: {shlex.join(['python', 'scripts/attribute.py', experiment, *sweep.spec.options()])}"
        )


def _leave_group() -> None:
    if DIST_INFO.world_size > 1:
        from roadmap.training.distributed import leave_group

        leave_group()


def _remove_empty_folders(folders: Sequence[RunDir]) -> None:
    """Remove the experiment folder that Hydra creates under the name before the swept values are known."""
    for output_dir in {folder.path.parents[2] for folder in folders}:
        for place in output_dir.glob("*/.sweep"):
            with suppress(OSError):  # files of a launcher, or runs
                place.rmdir()
                place.parent.rmdir()


def _count_evaluations(folders: Sequence[RunDir]) -> int:
    paths = {folder.evaluations for folder in folders}
    return sum(len(path.read_text().splitlines()) for path in paths if path.exists())


def _advise_on_all(plan: Sequence[PlannedRun]) -> None:
    """Print each warning once, in a sweep with the steps that it concerns."""
    names = list(dict.fromkeys(planned.config.step.name for planned in plan))
    concerned: dict[str, list[str]] = {}
    for planned in plan:
        for text in list_warnings(planned.config):
            concerned.setdefault(text, []).append(planned.config.step.name)
    for text, steps in concerned.items():
        is_sweep = len(plan) > 1
        warn(f"{text} ({', '.join(name for name in names if name in steps)})" if is_sweep else text)
