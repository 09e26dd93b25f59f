"""Table of rows: CSV for programs, Markdown for pages, and a version for the terminal."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.table import Table

from roadmap.analysis.figures.layout import cost_unit, missing_text, setting_text
from roadmap.analysis.results import Row, drawn_rows, is_ablation, short_names
from roadmap.analysis.significance import (
    RowStats,
    compute_row_stats,
    method_text,
    pooled_text,
    summary_text,
    verdict_text,
)
from roadmap.analysis.stats import COVERAGE, Difference, Estimate, mean, std
from roadmap.analysis.terminal import TerminalColumn, draw_table
from roadmap.system.commands import mentioned, printed

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
    printed: bool = True  # also in a terminal
    priority: int = 0  # in a narrow terminal the highest is left out first; 0 never is


def columns(rows: Sequence[Row], best: bool = False) -> list[Column]:
    """Return the table's columns; the heading of the paper's says whether its values are comparable.

    Standard deviation, intervals and changes are of the last epoch, or with `best` of the best one.
    """
    has_ema = any(row.ema_top1 is not None for row in rows)
    ema = Column("ema_top1_mean", "top-1 (%), EMA", lambda one: one.row.ema_top1, ".2f", short="EMA", priority=5)
    return [*_accuracy_columns(best), *_test_columns(), *([ema] if has_ema else []), *_cost_columns(rows)]


def _accuracy_columns(best: bool) -> list[Column]:
    interval = f"{COVERAGE} interval"
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
        Column("step", "step", lambda one: one.row.name),
        Column("label", "label", lambda one: one.row.label, printed=False),
        Column("n", "n", lambda one: len(one.row.seeds), "d", priority=4),
        first,
        Column("top1_std", "std", lambda one: std(one.row.accuracies(best)), ".2f", priority=3),
        Column("top1_low", f"{interval} from", lambda one: _ends(one.estimate)[0], ".2f", printed=False),
        Column("top1_high", "to", lambda one: _ends(one.estimate)[1], ".2f", printed=False),
        Column("change", "change", lambda one: one.change.difference.mean if one.change else None, "+z.2f"),
        second,
    ]


def _test_columns() -> list[Column]:
    """Return the columns of a change's test; a terminal has it in words below the table."""
    return [
        Column("change_low", "change from", lambda one: _ends(_difference(one))[0], "+z.2f", printed=False),
        Column("change_high", "to", lambda one: _ends(_difference(one))[1], "+z.2f", printed=False),
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
        Column("gmacs", "GMACs", lambda one: one.row.gmacs, ".4g", priority=2),
        Column("parameters_million", "parameters (M)", _million_parameters, ".3f", short="M params", priority=6),
        Column("images_per_s", "images/s", lambda one: one.row.images_per_s, ".0f", priority=7),
        Column(
            "paper_top1" if comparable else "paper_imagenet_top1",
            "paper top-1 (%)" if comparable else "paper (ImageNet)",
            lambda one: one.row.paper.top1 if one.row.paper else None,
            ".2f",
            short="paper",
            printed=any(row.paper for row in rows),
            priority=1,
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


def _ends(found: Estimate | Difference | None) -> tuple[float | None, float | None]:
    return (found.interval.low, found.interval.high) if found and found.interval else (None, None)


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
    missing = [f"{row.name}: {missing_text(row)}" for row in rows if not row.seeds]
    if missing:
        found.append(f"Without a result: {'; '.join(missing)}.")
    hidden = len(rows) - len(drawn_rows(rows))
    if hidden:
        found.append(
            f"{hidden} ablations are not in the figure of the roadmap; "
            f"{mentioned('attribute')} prints their effects."
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
    return "\n".join(f"| {' | '.join(map(_escaped, cells))} |" for cells in lines)


def terminal_table(rows: Sequence[Row], width: int, best: bool = False) -> tuple[Table, list[str]]:
    """Return the rows for `rich.print`, and the lines below them: the setting, the verdict, what has no result.

    A row without a result is dim, a variant in italics.
    """
    row_stats = compute_row_stats(rows, best)
    shown = [
        TerminalColumn(
            column.short or column.heading,
            [_printed(column, one) for one in row_stats],
            column.priority,
            is_number=bool(column.form),
        )
        for column in map(partial(_in_unit, rows), columns(rows, best))
        if column.printed
    ]
    styles = ["dim" if not row.seeds else "italic" if row.variant else "" for row in rows]
    table, left_out = draw_table(shown, width, styles)
    return table, [*left_out, *summary(rows, best)]


def summary(rows: Sequence[Row], best: bool = False) -> list[str]:
    """Return the setting, the verdict in a sentence, and what has no result, in a few lines."""
    row_stats = compute_row_stats(rows, best)
    lines = [f"{rows[0].experiment}: {setting_text(rows)}; {BEST_EPOCH if best else 'last epoch'}."]
    if verdict := summary_text(row_stats):
        lines.append(verdict)
    missing = [name for name, row in zip(short_names(rows), rows, strict=True) if not row.seeds]
    if missing:
        lines.append(f"Without a result: {', '.join(missing)}.")
    return lines


def next_commands(rows: Sequence[Row], experiment_dir: Path) -> list[list[str]]:
    """Return the commands that show more of an experiment than its table."""
    names = ["attribute", "report"] if any(map(is_ablation, rows)) else ["report"]
    return [printed(name, str(experiment_dir)) for name in names]


def _in_unit(rows: Sequence[Row], column: Column) -> Column:
    """Return the column of multiply-accumulates in the unit that suits the rows; another column as it is."""
    if column.key != "gmacs":
        return column
    unit, scale = cost_unit(rows)

    def value(one: RowStats) -> Value:
        return None if one.row.gmacs is None else one.row.gmacs * scale

    return replace(column, heading=unit, value=value, form=".3g" if scale == 1 else ".3f")


def _million_parameters(one: RowStats) -> float | None:
    return None if one.row.parameters is None else one.row.parameters / 1e6


def _plain(value: Value) -> str:
    if value is None:
        return ""
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _printed(column: Column, one: RowStats) -> str:
    value = column.value(one)
    return "" if value is None else format(value, column.form)


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")
