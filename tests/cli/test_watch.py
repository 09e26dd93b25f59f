"""The display of a sweep side by side: a live table that fits its terminal, and what processes print above it."""

import os
import pty
import re
import select
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from roadmap.cli import watch
from roadmap.cli.console import Terminal
from roadmap.cli.status_table import choose_rows, draw_statuses
from roadmap.cli.watch import LiveTable, Runs, describe_progress
from roadmap.errors import RunError
from roadmap.runs.experiment_status import RunStatus
from roadmap.runs.read_run import Run, State

NAME = "step12_downsample,norm=batchnorm"


def status(state: State, seed: int = 0, error: str | None = None) -> RunStatus:
    run = Run(
        NAME, 12, NAME, {}, None, "trial", seed, "micro", "digits", "short",
        path=Path("x"), state=state, epochs=300, host="node17", pid=4_194_304, error=error,
    )  # fmt: skip
    is_begun = state is not State.pending
    return RunStatus(
        run, epoch=200 * is_begun, top1=81.97 if is_begun else None, epoch_seconds=600.0, images_per_s=1e5
    )


def draw(statuses: list[RunStatus], width: int, height: int | None = None) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(draw_statuses(statuses, width, height))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "left_out"), [(80, ["state", "process"]), (120, [])])
def test_columns_are_left_out_and_no_row_wraps(width: int, left_out: list[str]) -> None:
    lines = draw([status(State.running, seed) for seed in range(3)], width)
    assert max(map(len, lines)) <= width
    assert [line.split()[:2] for line in lines[2:5]] == [[NAME, str(seed)] for seed in range(3)]
    assert all("81.97" in line and "16 h 40 min" in line for line in lines[2:5])
    assert (f"Not shown in {width} columns: {', '.join(left_out)}." in lines) == bool(left_out)


def test_a_live_table_fits_its_terminal_and_keeps_the_runs_that_run_or_failed() -> None:
    error = "out of memory: " + "a smaller batch needs less " * 9
    states = [State.done] * 30 + [State.failed] + [State.running] * 2 + [State.pending] * 6
    statuses = [status(state, seed, error if state is State.failed else None) for seed, state in enumerate(states)]
    lines = draw(statuses, 80, 16)
    assert len(lines) <= 16
    assert max(map(len, lines)) <= 80
    assert {"30", "31", "32"} <= {line.split()[1] for line in lines[2:-3]}
    assert "39 runs: 6 pending, 2 running, 30 done, 1 failed; about" in lines[-1]
    assert [one.run.seed for one in choose_rows(statuses, 3)] == [30, 31, 32]


def test_runs_with_one_reason_share_a_line() -> None:
    lines = draw([status(State.interrupted, seed, "interrupted by Ctrl-C") for seed in range(5)], 200)
    assert f"interrupted: {NAME} seed 0, {NAME} seed 1, {NAME} seed 2 and 2 more: interrupted by Ctrl-C" in lines


def test_a_line_a_minute_says_how_far_the_runs_are() -> None:
    counts, run = describe_progress([status(State.running), status(State.pending)]).rsplit("; ", 1)
    assert counts == "2 runs: 1 pending, 1 running; about 66 h 40 min left with 1 at once"
    assert run == f"{NAME} seed 0 epoch 200/300 top-1 81.97"


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[LiveTable, int, int]]:
    """A live table of one run, the end of the pipe that processes write to, and the terminal's other end."""
    monkeypatch.setattr(Runs, "read", lambda _: [status(State.running)])
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.01)
    reader, writer = os.pipe()
    other, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as file, os.fdopen(reader, "rb"):
        table = LiveTable(Runs([]), Terminal(file=file, force_terminal=True, width=100), reader)
        table.start()
        yield table, writer, other
        table.stop()


def test_lines_of_processes_stay_whole_above_the_table(table: tuple[LiveTable, int, int]) -> None:
    live, writer, other = table
    shown = ""
    while NAME not in shown:
        assert select.select([other], [], [], 30)[0], f"no table within 30 s, but {shown!r}"
        shown += os.read(other, 2**16).decode()
    os.write(writer, b"one line\nerror: it fai")
    os.write(writer, b"led\nno end")
    os.close(writer)
    live.stop()
    above = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(other, 2**16).decode())
    os.close(other)
    assert {"one line", "error: it failed", "no end"} <= set(above.splitlines())


def test_a_closed_terminal_does_not_hold_up_processes(table: tuple[LiveTable, int, int]) -> None:
    live, writer, other = table
    os.close(other)
    written = threading.Thread(
        target=lambda: [os.write(writer, b"x" * 2**15 + b"\n") for _ in range(8)], daemon=True
    )
    written.start()
    written.join(timeout=5)
    assert not written.is_alive()
    os.close(writer)
    live.stop()


def test_a_run_that_cannot_be_read_for_a_moment_ends_no_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([RunError("damaged"), RunError("damaged")])
    is_read = threading.Event()

    def read(_: Runs) -> list[RunStatus]:
        if error := next(answers, None):
            raise error
        is_read.set()
        return [status(State.running)]

    monkeypatch.setattr(Runs, "read", read)
    monkeypatch.setattr(watch, "LINE_EVERY_S", 0.01)
    with watch._lines(Runs([])):
        assert is_read.wait(10)
    assert f"{NAME} seed 0 epoch 200/300 top-1 81.97" in capsys.readouterr().out
