"""Published results of a roadmap, `published.csv` in its folder, as data."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadmap.config.convert import suggest
from roadmap.errors import ConfigError

COLUMNS = ["regime", "step", "config", "label", "paper_top1", "paper_top1_std", "paper_gflops", "gmacs", "adopted"]


@dataclass(frozen=True)
class PaperRow:
    """One published result: of a step, or of another value of its axis that was tried and not adopted."""

    regime: str
    step: int | None  # its index; None for the original recipe and for a reference
    config: str  # name of the step's file, or "reference"
    variant: tuple[tuple[str, str], ...]  # of a value that was tried but not adopted: its axis and value
    label: str
    top1: float  # percent, ImageNet-1K validation set
    top1_std: float | None  # percent, standard deviation over seeds; None if the paper ran one
    gflops: float | None  # as printed; papers count a multiply-accumulate as one FLOP; None if it is not printed
    gmacs: float | None  # computed from the definitions; None for a reference
    adopted: bool


def read_published(path: Path, places: Mapping[str, int | None]) -> tuple[PaperRow, ...]:
    """Return every row of a file, in its order.

    Args:
        places: the place of each step in the roadmap, and None for each network beside it.

    Raises:
        ConfigError: a column is missing, or a value is impossible; names the line and what is allowed.
    """
    rows: dict[tuple[Any, ...], int] = {}
    found = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # a spreadsheet may begin it with a mark
            reader = csv.DictReader(file)
            _check_columns(path, reader.fieldnames or ())
            for line in reader:
                try:
                    row = _read_row(line, places)
                    key = row.regime, row.config, row.variant
                    if key in rows:
                        raise ConfigError(
                            f"{row.regime} and {line['config']} are in line {rows[key]} already: keep one"
                        )
                except ConfigError as error:
                    raise ConfigError(f"{path}, line {reader.line_num}: {error}") from None
                rows[key] = reader.line_num
                found.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} is no CSV file in UTF-8: {error}") from None
    return tuple(found)


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if missing := [name for name in COLUMNS if name not in columns]:
        raise ConfigError(f"{path}, line 1: there is no column {missing[0]}. Needed: {', '.join(COLUMNS)}")


def _read_row(line: dict[Any, Any], places: Mapping[str, int | None]) -> PaperRow:
    if None in line or None in line.values():
        raise ConfigError(f"must have {len(line.keys() - {None})} values, as line 1: quote one that has a comma")
    config, plus, changed = line["config"].partition(" + ")
    axis, equals, value = changed.partition("=")
    if config not in places:
        known = list(places)
        raise ConfigError(
            f"{config} is no step of this roadmap.{suggest(config, known)} Allowed: {', '.join(known)}"
        )
    if plus and not (axis and equals and value):
        raise ConfigError(f"config={line['config']}: another value of a step is written STEP + AXIS=VALUE")
    place = places[config]
    if line["step"] not in ("", str(place)):
        allowed = "empty" if place is None else f"{place}, as in roadmap.toml, or empty"
        raise ConfigError(f"step={line['step']}: the place of {config}: must be {allowed}")
    for column in ("regime", "label"):
        if not line[column]:
            raise ConfigError(f"{column} is empty: must be a name")
    if line["adopted"] not in ("yes", "no") and (place is not None or line["adopted"]):
        raise ConfigError(f"adopted={line['adopted']}: must be yes or no")
    top1 = _number(line, "paper_top1", 0, 100)
    if top1 is None:
        raise ConfigError("paper_top1 is empty: must be a number from 0 to 100")
    return PaperRow(
        regime=line["regime"],
        step=int(line["step"]) if line["step"] else None,
        config=config,
        variant=((axis, value),) if changed else (),
        label=line["label"],
        top1=top1,
        top1_std=_number(line, "paper_top1_std", 0, 100),
        gflops=_number(line, "paper_gflops", 0),
        gmacs=_number(line, "gmacs", 0),
        adopted=line["adopted"] == "yes",
    )


def _number(line: Mapping[str, str], column: str, low: float, high: float = math.inf) -> float | None:
    """Return a number; None if it is empty, which means unknown."""
    text = line[column].strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and low <= number <= high):
        allowed = f"from {low} to {high}" if math.isfinite(high) else f"of at least {low}"
        raise ConfigError(f"{column}={text}: must be a number {allowed}")
    return number
