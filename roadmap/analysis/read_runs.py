"""Run folders of an experiment, read as values.

A run is in OUTPUT_DIR/EXPERIMENT/STEP[,variant]/seedN/: `state.json` has its identity and progress, `summary.json`
its results after it finished. An unreadable file is named in a warning and the rest is still read, so figures work
for unfinished sweeps. A published experiment has one table of runs instead of run folders.
"""

import logging
import math
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from roadmap.analysis.run_table import DAMAGED, DONE, Run, read_run_table
from roadmap.errors import DamagedError, RunError
from roadmap.runs.naming import seed_folders
from roadmap.runs.record import State, read_identity, read_object, read_record

SUMMARY_FILE = "summary.json"
FIGURE_FOLDER = "figures"  # name of an experiment's folder of figures
RUN_TABLE = "runs.csv"  # replaces the run folders of a published experiment

log = logging.getLogger(__name__)


def find_experiments(output_dir: Path) -> list[Path]:
    """Return the folders under `output_dir` that hold at least one run, by name."""
    if not output_dir.is_dir():
        return []
    return sorted(path for path in output_dir.iterdir() if path.is_dir() and _has_runs(path))


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


def choose_experiment(name: str | None, output_dir: Path) -> Path:
    """Return an experiment's folder, by name or path; without one, that of the last changed, whose name is printed.

    An experiment with a result takes precedence over one without, such as that of a mistyped path.

    RunError: no experiment is named and none is found.
    """
    if name is not None:
        named = output_dir / name
        return Path(name) if not named.is_dir() and Path(name).is_dir() else named
    found = find_experiments(output_dir)
    if not found:
        raise RunError(f"{output_dir.absolute()}: no experiment; name another folder with --output-dir")
    finished = [folder for folder in found if any((run / SUMMARY_FILE).exists() for run in seed_folders(folder))]
    candidates = finished or found
    latest = max(candidates, key=last_change)
    which = "the last changed" if len(candidates) > 1 else "the only"
    which += " experiment with a result" if len(found) > len(candidates) else " experiment"
    print(f"{latest.name}: {which} in {output_dir}")
    return latest


def read_runs(experiment_dir: Path) -> list[Run]:
    """Return every run of an experiment, in any state, by path.

    A run with unreadable files is left out, or kept as `damaged`, with a warning that names the file.
    RunError: the folder does not exist or holds no readable run.
    """
    if (experiment_dir / RUN_TABLE).exists():
        return read_run_table(experiment_dir / RUN_TABLE)
    runs = [run for folder in seed_folders(experiment_dir) if (run := _read_run(folder)) is not None]
    if not runs:
        found = "no run" if experiment_dir.is_dir() else "no such folder"
        others = [path.name for path in find_experiments(experiment_dir.parent) if path != experiment_dir]
        known = ", ".join(others) if others else "none"
        raise RunError(f"{experiment_dir}: {found}; experiments in {experiment_dir.parent}: {known}")
    return runs


def read_finished_runs(experiment_dir: Path) -> list[Run]:
    """Return every run of an experiment if at least one has finished.

    RunError: as read_runs; or none has finished, with the runs' states and one error.
    """
    runs = read_runs(experiment_dir)
    if any(run.state == DONE for run in runs):
        return runs
    errors = (f"; {run.path.parent.name}/{run.path.name} failed with: {run.error}" for run in runs if run.error)
    raise RunError(f"{experiment_dir}: no finished run ({count_states(runs)}){next(errors, '')}")


def count_states(runs: Iterable[Run]) -> str:
    """Count the states of runs in words, such as `2 failed, 1 running`."""
    counts = Counter(run.state for run in runs)
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _has_runs(experiment_dir: Path) -> bool:
    return (experiment_dir / RUN_TABLE).exists() or bool(seed_folders(experiment_dir))


def _read_run(folder: Path) -> Run | None:
    try:
        record = read_record(folder)
        summary = _read_summary(folder) if record is None or record.state is State.done else None
        if record is None and summary is None:
            return None
        identity = record.identity if record else read_identity(summary or {})
    except DamagedError as problem:
        log.warning("%s", problem)
        return None
    except ValueError as problem:
        log.warning("%s: left out, its identity cannot be read (%s)", folder / SUMMARY_FILE, problem)
        return None
    measured = _measured(folder / SUMMARY_FILE, summary)
    state: str = record.state if record else State.done
    if state == DONE and not measured:
        state = DAMAGED
    return Run(path=folder, state=str(state), error=record.error if record else None, **vars(identity), **measured)


def _read_summary(folder: Path) -> dict[str, Any] | None:
    """What a finished run left; None, with a warning, if it is gone or damaged."""
    path = folder / SUMMARY_FILE
    try:
        summary = read_object(path)
    except DamagedError as problem:
        log.warning("%s", problem)
        return None
    if summary is None:
        log.warning("%s: cannot be read, it is gone", path)
    return summary


def _measured(path: Path, summary: dict[str, Any] | None) -> dict[str, Any]:
    """Return the numbers of a summary; empty, with a warning, if an accuracy is missing or not finite."""
    if summary is None:
        return {}  # the warning was given when the file was read
    try:
        required = {name: float(summary[name]) for name in ("top1", "best_top1", "gmacs", "parameters")}
        optional = {
            name: float(summary[name])
            for name in ("ema_top1", "loss", "images_per_s", "seconds", "best_epoch", "epochs")
            if summary.get(name) is not None
        }
    except (KeyError, TypeError, ValueError, OverflowError) as problem:
        log.warning("%s: not used, a number is missing or no number (%r)", path, problem)
        return {}
    numbers = required | optional
    odd = [name for name, value in numbers.items() if not math.isfinite(value)]
    if odd:
        log.warning("%s: not used, %s is not finite", path, ", ".join(odd))
        return {}
    names = ("device", "commit", "config_hash", "setting_hash")
    texts = {name: None if summary.get(name) is None else str(summary[name]) for name in names}
    return {**numbers, **texts}
