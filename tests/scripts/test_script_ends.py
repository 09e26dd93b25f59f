"""How scripts end: with the status of their work, or in silence."""

import signal
import subprocess
import sys

import pytest

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
