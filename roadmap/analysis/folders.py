"""Run folders of an experiment, read as values.

A run is in OUTPUT_DIR/EXPERIMENT/STEP[,variant]/seedN/: `state.json` has its identity and progress, `summary.json`
its results after it finished. An unreadable file is named in a warning and the rest is still read, so figures work
for unfinished sweeps. A published experiment has one table of runs instead of run folders.
"""

import json
import logging
import math
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from roadmap.analysis.run import DAMAGED, DONE, Run, read_run_table
from roadmap.errors import RunError
from roadmap.naming import seed_folders

STATE_FILE = "state.json"
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
    return max((file.stat().st_mtime for file in files), default=0.0)


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
    state = _read_json(folder / STATE_FILE)
    summary = _read_json(folder / SUMMARY_FILE) if _expects_summary(folder, state) else None
    source = state if state is not None else summary
    if source is None:
        return None
    error = None
    outcome = DONE
    try:
        if state is not None:
            outcome, error, source = str(state["state"]), state.get("error"), state["identity"]
        identity = _identity(source)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        file = folder / (STATE_FILE if state is not None else SUMMARY_FILE)
        log.warning("%s: left out, its identity cannot be read (%r)", file, problem)
        return None
    measured: dict[str, Any] = {}
    if outcome == DONE:
        measured = _measured(folder / SUMMARY_FILE, summary)
        outcome = DONE if measured else DAMAGED
    return Run(path=folder, state=outcome, error=error, **identity, **measured)


def _expects_summary(folder: Path, state: dict[str, Any] | None) -> bool:
    """Return True for a finished run; if the state is lost, for a run with a summary."""
    return (folder / SUMMARY_FILE).exists() if state is None else state.get("state") == DONE


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        log.warning("%s: cannot be read, perhaps still being written (%s)", path, problem)
        return None
    if not isinstance(content, dict):
        log.warning("%s: holds a %s where an object belongs", path, type(content).__name__)
        return None
    return content


def _identity(source: dict[str, Any]) -> dict[str, Any]:
    index = source["step_index"]
    return {
        "step": str(source["step"]),
        "step_index": None if index is None else int(index),
        "label": str(source["label"]),
        "variant": {str(key): str(value) for key, value in source["variant"].items()},
        "reference": source["reference"],
        "experiment": str(source["experiment"]),
        "seed": int(source["seed"]),
        "regime": str(source["regime"]),
        "data": str(source["data"]),
        "recipe": str(source["recipe"]),
    }


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
    except (KeyError, TypeError, ValueError) as problem:
        log.warning("%s: not used, a number is missing or no number (%r)", path, problem)
        return {}
    numbers = required | optional
    odd = [name for name, value in numbers.items() if not math.isfinite(value)]
    if odd:
        log.warning("%s: not used, %s is not finite", path, ", ".join(odd))
        return {}
    texts = {name: summary.get(name) for name in ("device", "commit", "config_hash", "setting_hash")}
    return {**numbers, **texts}
