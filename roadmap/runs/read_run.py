"""Reads a run's identity, state and results from its files, and checks these against each other.

The trainer, sweeps, status and analysis all use it. It needs no torch.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

from roadmap.errors import DamagedError
from roadmap.runs.config_hash import hash_config
from roadmap.runs.naming import network_name
from roadmap.runs.process import is_alive
from roadmap.runs.read_files import MAX_NUMBER, check_values, damaged, read_json, read_yaml, take

CONFIG, STATE, METRICS, SUMMARY = "config.yaml", "state.json", "metrics.jsonl", "summary.json"
CHECKPOINT, PREVIOUS_CHECKPOINT = "checkpoint.pt", "checkpoint.previous.pt"
HINT = "the command that trained it restores the file, from the checkpoint if there is one"
GONE = "its process has died; the same command resumes it"


class State(StrEnum):
    pending = "pending"  # planned by a sweep
    running = "running"
    done = "done"
    failed = "failed"
    interrupted = "interrupted"  # the same command resumes it
    damaged = "damaged"  # a file is unreadable or contradicts the others; never written


def count_states(states: Iterable[State]) -> str:
    """Return the counts of runs' states, such as `2 done, 1 failed`."""
    counts = Counter(states)
    return ", ".join(f"{counts[state]} {state}" for state in State if counts[state])


@dataclass(frozen=True)
class Identity:
    """Names of a run in tables and figures."""

    step: str
    step_index: int | None
    label: str
    variant: dict[str, str]  # what differs from the step, such as {"kernel_size": "9"}; empty for the step itself
    reference: str | None  # timm's name of a network that is no step, such as Swin-T
    experiment: str
    seed: int
    regime: str
    data: str
    recipe: str

    @property
    def name(self) -> str:
        """The step with its variant, such as step7_kernel,kernel_size=9."""
        return network_name(self.step, self.variant)


@dataclass(frozen=True)
class Run(Identity):
    """One training run. Unknown values, such as those that earlier versions did not write, are None."""

    path: Path
    state: State
    error: str | None = None  # why it failed, was interrupted or is damaged
    host: str | None = None
    pid: int | None = None
    process_start: str | None = None
    config_hash: str | None = None  # of all values that define its result
    setting_hash: str | None = None  # the same without network and seed: equal for comparable runs
    dashboard_id: str | None = None
    config_folders: tuple[str, ...] = ()  # of the user's own configs
    roadmap: str | None = None  # whose step it is; None for a reference too
    epochs: int | None = None  # of the recipe
    top1: float | None = None  # percent, after the last epoch; None until done, like all below
    best_top1: float | None = None  # percent, of the best epoch on the validation set
    best_epoch: int | None = None  # that epoch, from 1
    ema_top1: float | None = None  # percent, of the averaged weights; None also if the recipe has no EMA
    loss: float | None = None  # on the validation set, after the last epoch
    gmacs: float | None = None  # 1e9 multiply-accumulates for one image of the data's size
    parameters: float | None = None  # count
    images_per_s: float | None = None  # training throughput
    seconds: float | None = None  # of the whole training
    device: str | None = None
    data_fingerprint: str | None = None  # of the images' names and classes
    commit: str | None = None  # of the code that trained it
    overrides: str | None = None  # of a published run, quoted for a shell
    missing: tuple[str, ...] = ()  # files that a finished run should have

    @property
    def is_complete(self) -> bool:
        """True if it is done, and lacks no file that its command would restore."""
        is_restorable = CONFIG in self.missing or (METRICS in self.missing and CHECKPOINT not in self.missing)
        return self.state is State.done and not is_restorable


KINDS = get_type_hints(Run)
NAMES = tuple(field.name for field in fields(Identity))
IN_STATE = (
    *("state", "error", "host", "pid", "process_start", "epochs"),
    *("config_hash", "setting_hash", "dashboard_id", "config_folders", "roadmap"),
)
REQUIRED = ("top1", "best_top1", "gmacs", "parameters")  # numbers of a summary
IN_SUMMARY = (
    *REQUIRED,
    *("best_epoch", "ema_top1", "loss", "epochs", "images_per_s", "seconds"),
    *("device", "data_fingerprint", "commit", "config_hash", "setting_hash", "roadmap"),
)
RANGES = {
    "seed": (0, MAX_NUMBER),
    "pid": (1, MAX_NUMBER),
    "epochs": (0, MAX_NUMBER),
    "top1": (0, 100),
    "best_top1": (0, 100),
}


def read_run(folder: Path) -> Run | None:
    """Return the run in a folder; None if there is none.

    A run whose process has died is interrupted. A run with an unusable file is damaged: `error` names the file, and
    the values are those of the other files.
    """
    run: Run | None = None
    try:
        run = read_state(folder)
        if run is None or run.state is State.done:
            return _read_finished(folder, run)
    except DamagedError as error:
        return _describe_damaged(folder, run, f"{error}; {HINT}")
    if run.state is State.running and is_gone(run):
        return replace(run, state=State.interrupted, error=GONE)
    return run


