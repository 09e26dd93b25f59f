"""Output of a command: tables and lines at the terminal's width, any text in any encoding, and CSV files."""

import codecs
import csv
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from roadmap.system.console import Console

WIDEST = 1000  # columns
PIPE_WIDTH = 160  # columns if the output is no terminal
ASCII = {"±": "+/-", "…": "...", "–": "-", "—": "-", "×": "x", "−": "-", "→": "->", "≥": ">=", "≤": "<="}


def open_console(pipe_width: int = PIPE_WIDTH, highlight: bool = True) -> "Console":
    """Return a command's console, of `pipe_width` columns if the output is no terminal."""
    from roadmap.system.console import Console  # not all scripts need rich

    return Console(width=None if sys.stdout.isatty() else pipe_width, highlight=highlight)


def print_table(console: "Console", table: "Table", lines: Iterable[str] = ()) -> None:
    """Print a table and the lines below it.

    A narrow terminal folds the table's lines, while truncated cells would be unreadable.
    """
    from rich.measure import Measurement  # not all scripts need rich

    own, widest = console.width, console.options.update(width=WIDEST)
    console.width = max(own, Measurement.get(console, widest, table).maximum)
    console.print(table)
    console.width = own
    print_lines(console, lines)


def print_lines(console: "Console", lines: Iterable[str]) -> None:
    """Print lines verbatim: a path or name in them may contain brackets, which rich would parse as markup.

    Sentences wrap at words; a file or command is left whole, so that it can be copied.
    """
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=line.startswith(("written: ", "next: ")))


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], left_out: Collection[str] = ()) -> None:
    """Write rows as a CSV file, without the columns `left_out`."""
    names = [name for name in (rows[0] if rows else {}) if name not in left_out]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def format_mebibytes(size: int | None) -> str:
    return "" if size is None else f"{size / 2**20:,.0f}"


def print_anything() -> None:
    """Let standard output and error accept any text, even if their encoding lacks a character.

    For example ASCII (LC_ALL=C, PYTHONIOENCODING), Windows' code pages, or UTF-8 with file names that are not.
    """
    codecs.register_error("roadmap", _spell)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's takes any text
            stream.reconfigure(errors="roadmap")


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that can't be encoded by ASCII equivalents, or by their code point."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    spelled = (ASCII.get(char) or char.encode("ascii", "backslashreplace").decode() for char in text)
    return "".join(spelled), error.end
