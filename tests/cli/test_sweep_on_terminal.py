"""A sweep of separate processes on a terminal of 80 columns: one live table, then at most a screen of results."""

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COLUMNS, LINES = 80, 40
CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def run_on_terminal(command: list[str], environment: dict[str, str]) -> str:
    """Return what a command writes to its terminal, which it must leave with status 0."""
    reader, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    ) as process:
        os.close(terminal)
        written = b""
        while part := _read(reader):
            written += part
        os.close(reader)
    assert process.returncode == 0, written.decode()
    return written.decode()


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 2**16)
    except OSError:  # Linux's answer if every process has closed the terminal
        return b""


@pytest.mark.system
def test_a_sweep_shows_one_live_table_and_ends_with_a_screen(tmp_path: Path) -> None:
    words = ["+roadmap=step0_resnet", "seed=0,1", "recipe.epochs=1", f"output_dir={tmp_path}"]
    launcher = ["hydra/launcher=processes", "hydra.launcher.n_jobs=2"]
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    written = run_on_terminal(
        [sys.executable, "train.py", "-m", *launcher, *words],
        {**environment, "OMP_NUM_THREADS": "1", "TERM": "xterm-256color"},
    )
    live, _, last = CONTROL.sub("", written.replace("\r", "")).partition("step          n  top-1")
    assert written.count("\x1b[1A") > 1  # the live table is drawn again in its place
    assert re.search(r"run +seed  state +epoch  top-1  images/s  time left", live)
    assert re.search(r"step0_resnet +1  (running|pending) +0/1", live)
    assert "epoch 1/1" not in live  # no lines of single runs

    screen = last.splitlines()
    assert len(screen) < LINES
    assert [line for line in screen if line.startswith("step0_resnet  2 ")]
    assert [line for line in screen if line.startswith("written: ")]
    assert [line for line in screen if line.startswith("next: ")]
