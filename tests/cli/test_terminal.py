"""A closed terminal, or a log on a full disk, does not end a training."""

import os
from pathlib import Path

import pytest

from roadmap.cli.console import Terminal


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_what_nobody_reads_is_dropped(kind: str) -> None:
    reader, writer = os.pipe() if kind == "pipe" else os.openpty()
    with os.fdopen(writer, "w") as file:
        console = Terminal(file=file)
        console.print("heard")
        os.close(reader)
        for _ in range(3):
            console.print("not heard")


@pytest.mark.system
def test_lines_that_do_not_fit_on_a_full_disk_are_lost_and_later_ones_written(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 240 * 1024)  # of 256 KiB
    with (small_disk / "log.txt").open("w") as file:
        console = Terminal(file=file, width=100_000)
        for _ in range(5):
            console.print("x" * 20_000)
        filler.unlink()
        console.print("there is room")
    assert (small_disk / "log.txt").read_text().endswith("there is room\n")