def read_state(folder: Path) -> Run | None:
    """Return the run in state.json; None if there is no such file.

    Raises:
        DamagedError: it can't be read, or a value is invalid; names the file and the key.
    """
    path = folder / STATE
    content = read_json(path)
    if content is None:
        return None
    try:
        if take(content, "state") == State.damaged:
            raise ValueError("state is damaged, which is never written")
        return _make_run(folder, take(content, "identity"), content, IN_STATE)
    except ValueError as error:
        raise damaged(path, error) from error


def read_summary(folder: Path) -> Run | None:
    """Return the run in summary.json; None if there is no such file.

    Raises:
        DamagedError: it can't be read, belongs to another run, or lacks a result.
    """
    path = folder / SUMMARY
    content = read_json(path)
    if content is None:
        return None
    try:
        for name in REQUIRED:
            take(content, name)
        return _make_run(folder, content, content | {"state": State.done}, ("state", *IN_SUMMARY))
    except ValueError as error:
        raise damaged(path, error) from error


def check_ranges(values: Mapping[str, Any]) -> None:
    """Raise ValueError if a number is outside its range, such as an accuracy above 100%."""
    for name, (lowest, highest) in RANGES.items():
        if (value := values.get(name)) is not None and not lowest <= value <= highest:
            raise ValueError(f"{name} is {value}")


def is_gone(run: Run) -> bool:
    """Return True if the run's process was on this host and has died."""
    if run.host is None or run.pid is None:
        return False
    return is_alive(run.host, run.pid, run.process_start) is False


def _make_run(folder: Path, identity: Any, content: Mapping[str, Any], names: tuple[str, ...]) -> Run:
    """Return a run from an identity and those values of `names` that `content` has. Raises ValueError."""
    if not isinstance(identity, dict):
        raise ValueError(f"identity is a {type(identity).__name__}")
    for name in NAMES:
        take(identity, name)
    values = {
        **check_values(identity, {name: KINDS[name] for name in NAMES}),
        **check_values(content, {name: KINDS[name] for name in names}),
    }
    check_ranges(values)
    run = Run(path=folder, **values)
    if (folder.parent.name, folder.name) != (run.name, f"seed{run.seed}"):
        raise ValueError(f"it belongs to {run.name} seed {run.seed}")
    return run


def _read_finished(folder: Path, run: Run | None) -> Run | None:
    """Return a finished run with its results; None if there is no run.

    Args:
        run: from its state; None if the state is missing, which the summary can replace.

    Raises:
        DamagedError: summary, state and configuration belong to different runs, or one of them is damaged.
    """
    summary = read_summary(folder)
    if summary is None:
        if run is not None:
            raise DamagedError(f"{folder / SUMMARY} is missing")
        if os.path.lexists(folder / CONFIG):
            raise DamagedError(f"{folder / STATE} is missing")
        return None
    if run is not None:
        if identity_of(run) != identity_of(summary):
            raise damaged(folder / SUMMARY, f"it belongs to another run than {STATE}")
        _check_hash(folder / SUMMARY, run, summary.config_hash)
        known = {name: value for name in IN_SUMMARY if (value := getattr(summary, name)) is not None}
        run = replace(run, **known)
    missing = tuple(name for name in (CONFIG, METRICS, CHECKPOINT) if not os.path.lexists(folder / name))
    run = replace(run or summary, missing=missing)
    if CONFIG not in missing:
        _check_hash(folder / CONFIG, run, hash_config(read_yaml(folder / CONFIG)))
    return run


def _check_hash(path: Path, run: Run, found: str | None) -> None:
    """Raise DamagedError if a file has another config hash than its run; None is unknown."""
    if None not in (run.config_hash, found) and run.config_hash != found:
        raise damaged(path, f"its configuration is {found}, the run's is {run.config_hash}")


def identity_of(run: Run) -> Identity:
    return Identity(**{name: getattr(run, name) for name in NAMES})


def _describe_damaged(folder: Path, run: Run | None, error: str) -> Run:
    """Return a damaged run without results, from its intact files, or at least its folder's name."""
    known = run
    if known is None:
        with contextlib.suppress(DamagedError):
            known = read_summary(folder)
    identity = identity_of(known) if known else _read_name(folder)
    config_hash = known.config_hash if known else None
    if config_hash is None:
        with contextlib.suppress(DamagedError):
            config_hash = hash_config(read_yaml(folder / CONFIG))
    found = run or Run(**vars(identity), path=folder, state=State.damaged)
    return replace(found, state=State.damaged, error=error, config_hash=config_hash)


def _read_name(folder: Path) -> Identity:
    """Return the identity in a folder's name."""
    step, *pairs = folder.parent.name.split(",")
    variant = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    seed = int(folder.name.removeprefix("seed"))
    return Identity(step, None, step, variant, None, folder.parents[1].name, seed, regime="", data="", recipe="")
