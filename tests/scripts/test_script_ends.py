"""How scripts exit: with the status of their work, or silently."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from roadmap.cli.printing import print_table

ROOT = Path(__file__).parents[2]
FEW_LINES = "from roadmap.cli.exit_status import run_script; run_script(lambda: print('line\\n' * 100_000) or 3)"


def test_the_status_of_its_work_is_a_scripts() -> None:
    process = subprocess.run([sys.executable, "-c", FEW_LINES], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (3, "")


def test_a_script_ends_where_its_reader_does() -> None:
    command = f'{sys.executable} -c "{FEW_LINES}" | head -1; echo ${{PIPESTATUS[0]}}'
    process = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (process.stdout, process.stderr) == (f"line\n{128 + signal.SIGPIPE}\n", "")


def test_ctrl_c_leaves_no_trace() -> None:
    main = "lambda: __import__('signal').raise_signal(2) or 0"
    program = f"from roadmap.cli.exit_status import run_script; run_script({main})"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (128 + signal.SIGINT, "")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_any_text_is_printed_whatever_the_output_takes(encoding: str) -> None:
    """Names that the encoding lacks by their number, signs of ours by what they stand for."""
    text = "80.57 ± 0.14 … 3 × 3 é 卷 \\udcff"
    program = f"from roadmap.cli.exit_status import run_script; run_script(lambda: print('{text}') or 0)"
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=False)
    assert (process.returncode, process.stderr) == (0, b"")
    expected = {
        "ascii": "80.57 +/- 0.14 ... 3 x 3 \\xe9 \\u5377 \\udcff",
        "cp1252": "80.57 ± 0.14 … 3 × 3 é \\u5377 \\udcff",
        "latin-1": "80.57 ± 0.14 ... 3 × 3 é \\u5377 \\udcff",
        "utf-8": "80.57 ± 0.14 … 3 × 3 é 卷 \\udcff",
    }
    assert process.stdout.decode(encoding).rstrip() == expected[encoding]


def test_without_fcntl_a_command_ends_in_one_sentence() -> None:
    """As on Windows."""
    program = (
        "import runpy, sys; sys.modules['fcntl'] = None; sys.argv = ['train.py']; "
        "runpy.run_path('train.py', run_name='__main__')"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert process.returncode == 1
    assert process.stderr.startswith("error: training runs on Linux and macOS; on ")
    assert process.stderr.endswith(", which has no fcntl, use WSL\n")
    assert process.stderr.count("\n") == 1


# Runs scripts in one process, which takes seconds less than one for each.
SCRIPTS = """
import json, runpy, sys
for words in json.load(sys.stdin):
    sys.argv = words
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        assert not end.code, words
"""


@pytest.mark.system  # a sweep and the scripts that read it: 10 s
@pytest.mark.parametrize("locale", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}])
def test_commands_end_well_where_the_output_is_ascii(tmp_path: Path, locale: dict[str, str]) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", **locale}
    label = "größer ± 卷"
    if "LC_ALL" in locale:
        environment |= {"PYTHONUTF8": "0"}  # files are ASCII, too, and so is what is typed
        label = "larger"
    words = ["-m", "+roadmap=step0_resnet", "seed=0,1", "recipe.epochs=1", "recipe.warmup_epochs=0"]
    words += [f"step.label='{label}'", f"output_dir={tmp_path}", "experiment=trial"]
    trial, target = str(tmp_path / "trial"), str(tmp_path / "results")
    commands = (
        ["train.py", *words],
        ["scripts/plot_roadmap.py", trial],
        ["scripts/report.py", trial],
        ["scripts/status.py", trial],
        ["scripts/attribute.py", trial],
        ["scripts/publish.py", trial, "--to", target],
        ["scripts/compare.py", target, trial],
        ["scripts/check_paper.py", trial],
        ["scripts/show_step.py", "step5_inverted"],
        ["scripts/plan_roadmap.py", "--help"],
    )
    process = subprocess.run(
        [sys.executable, "-c", SCRIPTS],
        input=json.dumps(commands).encode(),
        capture_output=True,
        env=environment,
        cwd=ROOT,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert b"Traceback" not in process.stderr + process.stdout
    assert process.stdout.isascii()


def test_a_table_is_not_cut_for_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(*(f"heading {number}" for number in range(12)))
    table.add_row(*(f"{number / 7:.5f}" for number in range(12)))
    print_table(Console(width=40), table)
    printed = capsys.readouterr().out
    assert all(f"{number / 7:.5f}" in printed for number in range(12))
