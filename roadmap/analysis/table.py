"""Table of rows: CSV for programs, Markdown for pages, and a version for the terminal."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from roadmap.analysis.figures.layout import accuracies, missing_text, setting_text
from roadmap.analysis.results import Row, drawn_rows, is_ablation, mean, std
from roadmap.analysis.significance import RowStats, compute_row_stats, method_text, pooled_text, verdict_text
from roadmap.analysis.stats import ALPHA, Difference, Estimate
from roadmap.runs.naming import network_name

BEST_EPOCH = "best epoch, picked on the validation set"
OF_BEST = "of the epoch that was best on the validation set"
ABLATED = ", for an ablation minus that of its own step"

Value = str | int | float | None


@dataclass(frozen=True)
class Column:
    """One quantity of a row: its name in a CSV file, its headings for a reader, and its format."""

    key: str
    heading: str
    value: Callable[[RowStats], Value]
    form: str = ""  # a format specification; empty for text
    short: str = ""  # heading in a terminal, if it differs
    printed: bool = True  # also in a terminal, which has 80 columns


def columns(rows: Sequence[Row], best: bool = False) -> list[Column]:
    """Return the table's columns; the heading of the paper's says whether its values are comparable.

    Standard deviation, intervals and changes are of the last epoch, or with `best` of the best one.
    """
    has_ema = any(row.ema_top1 is not None for row in rows)
    ema = Column("ema_top1_mean", "top-1 (%), EMA", lambda one: one.row.ema_top1, ".2f", short="EMA")
    return [*_accuracy_columns(best), *_test_columns(), *([ema] if has_ema else []), *_cost_columns(rows)]


def _accuracy_columns(best: bool) -> list[Column]:
    interval = f"{1 - ALPHA:.0%} interval"
    last_mean = Column(
        "top1_mean", "top-1 (%)", lambda one: mean(one.row.top1), ".2f", short="top-1", printed=not best
    )
    best_mean = Column(
        "best_epoch_top1_mean",
        f"top-1 (%), {BEST_EPOCH}",
        lambda one: mean(one.row.best_top1),
        ".2f",
        short="best",
        printed=best,
    )
    first, second = (best_mean, last_mean) if best else (last_mean, best_mean)
    return [
        Column("step", "step", lambda one: step_name(one.row)),
        Column("label", "label", lambda one: one.row.label, printed=False),
        Column("n", "n", lambda one: len(one.row.seeds), "d"),
        first,
        Column("top1_std", "std", lambda one: std(accuracies(one.row, best)), ".2f"),
        Column("top1_low", f"{interval} from", lambda one: _low(one.estimate), ".2f", printed=False),
        Column("top1_high", "to", lambda one: _high(one.estimate), ".2f", printed=False),
        Column("change", "change", lambda one: one.change.difference.mean if one.change else None, "+z.2f"),
        second,
    ]


def _test_columns() -> list[Column]:
    """Return the columns of a change's test; a terminal has it in words below the table."""
    return [
        Column("change_low", "change from", lambda one: _low(_difference(one)), "+z.2f", printed=False),
        Column("change_high", "to", lambda one: _high(_difference(one)), "+z.2f", printed=False),
        Column("change_p", "p (Holm)", lambda one: one.change.p if one.change else None, ".3f", printed=False),
        Column(
            "min_detectable_effect",
            "min. detectable effect",
            lambda one: one.change.difference.min_detectable_effect if one.change else None,
            ".2f",
            printed=False,
        ),
        Column("verdict", "verdict", lambda one: one.change.explanation if one.change else None, printed=False),
    ]


def _cost_columns(rows: Sequence[Row]) -> list[Column]:
    comparable = bool(rows) and all(row.on_imagenet for row in rows)
    return [
        Column("gmacs", "GMACs", lambda one: one.row.gmacs, ".4g"),
        Column("parameters_million", "parameters (M)", _million_parameters, ".3f", short="M params"),
        Column("images_per_s", "images/s", lambda one: one.row.images_per_s, ".0f"),
        Column(
            "paper_top1" if comparable else "paper_imagenet_top1",
            "paper top-1 (%)" if comparable else "paper (ImageNet)",
            lambda one: one.row.paper.top1 if one.row.paper else None,
            ".2f",
            short="paper",
        ),
        Column("failed", "failed", lambda one: one.row.failed, "d", printed=any(row.failed for row in rows)),
        Column(
            "unfinished",
            "unfinished",
            lambda one: one.row.unfinished,
            "d",
            printed=any(row.unfinished for row in rows),
        ),
    ]


