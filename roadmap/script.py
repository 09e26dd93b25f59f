"""What all scripts share: how they end, and numbers on their command line."""

import signal
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from rich.table import Table

    from roadmap.console import Console

WIDEST = 1000  # columns


def run_script(main: Callable[[], int]) -> NoReturn:
    """Ends with the status of `main`; without a trace on Ctrl-C, or where a reader such as head ends.

    A `main` that writes to other processes or to a network takes SIGPIPE back: there a broken pipe is an error.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def print_table(console: "Console", table: "Table") -> None:
    """As wide as it needs to be: a narrow terminal folds its lines, where cut cells could not be read."""
    from rich.measure import Measurement  # not all scripts need rich

    widest = console.options.update(width=WIDEST)
    console.width = max(console.width, Measurement.get(console, widest, table).maximum)
    console.print(table)


def whole_number(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """A type for argparse: a whole number, at least the lowest and at most the highest."""

    def number(text: str) -> int:
        value = int(text)
        if value < lowest or (highest is not None and value > highest):
            allowed = f"at least {lowest}" if highest is None else f"{lowest} to {highest}"
            raise ArgumentTypeError(f"{text} must be {allowed}")
        return value

    return number


positive = whole_number(1)
