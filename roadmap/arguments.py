"""Numbers on the command line of a script."""

from argparse import ArgumentTypeError
from collections.abc import Callable


def whole_number(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """A type for argparse: a whole number, at least the lowest and at most the highest."""

    def number(text: str) -> int:
        value = int(text)
        if value < lowest or (highest is not None and value > highest):
            allowed = f"at least {lowest}" if highest is None else f"{lowest} to {highest}"
            raise ArgumentTypeError(f"{text}: {allowed}")
        return value

    return number


positive = whole_number(1)
