"""How scripts exit: with the status of their work, or silently."""

import signal
import subprocess
import sys

import pytest
from rich.console import Console
from rich.table import Table

from roadmap.script import print_table

FEW_LINES = "from roadmap.script import run_script; run_script(lambda: print('line\\n' * 100_000) or 3)"


def test_the_status_of_its_work_is_a_scripts() -> None:
    process = subprocess.run([sys.executable, "-c", FEW_LINES], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (3, "")


def test_a_script_ends_where_its_reader_does() -> None:
    command = f'{sys.executable} -c "{FEW_LINES}" | head -1; echo ${{PIPESTATUS[0]}}'
    process = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (process.stdout, process.stderr) == (f"line\n{128 + signal.SIGPIPE}\n", "")


def test_ctrl_c_leaves_no_trace() -> None:
    program = (
        "import signal; from roadmap.script import run_script; run_script(lambda: signal.raise_signal(2) or 0)"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (128 + signal.SIGINT, "")


@pytest.mark.parametrize(("text", "message"), [("0", "0 must be at least 1"), ("x", "invalid")])
def test_numbers_of_the_command_line(text: str, message: str) -> None:
    program = (
        "import argparse; from roadmap.script import positive; parser = argparse.ArgumentParser(); "
        f"parser.add_argument('--n', type=positive); parser.parse_args(['--n', '{text}'])"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert message in process.stderr


def test_a_table_is_not_cut_for_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(*(f"heading {number}" for number in range(12)))
    table.add_row(*(f"{number / 7:.5f}" for number in range(12)))
    print_table(Console(width=40), table)
    printed = capsys.readouterr().out
    assert all(f"{number / 7:.5f}" in printed for number in range(12))
