"""Control characters in names and messages are printed as text."""

import io
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from rich.table import Table

from roadmap.errors import ConfigError, DataError, in_one_line, visible
from roadmap.system import console
from roadmap.system.console import Console, warn

ROOT = Path(__file__).parents[2]
HOSTILE = "cat\x1b]0;owned\x07\x1b[31m\x9b2J\udcff.jpg"
SHOWN = r"cat\x1b]0;owned\x07\x1b[31m\x9b2J\xff.jpg"


def test_control_characters_are_shown_as_escapes() -> None:
    assert visible(HOSTILE) == visible(visible(HOSTILE)) == SHOWN
    assert visible("an épagneul\t猫 🐈‍⬛\n") == "an épagneul\t猫 🐈‍⬛\n"
    assert visible("abc\u202egpj.exe \ud800") == r"abc\u202egpj.exe \ud800"
    assert in_one_line("a\nb\tc\r") == r"a\nb\tc\x0d"


@pytest.mark.parametrize("kind", [DataError, ConfigError])
def test_errors_contain_no_control_characters(kind: type[Exception]) -> None:
    assert f"{kind(HOSTILE)}" == str(kind(HOSTILE)) == SHOWN


@pytest.mark.parametrize("in_table", [False, True])
def test_console_prints_only_its_own_control_characters(in_table: bool) -> None:
    file = io.StringIO()
    table = Table("name")
    table.add_row(HOSTILE)
    Console(file=file, force_terminal=True, width=120).print(table if in_table else HOSTILE, style="bold")
    assert "\x1b[1" in file.getvalue()  # its own style: bold
    assert "cat\\x1b" in file.getvalue()
    assert "\x1b]" not in file.getvalue()
    assert "\x1b[31m" not in file.getvalue()


def test_warning_is_printed_once_and_verbatim(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_warned", set())
    for _ in range(2):
        warn(f"[bold]{HOSTILE}[/bold]")
    assert capfd.readouterr().err == f"warning: [bold]{SHOWN}[/bold]\n"


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_closed_stderr_does_not_stop_a_warning(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe() if kind == "pipe" else os.openpty()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as file:
        monkeypatch.setattr(sys, "stderr", file)
        for number in range(3):
            warn(f"{kind}: nobody reads warning {number}")
        monkeypatch.undo()
        with suppress(OSError):  # of what Python still holds
            file.close()


def test_only_rank_0_warns(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)
    warn("a warning of the second process")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("folder", ["roadmap", "scripts", "benchmarks"])
def test_all_code_prints_on_the_safe_console(folder: str) -> None:
    """rich's own console prints the escapes of a name."""
    files = [path for path in (ROOT / folder).rglob("*.py") if path != ROOT / "roadmap/system/console.py"]
    assert [
        path
        for path in files
        if re.search(r"from rich\.console import .*Console\b|rich\.print\(", path.read_text())
    ] == []
