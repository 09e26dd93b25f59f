"""A training run as a value, and the table of runs that is published and that figures read."""

import csv
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from itertools import repeat
from pathlib import Path
from typing import Any, get_args, get_type_hints

from roadmap.errors import RunError
from roadmap.runs.naming import network_name

DONE = "done"
FAILED = "failed"
FORMER = "settings"  # column of tables that were written before `overrides`
DAMAGED = "damaged"  # state.json has the state done, but summary.json is unusable


@dataclass(frozen=True)
class Run:
    """One training: its identity, its state and, if it is done, its results."""

    path: Path
    step: str
    step_index: int | None
    label: str
    variant: dict[str, str]  # differences from the paper's step; empty for the step itself
    reference: str | None  # timm's name of a network that is no step, such as Swin-T
    seed: int
    state: str  # pending, running, done, failed or interrupted, as written; or damaged
    error: str | None
    experiment: str
    regime: str
    data: str
    recipe: str
    top1: float | None = None  # percent, after the last epoch; None until done, like all below
    best_top1: float | None = None  # percent, of the best epoch on the validation set
    best_epoch: float | None = None  # that epoch, from 1
    ema_top1: float | None = None  # percent, of the averaged weights; None also if the recipe has no EMA
    loss: float | None = None  # on the validation set, after the last epoch
    epochs: float | None = None  # count
    gmacs: float | None = None  # 1e9 multiply-accumulates for one image of the data's size
    parameters: float | None = None  # count
    images_per_s: float | None = None  # training throughput
    seconds: float | None = None  # of the whole training
    device: str | None = None
    commit: str | None = None  # of the code that trained it
    config_hash: str | None = None  # of all values that define its result
    setting_hash: str | None = None  # the same without network and seed: equal for comparable runs
    overrides: str | None = None  # of a published run: the words of `python train.py`, quoted for a shell

    @property
    def name(self) -> str:
        """The step with its variant, such as step7_kernel,kernel_size=9."""
        return network_name(self.step, self.variant)


def write_run_table(runs: Iterable[Run], path: Path, settings: Iterable[Mapping[str, str]] | None = None) -> None:
    """Write a CSV file with a row per run; a missing value is an empty cell. Numbers keep every digit.

    `settings` are further columns before a run's own, the same for each run.
    """
    names = [field.name for field in fields(Run) if field.name != "path"]
    rows = [
        {**more, **{name: _to_cell(getattr(run, name)) for name in names}}
        for run, more in zip(runs, repeat({}) if settings is None else settings, strict=False)
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_run_table(path: Path) -> list[Run]:
    """Return the runs of such a table, each with the path that its folder would have.

    RunError: a column is missing, or a cell has a wrong value; names file, line and cell.
    """
    runs = [run for run, _ in read_run_settings(path)]
    if not runs:
        raise RunError(f"{path}: no run")
    return runs


def read_run_settings(path: Path) -> list[tuple[Run, dict[str, str]]]:
    """Return each run of such a table, and the other columns of its row.

    RunError: as read_run_table.
    """
    parsers = {name: _parser(kind) for name, kind in get_type_hints(Run).items() if name != "path"}
    found = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        required = [field.name for field in fields(Run) if field.name in parsers and field.default is MISSING]
        missing = [name for name in required if name not in (reader.fieldnames or ())]
        if missing:
            raise RunError(f"{path}: no table of runs, it lacks the columns {', '.join(missing)}")
        for cells in reader:
            values: dict[str, Any] = {}
            for name, parse in parsers.items():
                try:
                    values[name] = parse(cells.get(name, ""))
                except (ValueError, TypeError) as error:
                    raise RunError(f"{path}, line {reader.line_num}: {name} is {cells[name]!r}") from error
            run = Run(path=path.parent, **values)
            own = {key: value for key, value in cells.items() if key not in (*parsers, FORMER)}
            found.append((replace(run, path=path.parent / run.name / f"seed{run.seed}"), own))
    return found


def _to_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ",".join(f"{key}={one}" for key, one in value.items())
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _parser(kind: Any) -> Callable[[str], Any]:
    if kind == dict[str, str]:
        return lambda cell: dict(pair.split("=", 1) for pair in cell.split(",") if pair)
    if isinstance(kind, types.UnionType):
        (inner,) = (one for one in get_args(kind) if one is not types.NoneType)
        return lambda cell: inner(cell) if cell else None
    plain: Callable[[str], Any] = kind
    return plain
