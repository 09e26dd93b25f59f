"""A terminal that is gone ends nothing."""

import os

import pytest

from roadmap.terminal import Terminal


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_what_nobody_reads_is_dropped(kind: str) -> None:
    reader, writer = os.pipe() if kind == "pipe" else os.openpty()
    with os.fdopen(writer, "w") as file:
        console = Terminal(file=file)
        console.print("heard")
        os.close(reader)
        for _ in range(3):
            console.print("not heard")
