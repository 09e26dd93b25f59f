"""Progress of runs that a sweep trains side by side: a live table on a terminal, elsewhere a line a minute.

It is read from the runs' own files. On a terminal, what their processes print appears above the table.
"""

import os
import select
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from rich.live import Live
from rich.text import Text

from roadmap.cli.console import LIVE_TABLE, LOADING, OUT, Terminal, print_line
from roadmap.cli.status_table import describe_counts, draw_statuses
from roadmap.errors import RoadmapError
from roadmap.runs.experiment_status import RunStatus, read_status
from roadmap.runs.read_run import State
from roadmap.runs.run_dir import RunDir
from roadmap.system.console import Console

LINE_EVERY_S = 60
DRAW_EVERY_S = 1.0
LOOK_EVERY_S = 0.2  # for the end
CHUNK = 2**16  # bytes, which a pipe holds at most
STANDARD = (1, 2)  # file descriptors of standard output and standard error
STYLES = {"error:": "bold red", "warning:": "bold yellow"}


class Runs:
    """The statuses of a sweep's runs. Those that are done are not read again."""

    def __init__(self, folders: Sequence[RunDir]):
        self.folders = folders
        self._done: dict[RunDir, RunStatus] = {}

    def read(self) -> list[RunStatus]:
        """Return the status of each run that has a folder, in the order of the command."""
        found = []
        for folder in self.folders:
            status = self._done.get(folder)
            if status is None and (run := folder.state()) is not None:
                status = read_status(run)
                if status.state is State.done:
                    self._done[folder] = status
            if status is not None:
                found.append(status)
        return found


@contextmanager
def watched(folders: Sequence[RunDir]) -> Iterator[None]:
    """Show the progress of runs that other processes train, until the context ends."""
    if not folders or OUT.quiet:
        yield
        return
    is_live = OUT.is_terminal and not OUT.is_dumb_terminal and os.isatty(STANDARD[0])
    with _live_table(Runs(folders)) if is_live else _lines(Runs(folders)):
        yield


@contextmanager
def _lines(runs: Runs) -> Iterator[None]:
    ended = threading.Event()

    def print_lines() -> None:
        with suppress(RoadmapError, OSError):  # a file that cannot be read now, as in a live table
            if any(status.state is not State.done for status in runs.read()):
                print_line(LOADING)
        while not ended.wait(LINE_EVERY_S):
            with suppress(RoadmapError, OSError):
                print_line(describe_progress(runs.read()))

    thread = threading.Thread(target=print_lines, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def describe_progress(statuses: Sequence[RunStatus]) -> str:
    """Return one line: the count of each state, the time left, and how far each running run is."""
    running = [
        f"{status.run.name} seed {status.run.seed} epoch {status.epoch}/{status.run.epochs or 0}"
        + ("" if status.top1 is None else f" top-1 {status.top1:.2f}")
        for status in statuses
        if status.state is State.running
    ]
    return "; ".join([describe_counts(statuses), *running])


@contextmanager
def _live_table(runs: Runs) -> Iterator[None]:
    """Draw the table on the terminal, whose file descriptors become a pipe to this process meanwhile.

    So nothing that a run's process prints, a crash included, tears the table.
    """
    sys.stdout.flush()
    reader, writer = os.pipe()
    redirected = [number for number in STANDARD if os.isatty(number)]
    kept = [os.dup(number) for number in redirected]
    terminal = os.fdopen(os.dup(STANDARD[0]), "w", encoding="utf-8", errors="replace")
    for number in redirected:
        os.dup2(writer, number)
    os.close(writer)
    os.environ[LIVE_TABLE] = "1"
    table = LiveTable(runs, Terminal(file=terminal, force_terminal=True), reader)
    table.start()
    try:
        yield
    finally:
        del os.environ[LIVE_TABLE]
        sys.stdout.flush()
        sys.stderr.flush()
        for number, own in zip(redirected, kept, strict=True):
            os.dup2(own, number)
            os.close(own)
        table.stop()
        os.close(reader)
        terminal.close()


class LiveTable(threading.Thread):
    """A thread that draws the table each second, and above it the lines that it reads from a pipe."""

    def __init__(self, runs: Runs, console: Console, reader: int):
        super().__init__(daemon=True)
        self.runs, self.console, self.reader = runs, console, reader
        self._ended = threading.Event()
        self._rest = b""  # of a line that is not complete

    def stop(self) -> None:
        """Print what is left in the pipe, and remove the table."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        live = Live(
            console=self.console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        next_draw = 0.0
        with live:
            while not self._ended.is_set():
                if time.monotonic() >= next_draw:
                    with suppress(RoadmapError, OSError):  # nothing may stop the reading of the pipe
                        self._draw(live)
                    next_draw = time.monotonic() + DRAW_EVERY_S
                if select.select([self.reader], [], [], LOOK_EVERY_S)[0]:
                    self._print_lines()
            while select.select([self.reader], [], [], 0)[0] and self._print_lines():
                pass
            if self._rest:
                self._print(self._rest)

    def _draw(self, live: Live) -> None:
        with suppress(OSError):  # of a terminal that was closed
            size = os.get_terminal_size(self.console.file.fileno())  # which may change
            self.console.size = size if all(size) else self.console.size  # 0: unknown
        statuses = self.runs.read()
        is_loading = not any(status.epoch for status in statuses)
        live.update(draw_statuses(statuses, *self.console.size, LOADING if is_loading else ""), refresh=True)

    def _print_lines(self) -> bool:
        """Print the complete lines of what is in the pipe; False if no process has it open."""
        read = os.read(self.reader, CHUNK)
        *lines, self._rest = (self._rest + read).split(b"\n")
        for line in lines:
            self._print(line)
        return bool(read)

    def _print(self, line: bytes) -> None:
        shown = Text.from_ansi(line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace"))
        for word, style in STYLES.items():
            if shown.plain.startswith(word):
                shown.stylize(style, 0, len(word))
        self.console.print(shown, soft_wrap=True)