def _difference(one: RowStats) -> Difference | None:
    return one.change.difference if one.change else None


def _low(found: Estimate | Difference | None) -> float | None:
    return found.interval.low if found and found.interval else None


def _high(found: Estimate | Difference | None) -> float | None:
    return found.interval.high if found and found.interval else None


def step_name(row: Row) -> str:
    """Return the step and its variant, as in the name of the run's folder."""
    return network_name(row.step, row.variant)


def notes(rows: Sequence[Row], best: bool = False) -> list[str]:
    """Return what a reader of the table has to know, in one sentence each."""
    epoch = OF_BEST if best else "after the last epoch"
    found = [
        f"{rows[0].experiment}: {setting_text(rows)}.",
        f"Top-1: mean over n seeds {epoch}. std: sample standard deviation. "
        f"change: top-1 minus that of the step before{ABLATED if any(map(is_ablation, rows)) else ''}.",
    ]
    row_stats = compute_row_stats(rows, best)
    found += [text for text in (verdict_text(row_stats), method_text(row_stats), pooled_text(rows, best)) if text]
    missing = [f"{step_name(row)}: {missing_text(row)}" for row in rows if not row.seeds]
    if missing:
        found.append(f"Without a result: {'; '.join(missing)}.")
    hidden = len(rows) - len(drawn_rows(rows))
    if hidden:
        found.append(
            f"{hidden} ablations are not in the figure of the roadmap; scripts/attribute.py prints their effects."
        )
    devices = sorted({device for row in rows for device in row.devices})
    if any(row.paper for row in rows) and not all(row.on_imagenet for row in rows):
        found.append("The paper's top-1 is that of its own networks on ImageNet.")
    if devices:
        found.append(f"Images/s: in training, on {' and '.join(devices)}.")
    return found


def write_csv(rows: Sequence[Row], path: Path, best: bool = False) -> None:
    """Write numbers with eight significant digits; a missing number is an empty cell."""
    table = columns(rows, best)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(column.key for column in table)
        for one in compute_row_stats(rows, best):
            writer.writerow(_plain(column.value(one)) for column in table)


def write_markdown(rows: Sequence[Row], path: Path, best: bool = False) -> None:
    """Write a table of all columns and its notes; pipes in names are escaped."""
    path.write_text(f"{_markdown(columns(rows, best), rows, best)}\n\n{markdown_notes(rows, best)}\n", "utf-8")


def markdown_table(rows: Sequence[Row], best: bool = False) -> str:
    """Return the terminal's columns as Markdown, for a page whose figure shows the rest."""
    return _markdown([column for column in columns(rows, best) if column.printed], rows, best)


def markdown_notes(rows: Sequence[Row], best: bool = False) -> str:
    """Return the table's notes as a list."""
    return "\n".join(f"- {_escaped(note)}" for note in notes(rows, best))


def _markdown(table: Sequence[Column], rows: Sequence[Row], best: bool) -> str:
    lines = [
        [column.heading for column in table],
        ["---:" if column.form else "---" for column in table],
        *([_printed(column, one) for column in table] for one in compute_row_stats(rows, best)),
    ]
    return "\n".join(map(_markdown_line, lines))


def terminal_table(rows: Sequence[Row], best: bool = False) -> Table:
    """Return the rows for `rich.print`; a row without a result is dim, a variant in italics."""
    table = [column for column in columns(rows, best) if column.printed]
    caption = Text("\n".join(notes(rows, best)))
    printed = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, caption=caption, caption_justify="left")
    for column in table:
        number = bool(column.form)
        printed.add_column(
            column.short or column.heading,
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
        )
    for one in compute_row_stats(rows, best):
        style = "dim" if not one.row.seeds else "italic" if one.row.variant else None
        # Text, since a user's label is not markup: `[paper]` must stay visible.
        printed.add_row(*(Text(_printed(column, one)) for column in table), style=style)
    return printed


def _million_parameters(one: RowStats) -> float | None:
    return None if one.row.parameters is None else one.row.parameters / 1e6


def _plain(value: Value) -> str:
    if value is None:
        return ""
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _printed(column: Column, one: RowStats) -> str:
    value = column.value(one)
    return "" if value is None else format(value, column.form)


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")
