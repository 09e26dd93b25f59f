"""What `train.py` does: check every run of a command, run each, and report on all of them.

A run's error is printed and recorded in its folder, and never raised, so that a sweep goes on.
"""

import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roadmap.analysis.curve import draw_curve
from roadmap.analysis.table import terminal_table
from roadmap.config import Mode, PlannedRun, advise, plan_run, plan_runs, prepare_overrides
from roadmap.errors import Interrupted, RoadmapError, RunError
from roadmap.isolation import LAUNCHER, run_isolated
from roadmap.runs.files import make_folder
from roadmap.runs.folder import Identity, RunFolder
from roadmap.training.processes import find_place

PLACE = find_place()
# A process of a launcher's shares the terminal with others, so it prints lines and no live display.
IS_MAIN = multiprocessing.current_process().name == "MainProcess"
OUT = Console(force_terminal=None if IS_MAIN else False, quiet=not PLACE.is_first)
ERR = Console(stderr=True, quiet=not PLACE.is_first)
HYDRA_ANSWERS = ("help", "hydra_help", "cfg", "info", "shell_completion")  # its own flags, which train nothing
ENDED_BY = 128  # plus the number of a signal: the exit status of a process that it ended

_errors: list[str] = []  # of this process's runs
_warnings: set[str] = set()  # shown in this process already


def main(hydra_app: Callable[[], Any]) -> int:
    """Runs the command line in `sys.argv`; the exit status is 0 only if every run of it is done."""
    _errors.clear()
    _warnings.clear()
    sys.argv[1:] = prepare_overrides(sys.argv[1:])
    arguments = get_args_parser().parse_args()
    if any(getattr(arguments, name) for name in HYDRA_ANSWERS):
        hydra_app()
        return 0
    try:
        plan = plan_runs(arguments.overrides, arguments.multirun)
        folders = [open_folder(planned) for planned in plan]
        for experiment in {folder.path.parents[1] for folder in folders}:
            make_folder(experiment)
    except RoadmapError as error:
        _show_error(error)
        return 1
    _advise_on_all(plan)
    runs = list(zip(plan, folders, strict=True))
    evaluated = [folder for planned, folder in runs if planned.config.mode is Mode.eval]
    trained = [folder for planned, folder in runs if planned.config.mode is Mode.train]
    expected = _count_evaluations(evaluated) + len(evaluated)
    try:
        if arguments.multirun and PLACE.is_first:
            _mark_pending(trained)
            _say_where(arguments.overrides, folders)
        hydra_app()
    except KeyboardInterrupt as interrupt:
        number = interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT
        ERR.print(f"stopped by {number.name}; the same command goes on from the last checkpoint")
        return ENDED_BY + number
    finally:
        _leave_group()
    if not PLACE.is_first:
        return 1 if _errors else 0
    if arguments.multirun and trained:
        report_sweep(trained, {planned.config.data.note for planned in plan})
    # Files tell of every run; `_errors` only of those in this process, and a launcher may have more.
    is_complete = _count_evaluations(evaluated) == expected and all(_is_done(folder) for folder in trained)
    return 0 if is_complete and not _errors else 1


def run_job(cfg: DictConfig) -> None:
    """One run of a command."""
    try:
        planned = plan_run(cfg)
        with closing(open_folder(planned)) as folder:
            _run(planned, folder)
    except RoadmapError as error:
        _show_error(error)
        if PLACE.size > 1:  # the others may wait for this one; the launcher ends them
            sys.exit(1)


def _run(planned: PlannedRun, folder: RunFolder) -> None:
    if planned.config.mode is Mode.eval:
        _evaluate(planned, folder)
    elif HydraConfig.get().runtime.choices["hydra/launcher"] == LAUNCHER and _is_sweep():
        _isolate(planned, folder)
    elif reason := _decide_together(lambda: _claim(planned, folder)):
        _say(reason)
    else:
        _train(planned, folder)


def _isolate(planned: PlannedRun, folder: RunFolder) -> None:
    reason = _find_reason_to_skip(planned, folder)
    error = None if reason else run_isolated(HydraConfig.get().overrides.task, folder)
    if reason:
        _say(reason)
    elif error:
        raise RunError(f"{folder.path}: {error}")


def _claim(planned: PlannedRun, folder: RunFolder) -> str | None:
    """Takes the folder of a run that is to be trained; or says why it is not."""
    if reason := _find_reason_to_skip(planned, folder):
        return reason
    folder.claim()
    return f"{folder.path} is done already" if folder.is_done() else None


def _find_reason_to_skip(planned: PlannedRun, folder: RunFolder) -> str | None:
    if folder.is_done():
        return f"{folder.path} is done already"
    error = folder.failure()
    if error is not None and _is_sweep() and not planned.config.retry_failed:
        return f"{folder.path} failed before and is left alone; retry_failed=true trains it again ({error})"
    return None


def _is_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _decide_together(decide: Callable[[], str | None]) -> str | None:
    """What the first process of a group decides, in all of them."""
    if PLACE.size == 1:
        return decide()
    from roadmap.training.group import join_group

    answer: str | RoadmapError | None = None
    if PLACE.is_first:
        try:
            answer = decide()
        except RoadmapError as error:
            answer = error
    answer = join_group().first(answer)
    if isinstance(answer, RoadmapError):
        raise answer
    return answer


