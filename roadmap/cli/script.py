"""Shared parts of all scripts: exit status, tables, and numbers on the command line."""

import codecs
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, NoReturn, ParamSpec

from roadmap.errors import RoadmapError

if TYPE_CHECKING:
    from rich.table import Table

    from roadmap.system.console import Console

P = ParamSpec("P")

WIDEST = 1000  # columns
PIPE_WIDTH = 160  # columns if the output is no terminal
ASCII = {"±": "+/-", "…": "...", "–": "-", "—": "-", "×": "x", "−": "-", "→": "->", "≥": ">=", "≤": "<="}


def run_script(main: Callable[[], int]) -> NoReturn:
    """Exit with the status of `main`; without a traceback on Ctrl-C, or if a reader such as head closes the pipe.

    A `main` that writes to other processes or to a network restores SIGPIPE: there a broken pipe is an error.
    """
    print_anything()
    with ended_by_reader():
        try:
            status = main()
        except KeyboardInterrupt:
            status = 128 + signal.SIGINT
    sys.exit(status)


@contextmanager
def ended_by_reader() -> Iterator[None]:
    """In this context, a reader such as head that closes the pipe ends this process without a traceback."""
    has_pipes = hasattr(signal, "SIGPIPE")  # Windows has none
    outer = signal.signal(signal.SIGPIPE, signal.SIG_DFL) if has_pipes else None
    try:
        yield
    finally:
        sys.stdout.flush()  # while a closed pipe still ends the process
        if has_pipes:
            signal.signal(signal.SIGPIPE, outer)


def report_errors(status: int = 1) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Let a command print an error that the user can fix in one line, and return `status`."""

    def wrap(main: Callable[P, int]) -> Callable[P, int]:
        @wraps(main)
        def run(*args: P.args, **kwargs: P.kwargs) -> int:
            try:
                return main(*args, **kwargs)
            except (RoadmapError, OSError) as error:
                print(f"error: {error}", file=sys.stderr)
                return status

        return run

    return wrap


def open_console(pipe_width: int = PIPE_WIDTH, highlight: bool = True) -> "Console":
    """Return a command's console, of `pipe_width` columns if the output is no terminal."""
    from roadmap.system.console import Console  # not all scripts need rich

    return Console(width=None if sys.stdout.isatty() else pipe_width, highlight=highlight)


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
