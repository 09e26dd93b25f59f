"""Run folders of an experiment, read as values.

A run is in OUTPUT_DIR/EXPERIMENT/STEP[,variant]/seedN/: `state.json` has its identity and progress, `summary.json`
its results after it finished. An unreadable file is named in a warning and the rest is still read, so figures work
for unfinished sweeps. A published experiment has one table of runs instead of run folders.
"""

import logging
import os
from argparse import ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from roadmap.analysis.run_table import read_run_table
from roadmap.errors import DamagedError, RunError
from roadmap.runs.naming import seed_folders
from roadmap.runs.read_run import CONFIG, METRICS, SUMMARY, Run, State, count_states, is_gone, read_run, read_state

FIGURE_FOLDER = "figures"  # name of an experiment's folder of figures
RUN_TABLE = "runs.csv"  # replaces the run folders of a published experiment

log = logging.getLogger(__name__)


def find_experiments(output_dir: Path) -> list[Path]:
    """Return the folders under `output_dir` that hold at least one run, by name."""
    if not output_dir.is_dir():
        return []
    folders = (path for path in output_dir.iterdir() if path.is_dir())
    return sorted(folder for folder in folders if (folder / RUN_TABLE).exists() or seed_folders(folder))


def name_experiment(experiment_dir: Path) -> str:
    """Return the name of an experiment: its folder's, also if that was renamed since, or is given as `.`."""
    return Path(os.path.abspath(experiment_dir)).name


def last_change(experiment_dir: Path) -> float:
    """Return when a run of the experiment last wrote a file, in seconds since the epoch."""
    files = (file for folder in seed_folders(experiment_dir) for file in folder.glob("*.json*"))
    return max((file.lstat().st_mtime for file in files), default=0.0)


def add_experiment_arguments(parser: ArgumentParser) -> None:
    """Add EXPERIMENT and --output-dir, for `choose_experiment`."""
    parser.add_argument(
        "experiment",
        nargs="?",
        help="a name under the output folder, or a path; default: the one that changed last",
    )
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"), help="default: outputs")


def choose_experiment(name: str | None, output_dir: Path, for_status: bool = False) -> Path:
    """Return an experiment's folder, by name or path; without one, that of the last changed, whose name is printed.

    Args:
        for_status: one that is running takes precedence. Otherwise one with a result does over one without, such as
            that of a mistyped path.

    Raises:
        RunError: no experiment is named and none is found.
    """
    if name is not None:
        named = output_dir / name
        return Path(name) if not named.is_dir() and Path(name).is_dir() else named
    found = find_experiments(output_dir)
    if not found:
        raise RunError(f"{output_dir.absolute()}: no experiment; name another folder with --output-dir")
    candidates = [folder for folder in found if (_is_running if for_status else _has_result)(folder)] or found
    latest = max(candidates, key=last_change)
    which = "the last changed" if len(candidates) > 1 else "the only"
    running = " running" if for_status and _is_running(latest) else ""
    result = " with a result" if not for_status and len(found) > len(candidates) else ""
    print(f"{latest.name}: {which}{running} experiment{result} in {output_dir}")
    return latest


def _has_result(experiment_dir: Path) -> bool:
    return any((run / SUMMARY).exists() for run in seed_folders(experiment_dir))


def _is_running(experiment_dir: Path) -> bool:
    for folder in seed_folders(experiment_dir):
        with suppress(DamagedError):
            run = read_state(folder)
            if run is not None and run.state is State.running and not is_gone(run):
                return True
    return False


def make_figure_folder(experiment_dir: Path) -> Path:
    """Return the folder of an experiment's figures, made if there is none.

    RunError: something else is in its place, or nothing can be written there.
    """
    folder = experiment_dir / FIGURE_FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise RunError(f"{folder} is no folder, where the figures' folder belongs: remove or rename it") from error
    except OSError as error:
        raise RunError(f"{folder} can't be created: {error.strerror}. Write elsewhere by --to") from error
    return folder


def check_target(folder: Path, table: str, others: Sequence[str] = ()) -> None:
    """Raise RunError if a folder has results that commands would no longer read beside a new table.

    Args:
        others: names of other tables that are not read beside it.
    """
    hidden = [*seed_folders(folder), *(folder / other for other in others if (folder / other).exists())]
    if hidden:
        raise RunError(
            f"{folder} has {hidden[0].relative_to(folder)}: beside {table}, commands would read neither it nor "
            "what is added later. Name another folder with --to"
        )


def warn_of_hidden_runs(table: Path) -> None:
    """Warn of run folders beside a table that is read instead of them."""
    if hidden := seed_folders(table.parent):
        log.warning(
            "%s is read, and not the %d run folders beside it, such as %s: move the table or the run folders to "
            "another folder",
            *(table, len(hidden), hidden[0]),
        )


def read_runs(experiment_dir: Path) -> list[Run]:
    """Return every run of an experiment, in any state, by path.

    A run with unreadable files is left out, or kept as `damaged`, with a warning that names the file. So are run
    folders beside a table of runs. Runs in folders have the experiment's name of today.
    RunError: the folder does not exist or holds no readable run.
    """
    if (table := experiment_dir / RUN_TABLE).exists():
        warn_of_hidden_runs(table)
        return read_run_table(table)
    found = [run for folder in seed_folders(experiment_dir) if (run := read_run(folder))]
    _warn_of_damage(found)
    name = name_experiment(experiment_dir)
    runs = [replace(run, experiment=name) for run in found if run.regime]  # of others only the folder is known
    if not runs:
        reason = "no run" if experiment_dir.is_dir() else "no such folder"
        others = [path.name for path in find_experiments(experiment_dir.parent) if path != experiment_dir]
        known = ", ".join(others) if others else "none"
        raise RunError(f"{experiment_dir}: {reason}; experiments in {experiment_dir.parent}: {known}")
    return runs


def read_finished_runs(experiment_dir: Path) -> list[Run]:
    """Return every run of an experiment if at least one has finished.

    RunError: as read_runs; or none has finished, with the runs' states and one error.
    """
    runs = read_runs(experiment_dir)
    if any(run.state is State.done for run in runs):
        return runs
    errors = (
        f"; {run.path.parent.name}/{run.path.name} {'failed' if run.state is State.failed else f'is {run.state}'}: "
        f"{run.error}"
        for run in runs
        if run.error
    )
    raise RunError(
        f"{experiment_dir}: no finished run ({count_states(run.state for run in runs)}){next(errors, '')}"
    )


def _warn_of_damage(runs: Sequence[Run]) -> None:
    for run in runs:
        if run.state is State.damaged:
            log.warning("%s. Until then the run is left out", run.error)
    for name in (CONFIG, METRICS):  # tables and figures need no checkpoint
        if lacking := [run for run in runs if name in run.missing]:
            log.warning("%s is gone from %d finished runs, such as %s", name, len(lacking), lacking[0].path)
