"""Numbers on the command line of a script."""

from argparse import ArgumentTypeError
from collections.abc import Callable


def whole_number(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """A type for argparse: a whole number, at least the lowest and at most the highest."""

    def number(text: str) -> int:
        value = int(text)
        if value < lowest or (highest is not None and value > highest):
            raise ArgumentTypeError(f"{text}: " + (f"{lowest} to {highest}" if highest else f"at least {lowest}"))
        return value

    return number


positive = whole_number(1)
