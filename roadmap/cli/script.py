"""Shared parts of all scripts: exit status, tables, and numbers on the command line."""

import codecs
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from rich.table import Table

    from roadmap.system.console import Console

WIDEST = 1000  # columns
ASCII = {"±": "+/-", "…": "...", "–": "-", "—": "-", "×": "x", "−": "-", "→": "->", "≥": ">=", "≤": "<="}


def run_script(main: Callable[[], int]) -> NoReturn:
    """Exit with the status of `main`; without a traceback on Ctrl-C, or if a reader such as head closes the pipe.

    A `main` that writes to other processes or to a network restores SIGPIPE: there a broken pipe is an error.
    """
    print_anything()
    if hasattr(signal, "SIGPIPE"):  # Windows has none
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def add_config_dir(parser: ArgumentParser) -> None:
    """Add train.py's flag, for scripts that compose its runs."""
    parser.add_argument("--config-dir", metavar="FOLDER", help="of configs of your own, as in train.py")


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


def print_table(console: "Console", table: "Table") -> None:
    """Print at full width: a narrow terminal folds the lines, while truncated cells would be unreadable."""
    from rich.measure import Measurement  # not all scripts need rich

    own, widest = console.width, console.options.update(width=WIDEST)
    console.width = max(own, Measurement.get(console, widest, table).maximum)
    console.print(table)
    console.width = own


def print_lines(console: "Console", lines: Iterable[str]) -> None:
    """Print lines verbatim: a path or name in them may contain brackets, which rich would parse as markup.

    Sentences wrap at words; a file or command is left whole, so that it can be copied.
    """
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=line.startswith(("written: ", "next: ")))


def whole_number(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """Return an argparse type: an integer of at least `lowest` and at most `highest`."""

    def number(text: str) -> int:
        value = int(text)
        if value < lowest or (highest is not None and value > highest):
            allowed = f"at least {lowest}" if highest is None else f"{lowest} to {highest}"
            raise ArgumentTypeError(f"{text} must be {allowed}")
        return value

    return number


positive = whole_number(1)
