"""Command-line arguments that several commands share, and their types."""

import math
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable


def add_config_dir(parser: ArgumentParser) -> None:
    """Add train.py's flag, for scripts that compose its runs."""
    parser.add_argument("--config-dir", metavar="FOLDER", help="of configs of your own, as in train.py")


def add_best(parser: ArgumentParser) -> None:
    """Add --best, for commands that show accuracies."""
    parser.add_argument(
        "--best",
        action="store_true",
        help="use the accuracy of the best epoch, picked on the validation set, not of the last",
    )


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


def positive_number(text: str) -> float:
    """Return a finite number above zero; an argparse type."""
    number = float(text)
    if not 0 < number < math.inf:
        raise ArgumentTypeError(f"{text}: must be above 0")
    return number
