"""The rows of a GPU are measured until a deadline, in their order; a row that fails or is cut off costs itself."""

import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

Load = Callable[[str], ModuleType]
ROOT = Path(__file__).resolve().parents[2]
PAIRS = {"pairs": [{"images": 100, "ratio": 4.2, "ours_seconds": [1.0, 2.0, 3.0]}]}
PROGRAMS = {
    "writes": f"import sys; open(sys.argv[1], 'w').write({json.dumps(json.dumps(PAIRS))})",
    "fails": "raise SystemExit('broken')",
    "passes": "pass",
    "sleeps": "import subprocess, sys, time; subprocess.Popen([sys.executable, sys.argv[2]]); time.sleep(60)",
    "outlives": "import time; time.sleep(1.5); open(__file__ + '.left', 'w')",
}


@pytest.fixture(scope="module")
def script(load_benchmark: Load) -> ModuleType:
    return load_benchmark("gpu_rows")


@pytest.fixture
def make_rows(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the rows by some that run the named programs."""
    for name, text in PROGRAMS.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(script, "ROWS", tmp_path / "rows.yaml")
    monkeypatch.setattr(script, "GRACE_S", 0)

    def make(programs: dict[str, str], needs_s: int = 1) -> None:
        texts = {"what": "a test", "expected": "4x", "limit": "10x", "needs_s": needs_s}
        rows = []
        for name, program in programs.items():
            command = f"{tmp_path}/{program}.py {{json}} {tmp_path}/outlives.py"
            rows.append({"name": name, **texts, "command": command, "rehearsal": command})
        (tmp_path / "rows.yaml").write_text(yaml.safe_dump(rows))

    return make


def test_a_row_that_fails_costs_itself(
    script: ModuleType, make_rows: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command goes on with what is not done."""
    make_rows({"first": "writes", "second": "fails", "third": "passes"})
    words = [str(tmp_path / "out"), "--seconds", "300"]
    assert script.main(words) == 1
    found = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").iterdir()}
    ends = {"first": "done", "second": "failed with status 1", "third": "done"}
    assert {name: row["status"] for name, row in found.items()} == ends
    assert found["first"]["result"] == PAIRS
    assert (found["first"]["limit"], found["first"]["expected"]) == ("10x", "4x")
    assert found["second"]["output"] == ["broken"]
    assert "4.20x at 50 images/s" in capsys.readouterr().out
    make_rows({"first": "fails", "second": "passes", "third": "fails"})
    assert script.main(words) == 0
    printed = capsys.readouterr().out
    assert "first: done before\nsecond: done after" in printed
    assert "third: done before" in printed


def test_a_row_that_is_cut_off_leaves_no_process(
    script: ModuleType, make_rows: Callable[..., None], tmp_path: Path
) -> None:
    make_rows({"long": "sleeps"})
    (row,) = script.read_rows(None)
    assert script.measure(row, 1.0, False, tmp_path / "long.json")["status"] == "cut off"
    time.sleep(1.5)
    assert not list(tmp_path.glob("*.left"))


def test_a_row_that_needs_more_than_is_left_is_passed_over(
    script: ModuleType, make_rows: Callable[..., None], tmp_path: Path
) -> None:
    make_rows({"long": "passes"}, needs_s=100)
    assert script.main([str(tmp_path / "out"), "--seconds", "50"]) == 0
    assert not list((tmp_path / "out").iterdir())


def test_each_row_names_what_is_there_and_repeats_enough(script: ModuleType) -> None:
    rows = script.read_rows(None)
    assert rows[0].name == "tests"
    for row in rows:
        words = shlex.split(row.command)
        (program,) = [word for word in words if word.endswith(".py")]
        assert (ROOT / program).is_file(), row.name
        assert shlex.split(row.rehearsal)[0] == words[0]
        if words[0].startswith("benchmarks/"):
            assert int(words[words.index("--repeats") + 1]) >= 7
        assert "{json}" in row.command or words[0] == "-m"
    assert sum(row.needs_s for row in rows) <= 900  # a quarter of an hour
    with pytest.raises(SystemExit, match=r"there is no such row\. Allowed: tests, graphs-32, "):
        script.read_rows("graphs")


@pytest.mark.system  # three rows, each with processes of its own: 60 s on an idle machine
def test_a_rehearsal_without_a_gpu(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["graphs-32", "at-once", "plan"]
    assert script.main([str(tmp_path), "--seconds", "1800", "--rehearsal", "--rows", ",".join(names)]) == 0
    found = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in names}
    assert {row["status"] for row in found.values()} == {"done"}
    assert all(row["is_rehearsal"] and row["result"] for row in found.values())
    assert found["graphs-32"]["result"]["pairs"][0]["peer_name"] == "our epoch without CUDA graphs"
    assert found["at-once"]["result"]["pairs"][0]["images"] == 64
    assert len(found["plan"]["result"]["epoch_seconds"]) == 5
    assert "run / plan" in capsys.readouterr().out
    assert sys.executable not in json.dumps(found)
