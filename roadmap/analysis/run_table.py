"""Table of runs that is published and that figures read."""

import csv
import io
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, replace
from itertools import repeat
from pathlib import Path
from typing import Any, get_args

from roadmap.errors import RunError
from roadmap.runs.read_files import check_values, read_text
from roadmap.runs.read_run import KINDS, Run, State, check_ranges
from roadmap.runs.read_run import REQUIRED as RESULTS

COLUMNS = (
    *("step", "step_index", "label", "variant", "reference", "seed", "state", "error", "experiment"),
    *("regime", "data", "recipe", "top1", "best_top1", "best_epoch", "ema_top1", "loss", "epochs", "gmacs"),
    *("parameters", "images_per_s", "seconds", "device", "data_fingerprint", "commit", "config_hash"),
    *("setting_hash", "roadmap", "overrides"),
)  # a run's fields without those of the machine that trained it
REQUIRED = tuple(field.name for field in fields(Run) if field.name in COLUMNS and field.default is MISSING)
LARGEST = 2**28  # bytes of a table


def write_run_table(runs: Iterable[Run], path: Path, settings: Iterable[Mapping[str, str]] | None = None) -> None:
    """Write a CSV file with a row per run; a missing value is an empty cell. Numbers keep every digit.

    `settings` are further columns before a run's own, the same for each run.
    """
    rows = [
        {**more, **{name: _to_cell(getattr(run, name)) for name in COLUMNS}}
        for run, more in zip(runs, repeat({}) if settings is None else settings, strict=False)
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_run_table(path: Path) -> list[Run]:
    """Return the runs of such a table, each with the path that its folder would have.

    RunError: there is none, a column is missing, a cell has a wrong value, or a run is there twice; names file,
    line and cell.
    """
    runs: list[Run] = []
    lines: dict[tuple[str | int, ...], int] = {}
    for line, cells in read_table(path, "runs", REQUIRED):
        values: dict[str, Any] = {}
        for name in COLUMNS:
            try:
                values[name] = parse_cell(name, cells.get(name) or "")
            except (ValueError, TypeError) as error:
                raise RunError(f"{path}, line {line}: {name} is {cells[name]!r}") from error
        run = Run(path=path.parent, **values)
        try:
            check_run(run)
        except ValueError as error:
            raise RunError(f"{path}, line {line}: {error}") from error
        place = (run.experiment, run.name, run.regime, run.data, run.recipe, run.seed)
        if (first := lines.setdefault(place, line)) != line:
            raise RunError(f"{path}, line {line}: {run.name} seed {run.seed} is also in line {first}")
        runs.append(replace(run, path=path.parent / run.name / f"seed{run.seed}"))
    if not runs:
        raise RunError(f"{path}: no run")
    return runs


def check_run(run: Run) -> None:
    """Raise ValueError if a number is outside its range or not finite, or a finished run lacks a result."""
    values = {name: getattr(run, name) for name in COLUMNS}
    check_values(values, {name: KINDS[name] for name in COLUMNS})
    check_ranges(values)
    if run.state is State.done:
        for name in RESULTS:
            if values[name] is None:
                raise ValueError(f"the finished run has no {name}")


def read_table(path: Path, what: str, required: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number and the cells of each line of a CSV file.

    RunError: it cannot be read, lacks a required column, or a line has fewer or more cells than the heading.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path, LARGEST), newline=""))
        missing = [name for name in required if name not in (reader.fieldnames or ())]
        if missing:
            raise RunError(f"{path}: no table of {what}, it lacks the columns {', '.join(missing)}")
        for cells in reader:
            if None in cells or None in cells.values():
                few = "few" if None in cells.values() else "many"
                raise RunError(f"{path}, line {reader.line_num}: too {few} cells for the heading; is it cut off?")
            yield reader.line_num, cells
    except (OSError, csv.Error) as error:
        raise RunError(f"{path}: no table of {what} ({error})") from error


def show_variant(variant: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in variant.items())


def parse_variant(cell: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in cell.split(",") if pair)


def parse_cell(name: str, cell: str) -> Any:
    """Return the value of a run's field from a cell; raises ValueError or TypeError if it has none of that kind."""
    return PARSERS[name](cell)


def _to_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return show_variant(value)
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _parser(kind: Any) -> Callable[[str], Any]:
    if kind == dict[str, str]:
        return parse_variant
    if isinstance(kind, types.UnionType):
        (inner,) = (one for one in get_args(kind) if one is not types.NoneType)
        return lambda cell: inner(cell) if cell else None
    plain: Callable[[str], Any] = kind
    return plain


PARSERS = {name: _parser(KINDS[name]) for name in COLUMNS}
