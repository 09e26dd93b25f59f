"""The rows as a table: CSV for programs, Markdown for pages, and one for the terminal."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from roadmap.analysis.layout import missing_text, setting_text
from roadmap.analysis.results import Row, deviation, mean

BEST_EPOCH = "best epoch, picked on the validation set"

Value = str | int | float | None


@dataclass(frozen=True)
class Column:
    """One figure of a row: its name in a CSV file, its headings for a reader, and how it is printed."""

    key: str
    heading: str
    value: Callable[[Row], Value]
    form: str = ""  # a format specification; empty for text
    short: str = ""  # the heading in a terminal, where it differs
    printed: bool = True  # in a terminal too, which has 80 columns


def columns(rows: Sequence[Row]) -> list[Column]:
    """The table's columns; the paper's is headed by whether its figures may be compared with the rows'."""
    comparable = bool(rows) and all(row.on_imagenet for row in rows)
    head = [
        Column("step", "step", step_name),
        Column("label", "label", lambda row: row.label, printed=False),
        Column("n", "n", lambda row: len(row.seeds), "d"),
        Column("top1_mean", "top-1 (%)", lambda row: mean(row.top1), ".2f", short="top-1"),
        Column("top1_sd", "sd", lambda row: deviation(row.top1), ".2f"),
        Column("change", "change", lambda row: row.change, "+.2f"),
        Column(
            "best_epoch_top1_mean",
            f"top-1 (%), {BEST_EPOCH}",
            lambda row: mean(row.best_top1),
            ".2f",
            printed=False,
        ),
    ]
    ema = [Column("ema_top1_mean", "top-1 (%), EMA", lambda row: row.ema_top1, ".2f", short="EMA")]
    tail = [
        Column("gmacs", "GMACs", lambda row: row.gmacs, ".4g"),
        Column("parameters_million", "parameters (M)", _million_parameters, ".3f", short="M params"),
        Column("images_per_s", "images/s", lambda row: row.images_per_s, ".0f"),
        Column(
            "paper_top1" if comparable else "paper_imagenet_top1",
            "paper top-1 (%)" if comparable else "paper (ImageNet)",
            lambda row: row.paper.top1 if row.paper else None,
            ".2f",
            short="paper",
        ),
        Column("failed", "failed", lambda row: row.failed, "d", printed=any(row.failed for row in rows)),
        Column(
            "unfinished", "unfinished", lambda row: row.unfinished, "d", printed=any(row.unfinished for row in rows)
        ),
    ]
    return head + (ema if any(row.ema_top1 is not None for row in rows) else []) + tail


def step_name(row: Row) -> str:
    """The step and its variant, as the run's folder is named."""
    return ",".join([row.step, *(f"{key}={value}" for key, value in row.variant.items())])


def notes(rows: Sequence[Row]) -> list[str]:
    """What a reader of the table has to know; one sentence each."""
    said = [
        f"{rows[0].experiment}: {setting_text(rows)}.",
        "Top-1 is the mean over n seeds after the last epoch, sd its sample standard deviation, "
        "change the difference to the mean of the step before.",
    ]
    missing = [f"{step_name(row)}: {missing_text(row)}" for row in rows if not row.seeds]
    if missing:
        said.append(f"Without a result: {'; '.join(missing)}.")
    devices = sorted({device for row in rows for device in row.devices})
    if any(row.paper for row in rows) and not all(row.on_imagenet for row in rows):
        said.append("The paper's top-1 is of its own networks on ImageNet, for orientation only.")
    if devices:
        said.append(f"Images/s in training, on {' and '.join(devices)}.")
    return said


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Numbers of eight significant digits; an empty cell where there is no number."""
    table = columns(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(column.key for column in table)
        for row in rows:
            writer.writerow(_plain(column.value(row)) for column in table)


def write_markdown(rows: Sequence[Row], path: Path) -> None:
    """A table and its notes; pipes in names are escaped."""
    table = columns(rows)
    lines = [
        _markdown_line([column.heading for column in table]),
        _markdown_line(["---:" if column.form else "---" for column in table]),
        *(_markdown_line([_printed(column, row) for column in table]) for row in rows),
    ]
    text = "\n".join(lines) + "\n\n" + "\n".join(f"- {_escaped(note)}" for note in notes(rows)) + "\n"
    path.write_text(text, encoding="utf-8")


def terminal_table(rows: Sequence[Row]) -> Table:
    """The same rows for `rich.print`; a row without a result is dim, a variant in italics."""
    table = [column for column in columns(rows) if column.printed]
    caption = Text("\n".join(notes(rows)))
    printed = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, caption=caption, caption_justify="left")
    for column in table:
        number = bool(column.form)
        printed.add_column(
            column.short or column.heading,
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
        )
    for row in rows:
        style = "dim" if not row.seeds else "italic" if row.variant else None
        # Text, since a user's label is no markup: `[paper]` has to be seen.
        printed.add_row(*(Text(_printed(column, row)) for column in table), style=style)
    return printed


def _million_parameters(row: Row) -> float | None:
    return None if row.parameters is None else row.parameters / 1e6


def _plain(value: Value) -> str:
    if value is None:
        return ""
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _printed(column: Column, row: Row) -> str:
    value = column.value(row)
    return "" if value is None else format(value, column.form)


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")
