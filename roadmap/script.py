"""What all scripts share: how they end, and numbers on their command line."""

import signal
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import NoReturn


def run_script(main: Callable[[], int]) -> NoReturn:
    """Ends with the status of `main`; without a trace on Ctrl-C, or where a reader such as head ends."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


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