def open_folder(planned: PlannedRun) -> RunFolder:
    """The folder of a planned run; nothing is written yet."""
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
        from roadmap import jobs  # torch takes seconds to import; a typo should not wait for it

        summary = jobs.train(planned.config, folder, OUT, _warn)
    except KeyboardInterrupt as interrupt:
        folder.interrupt(str(interrupt) or "stopped by SIGINT")
        if isinstance(interrupt, Interrupted) and interrupt.outer is not None:
            interrupt.outer(interrupt.number, None)  # a cluster launcher's, which puts the job back in the queue
        raise
    except RoadmapError as error:
        folder.fail(str(error))
        raise
    except Exception as error:  # a defect, ours or a library's: the sweep goes on, the trace is shown
        folder.fail(f"{type(error).__name__}: {error}")
        trace = traceback.format_exc()
        ERR.print(trace, markup=False, highlight=False, soft_wrap=True)
        _errors.append(str(error))
        if PLACE.size > 1:
            sys.exit(f"process {PLACE.rank} of {PLACE.size}: {trace}")
    else:
        if PLACE.is_first:
            _show_summary(summary, folder)


def _evaluate(planned: PlannedRun, folder: RunFolder) -> None:
    from roadmap import jobs

    evaluation = jobs.evaluate_weights(planned.config)
    if not PLACE.is_first:
        return
    folder.record_evaluation({"init_from": planned.config.init_from, **asdict(evaluation)})
    _say(
        f"{folder.identity.name} with {planned.config.init_from} on {evaluation.images:,} images of "
        f"{planned.config.data.name}: top-1 {evaluation.top1:.2f}  top-5 {evaluation.top5:.2f}  "
        f"loss {evaluation.loss:.4f}"
    )


def _show_summary(summary: dict[str, Any], folder: RunFolder) -> None:
    _say(
        f"{folder.identity.name} seed {folder.identity.seed}: top-1 {summary['top1']:.2f} "
        f"(best {summary['best_top1']:.2f} in epoch {summary['best_epoch']})  "
        f"{summary['parameters'] / 1e6:.2f} M parameters  {summary['gmacs']:.3f} GMACs  "
        f"{summary['images_per_s']:,.0f} images/s  {folder.path}"
    )


def report_sweep(folders: Sequence[RunFolder], notes: set[str | None]) -> None:
    """The table and the figures of the experiments, and every run of the command that is not done."""
    for experiment in sorted({folder.path.parents[1] for folder in folders}):
        try:
            curve = draw_curve(experiment)
        except RoadmapError as error:
            _show_error(error)
            continue
        OUT.print(terminal_table(curve.rows))
        for path in curve.paths:
            _say(f"written: {path}")
    unfinished = [folder for folder in folders if not _is_done(folder)]
    if unfinished:
        table = Table("run", "state", "error", title=f"{len(unfinished)} of {len(folders)} runs are not done")
        for folder in unfinished:
            table.add_row(f"{folder.identity.name} seed {folder.identity.seed}", *_describe_state(folder))
        OUT.print(table)
    for note in sorted(note for note in notes if note):
        OUT.print(note, markup=False, highlight=False)


def _mark_pending(folders: Sequence[RunFolder]) -> None:
    """So that a run that a sweep has not come to yet is seen to be missing."""
    for folder in folders:
        with suppress(RoadmapError):  # told when the run is refused
            folder.plan()


def _say_where(words: Sequence[str], folders: Sequence[RunFolder]) -> None:
    """A launcher may put jobs in a queue, far from this terminal."""
    for word in words:
        if word.startswith("hydra/launcher="):
            experiment = folders[0].path.parents[1]
            _say(f"{len(folders)} runs are with {word}; python scripts/status.py {experiment} --watch shows them")


def _leave_group() -> None:
    if PLACE.size > 1:
        from roadmap.training.group import leave_group

        leave_group()


def _count_evaluations(folders: Sequence[RunFolder]) -> int:
    paths = {folder.evaluations for folder in folders}
    return sum(len(path.read_text().splitlines()) for path in paths if path.exists())


def _is_done(folder: RunFolder) -> bool:
    try:
        return folder.is_done()
    except RoadmapError:  # told when the run was refused
        return False


def _describe_state(folder: RunFolder) -> tuple[str, Text]:
    """How a run that is not done stands, and its error; "refused" where its folder holds something else."""
    try:
        folder.is_done()
        state = folder.state()
    except RoadmapError as error:
        return "refused", Text(str(error).splitlines()[0])
    return state.get("state", "not begun"), Text(state.get("error") or "")


def _advise_on_all(plan: Sequence[PlannedRun]) -> None:
    """Each warning once, in a sweep with the steps that it concerns."""
    names = list(dict.fromkeys(planned.config.step.name for planned in plan))
    concerned: dict[str, list[str]] = {}
    for planned in plan:
        for text in advise(planned.config):
            concerned.setdefault(text, []).append(planned.config.step.name)
    for text, steps in concerned.items():
        is_sweep = len(plan) > 1
        _warn(f"{text} ({', '.join(name for name in names if name in steps)})" if is_sweep else text)


def _warn(text: str) -> None:
    """Prints a warning, unless this process has done so."""
    if text not in _warnings:
        _warnings.add(text)
        ERR.print(Text.assemble(("warning:", "bold yellow"), f" {text}"), soft_wrap=True)


def _say(text: str) -> None:
    """Prints a line as it is: a name or path in it may hold brackets, which rich would take for markup."""
    OUT.print(text, markup=False, highlight=False, soft_wrap=True)


def _show_error(error: Exception) -> None:
    ERR.print(Text.assemble(("error:", "bold red"), f" {error}"), soft_wrap=True)
    _errors.append(str(error))
