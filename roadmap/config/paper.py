"""Published results of a roadmap, `published.csv` in its folder, as data."""

import csv
from dataclasses import dataclass
from pathlib import Path

from roadmap.errors import ConfigError


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
    gflops: float  # as printed; papers count a multiply-accumulate as one FLOP
    gmacs: float | None  # computed from the definitions; None for a reference
    adopted: bool


def read_published(path: Path) -> tuple[PaperRow, ...]:
    """Return every row of a file, in its order.

    Raises:
        ConfigError: a column is missing, or a value is no number; names the line.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = []
        for number, line in enumerate(csv.DictReader(file), start=2):
            try:
                rows.append(_read_row(line))
            except (KeyError, TypeError, ValueError) as error:
                raise ConfigError(f"{path}, line {number}: {type(error).__name__}: {error}") from None
        return tuple(rows)


def _read_row(line: dict[str, str]) -> PaperRow:
    config, _, changed = line["config"].partition(" + ")
    axis, _, value = changed.partition("=")
    return PaperRow(
        regime=line["regime"],
        step=int(line["step"]) if line["step"] else None,
        config=config,
        variant=((axis, value),) if changed else (),
        label=line["label"],
        top1=float(line["paper_top1"]),
        top1_std=_number(line["paper_top1_std"]),
        gflops=float(line["paper_gflops"]),
        gmacs=_number(line["gmacs"]),
        adopted=line["adopted"] == "yes",
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
