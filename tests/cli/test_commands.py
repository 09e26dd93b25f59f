"""`convnet-roadmap COMMAND`: each command has one line of help and a module, and a typo names the nearest."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from roadmap import __version__
from roadmap.cli import commands
from roadmap.system.commands import FILES, printed

ROOT = Path(__file__).parents[2]
WIDTH = 100  # columns of a line of help


@pytest.fixture(autouse=True)
def restore_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["convnet-roadmap"])


def test_help_has_a_line_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:]] == [*commands.COMMANDS]
    assert max(map(len, lines)) <= WIDTH
    assert commands.main([]) == 2


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_each_command_has_a_module(name: str) -> None:
    assert importlib.util.find_spec(f"roadmap.cli.{name.replace('-', '_')}") is not None


def test_a_typo_names_the_nearest_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["stauts", "--watch"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: there is no command stauts. Did you mean status? Allowed: train, plan,")


def test_a_command_calls_itself_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        commands.main(["compare", "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage: convnet-roadmap compare ")
    with pytest.raises(SystemExit) as end:
        commands.main(["status", "nowhere"])
    assert end.value.code == 2


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["--version"]) == 0
    assert capsys.readouterr().out == f"convnet-roadmap {__version__}\n"


def test_a_printed_command_is_that_of_the_users_own_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed("plot", "outputs/trial") == ["convnet-roadmap", "plot", "outputs/trial"]
    monkeypatch.setattr(sys, "argv", ["scripts/plot_roadmap.py"])
    assert printed("plot", "outputs/trial") == ["python", "scripts/plot_roadmap.py", "outputs/trial"]
    assert set(FILES) <= set(commands.COMMANDS)


def test_each_script_starts_a_command() -> None:
    for path in (ROOT / "scripts").glob("*.py"):
        (module,) = re.findall(r"^from roadmap\.cli\.(\w+) import main$", path.read_text(), re.MULTILINE)
        assert module.replace("_", "-") in commands.COMMANDS
    assert all((ROOT / file).is_file() for file in FILES.values())
