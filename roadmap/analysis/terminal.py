"""Tables for a terminal: columns that do not fit its width are left out by priority, and named below the table."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

GAP = 2  # columns of the terminal between two of a table: the padding, and rich's divider


@dataclass(frozen=True)
class TerminalColumn:
    """A column as text; `priority` 0 is always kept, and the highest number is left out first."""

    heading: str
    cells: Sequence[str]
    priority: int = 0
    is_number: bool = True

    @property
    def width(self) -> int:
        return max(map(cell_len, (self.heading, *self.cells)))


def to_columns(lines: Sequence[Sequence[str]], priorities: Sequence[int] = ()) -> list[TerminalColumn]:
    """Return the columns of a table, given by lines. The first line is the heading, the first column has names."""
    columns = list(zip(*lines, strict=True))
    by_column = zip(columns, priorities or [0] * len(columns), strict=True)
    return [
        TerminalColumn(heading, cells, priority, is_number=place > 0)
        for place, ((heading, *cells), priority) in enumerate(by_column)
    ]


def table_width(columns: Sequence[TerminalColumn]) -> int:
    """Return the width in columns of the terminal, with the padding at the end."""
    return sum(column.width + GAP for column in columns) - 1


def draw_table(
    columns: Sequence[TerminalColumn], width: int, styles: Sequence[str] = ()
) -> tuple[Table, list[str]]:
    """Return the table for `rich.print`, and a line that names the columns left out, if any.

    No cell wraps, so the columns of priority 0 may exceed `width`. `styles` are those of the rows.
    """
    kept = list(columns)
    while table_width(kept) > width:
        least = max(kept, key=lambda column: column.priority)
        if least.priority == 0:
            break
        kept.remove(least)
    left_out = [column.heading for column in columns if column not in kept]
    table = Table(box=SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), show_edge=False)
    for column in kept:
        table.add_column(column.heading, justify="right" if column.is_number else "left", no_wrap=True)
    for index, cells in enumerate(zip(*(column.cells for column in kept), strict=True)):
        # Text, since a user's label is not markup: `[paper]` must stay visible.
        table.add_row(*map(Text, cells), style=styles[index] if styles else None)
    return table, [f"Not shown in {width} columns: {', '.join(left_out)}."] if left_out else []


def list_files(paths: Sequence[Path]) -> list[str]:
    """Return a line per file's stem, such as `outputs/trial/figures/roadmap.{png,svg,pdf}`."""
    kinds: dict[Path, list[str]] = {}
    for path in paths:
        kinds.setdefault(path.with_suffix(""), []).append(path.suffix.removeprefix("."))
    return [f"{stem}.{one[0]}" if len(one) == 1 else f"{stem}.{{{','.join(one)}}}" for stem, one in kinds.items()]


def closing_lines(paths: Sequence[Path], commands: Sequence[Sequence[str]]) -> list[str]:
    """Return where the files are, and the commands that show more."""
    lines = [f"written: {files}" for files in list_files(paths)]
    return [*lines, *(f"next: {shlex.join(command)}" for command in commands)]
