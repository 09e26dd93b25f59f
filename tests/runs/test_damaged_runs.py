"""A damaged file of a run is named, left out of every table, in the way of no other run, and made anew."""

import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from roadmap.analysis.read_runs import read_finished_runs, read_runs
from roadmap.cli.run_folders import open_run_dir
from roadmap.cli.status_table import draw_statuses
from roadmap.config import plan_runs
from roadmap.errors import RunError
from roadmap.runs.conflicts import describe_damage, find_runs
from roadmap.runs.experiment_status import read_statuses
from roadmap.runs.metrics import read_metrics
from roadmap.runs.read_files import MAX_BYTES
from roadmap.runs.read_run import State, read_run, read_state
from roadmap.runs.run_dir import RunDir

RESULTS = {"top1": 20.0, "best_top1": 20.0, "gmacs": 0.1, "parameters": 1000}  # of a finished run
EPOCH = {"epoch": 1, "top1": 20.0, "seconds": 1.0}
Damage = Callable[[Path], Any]
OpenRun = Callable[[], RunDir]


def edit(change: Callable[[dict[str, Any]], object]) -> Damage:
    def write(path: Path) -> None:
        content = yaml.safe_load(path.read_text())  # JSON too
        change(content)
        path.write_text(json.dumps(content))

    return write


def change(**values: Any) -> Damage:
    return edit(lambda content: content.update(values))


def change_identity(**values: Any) -> Damage:
    return edit(lambda content: content["identity"].update(values))


def change_recipe(**values: Any) -> Damage:
    return edit(lambda content: content["recipe"].update(values))


def without(key: str) -> Damage:
    return edit(lambda content: content.pop(key))


def text(content: str | bytes) -> Damage:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def in_place(make: Damage) -> Damage:
    def write(path: Path) -> None:
        path.unlink()
        make(path)

    return write


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(30))
IN_ANY_FILE: dict[str, tuple[Damage, str]] = {
    "no UTF-8": (text(b"\xff"), "utf-8"),
    "huge": (lambda path: os.truncate(path, 2**40), f"1,099,511,627,776 bytes, at most {MAX_BYTES:,} are read"),
    "folder": (in_place(lambda path: path.mkdir()), "Is a directory|not a regular file"),
    "pipe": (in_place(lambda path: os.mkfifo(path)), "not a regular file"),
    "loop of links": (in_place(lambda path: path.symlink_to(path)), "Too many levels of symbolic links"),
    "device": (in_place(lambda path: path.symlink_to("/dev/zero")), "not a regular file"),
}
IN_JSON: dict[str, tuple[Damage, str]] = {
    "empty": (text(""), "Expecting value"),
    "cut": (text('{"state": "runn'), "Unterminated"),
    "no object": (text("[]"), "not an object"),
    "empty object": (text("{}"), "it has no (state|top1)"),
    "nested": (text('{"a":' * 100_000 + "1" + "}" * 100_000), "nested too deeply"),
    "nested within the limit of recursion": (text('{"a":' * 99 + "1" + "}" * 99), "nested too deeply"),
    "long number": (text('{"state": ' + "9" * 10_000 + "}"), "digits"),
}
IN_STATE: dict[str, tuple[Damage, str]] = {
    "no identity": (without("identity"), "it has no identity"),
    "identity is a list": (change(identity=[]), "identity is a list"),
    "identity without a step": (change(identity={"variant": {}}), "it has no step"),
    "seed is a text": (change_identity(seed="0"), "seed is a str"),
    "seed is a truth": (change_identity(seed=True), "seed is a bool"),
    "seed is infinite": (change_identity(seed=float("inf")), "seed is a float"),
    "index is a text": (change_identity(step_index="3"), "step_index is a str"),
    "index is huge": (change_identity(step_index=10**400), "step_index is too large"),
    "variant of objects": (change_identity(variant={"norm": {}}), "a value of variant"),
    "of another seed": (change_identity(seed=5), "it belongs to step0_resnet seed 5"),
    "state is a number": (change(state=1), "state is a int"),
    "state is a list": (change(state=["done"]), "state is a list"),
    "unknown state": (change(state="finished"), "'finished' is not a valid State"),
    "pid is a text": (change(pid="12"), "pid is a str"),
    "pid of all processes": (change(pid=-1), "pid is -1"),
    "epochs is a text": (change(epochs="many"), "epochs is a str"),
    "error is an object": (change(error={}), "error is a dict"),
}
IN_SUMMARY: dict[str, tuple[Damage, str]] = {
    "gone": (lambda path: path.unlink(), "is missing"),
    "without its top-1": (without("top1"), "it has no top1"),
    "top-1 is a text": (change(top1="20"), "top1 is a str"),
    "top-1 of more than all": (change(top1=120.0), "top1 is 120.0"),
    "top-1 is not finite": (change(top1=float("nan")), "top1 is not finite"),
    "of another seed": (change(seed=2), "it belongs to step0_resnet seed 2"),
    "of another recipe": (change(recipe="long"), r"it belongs to another run than state\.json"),
    "of another configuration": (change(config_hash="0" * 12), "its configuration is 000000000000, the run"),
}
IN_CONFIG: dict[str, tuple[Damage, str]] = {
    "edited": (change_recipe(lr=0.5), "its configuration is [0-9a-f]{12}, the run's is "),
    "another type": (change_recipe(lr={"a": []}), "its configuration is"),
    "aliases that blow up": (text(BOMB), "an alias in line 2"),
    "recursive alias": (text("a: &a [*a]"), "an alias in line 1"),
    "nested": (text("[" * 500_000), "nested too deeply"),
    "cut": (text("{a: ["), "while parsing"),
    "object of a class": (text("a: !!python/object:os.system {}"), "could not determine a constructor"),
    "date": (text("a: 2026-01-01"), "it has a date"),
    "no keys": (text("- 1"), "not a mapping"),
}
# The files have one reader of bytes and one of JSON, so each kind of damage to them is tried in one file.
DAMAGES = {
    f"{file}: {name}": (file, *damage)
    for file, kinds in {
        "state.json": IN_ANY_FILE | IN_JSON | IN_STATE,
        "summary.json": {name: (IN_ANY_FILE | IN_JSON)[name] for name in ("folder", "cut")} | IN_SUMMARY,
        "config.yaml": {name: IN_ANY_FILE[name] for name in ("folder", "huge")} | IN_CONFIG,
    }.items()
    for name, damage in kinds.items()
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> list[RunDir]:
    """Two finished runs of one experiment, of seeds 1 and 2."""
    words = ["+roadmap=step0_resnet", "seed=1,2", f"output_dir={tmp_path_factory.mktemp('outputs')}"]
    folders = [open_run_dir(planned) for planned in plan_runs(words, is_sweep=True)]
    for folder in folders:
        folder.claim()
        folder.log(EPOCH)
        folder.checkpoint.write_text("weights")
        folder.finish(RESULTS)
        folder.close()
    return folders


@pytest.fixture
def open_run(finished: list[RunDir], tmp_path: Path) -> OpenRun:
    """Open the first of the two runs, in a copy of their experiment."""
    run = finished[0]
    shutil.copytree(run.path.parents[1], tmp_path / run.identity.experiment, symlinks=True)
    return lambda: RunDir(tmp_path, run.identity, run.config)


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_run_is_named_and_restored(open_run: OpenRun, caplog: pytest.LogCaptureFixture, name: str) -> None:
    run = open_run()
    file, damage, pattern = DAMAGES[name]
    damage(run.path / file)
    found = read_run(run.path)
    assert found is not None
    assert (found.state, found.seed, found.top1) == (State.damaged, 1, None)
    assert re.match(rf"{run.path / file} is (damaged \()?.*({pattern}|missing)", found.error or "")
    check_neighbours(run, found.error or "")
    assert found.error in caplog.text
    if (run.path / file).is_dir():
        with pytest.raises(RunError, match=f"{file} is a folder, but must be a file of the run: remove it"):
            run.claim()
        return
    run.claim()
    if file == "summary.json":  # the checkpoint has the results, with which the trainer finishes
        assert (run.checkpoint.read_text(), read_state(run.path).state) == ("weights", State.running)
        run.finish(RESULTS)
    assert run.is_done()
    assert [status.state for status in read_statuses(run.path.parents[1])] == [State.done, State.done]


def check_neighbours(run: RunDir, error: str) -> None:
    """The run is damaged for every reader, and the other one of its experiment is done."""
    experiment = run.path.parents[1]
    assert describe_damage([run]) == [f"{error}. Until then the run is left out"]
    statuses = read_statuses(experiment)
    assert [status.state for status in statuses] == [State.damaged, State.done]
    Console(file=io.StringIO()).print(draw_statuses(statuses, 80))
    assert [other.seed for other in read_finished_runs(experiment) if other.state is State.done] == [2]
    assert [(name, state) for name, _, state in find_runs(experiment)] == [("step0_resnet", State.done)]
    assert not run.is_done()


@pytest.mark.parametrize("files", [["state.json"], ["state.json", "config.yaml"], ["state.json", "summary.json"]])
def test_intact_files_identify_a_damaged_run(open_run: OpenRun, files: list[str]) -> None:
    run = open_run()
    for file in files:
        (run.path / file).write_text("{")
    config = {**run.config, "recipe": {**run.config["recipe"], "lr": 0.5}}
    with pytest.raises(RunError, match=r"holds a run \(damaged\) of another|config\.yaml is damaged"):
        RunDir(run.path.parents[2], run.identity, config).claim()
    run.claim()


def test_unidentifiable_run_is_an_error(open_run: OpenRun) -> None:
    run = open_run()
    for file in ("state.json", "config.yaml", "summary.json"):
        (run.path / file).write_text("{")
    for use in (run.claim, run.is_done, lambda: run.skip_reason(True)):
        with pytest.raises(RunError, match=rf"state\.json is damaged .* remove {run.path} to train it again"):
            use()


@pytest.mark.parametrize(
    ("files", "state", "reason"),
    [
        (["checkpoint.pt"], "done", "done already (without checkpoint.pt)"),
        (["metrics.jsonl"], "done", None),  # the checkpoint has them
        (["metrics.jsonl", "checkpoint.pt"], "done", "done already (without metrics.jsonl and checkpoint.pt)"),
        (["config.yaml"], "done", None),  # the command has it
        (["state.json"], "done", "done already"),
        (["state.json", "summary.json"], "damaged", None),
    ],
)
def test_missing_file_is_named(
    open_run: OpenRun, caplog: pytest.LogCaptureFixture, files: list[str], state: str, reason: str | None
) -> None:
    run = open_run()
    for file in files:
        (run.path / file).unlink()
    (status,) = (one for one in read_statuses(run.path.parents[1]) if one.run.seed == 1)
    assert status.state == state
    assert files == ["state.json"] or files[0] in status.remark
    read_runs(run.path.parents[1])
    assert ("metrics.jsonl is gone from 1 finished runs" in caplog.text) == ("metrics.jsonl" in files)
    assert run.skip_reason(retries=False) == reason
    run.claim()
    assert run.checkpoint.exists() == ("checkpoint.pt" not in files)
    assert run.is_done() == (files != ["metrics.jsonl"] and state == "done")


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("5", 1),
        ("[]", 1),
        ('{"epoch": 2', 1),
        ('{"epoch": 0}', 1),
        ('{"epoch": 1e99}', 1),
        ("{" * 99_999, 1),
        ('{"epoch": 2}', 2),
        ('{"epoch": 2, "top1": "x", "seconds": []}', 2),
    ],
)
def test_damaged_metrics_line_drops_only_that_line(open_run: OpenRun, line: str, count: int) -> None:
    run = open_run()
    path = run.path / "metrics.jsonl"
    path.write_text(f"{line}\n{json.dumps(EPOCH)}\n")
    warnings: list[str] = []
    assert len(read_metrics(run.path, warnings.append)) == count
    assert len(warnings) == 2 - count
    assert read_statuses(run.path.parents[1])[0].epoch == count


def test_run_of_a_dead_process_is_interrupted(open_run: OpenRun) -> None:
    run = open_run()
    change(state="running", pid=2**22 + 1)(run.path / "state.json")
    (status, _) = read_statuses(run.path.parents[1])
    assert (status.state, status.remark) == ("interrupted", "its process has died; the same command resumes it")
    shutil.rmtree(run.path.with_name("seed2"))
    with pytest.raises(RunError, match=r"\(1 interrupted\); .*/seed1 is interrupted: its process has died"):
        read_finished_runs(run.path.parents[1])


def test_error_with_a_lone_surrogate_can_be_printed(open_run: OpenRun) -> None:
    run = open_run()
    change(state="failed", error="\ud800 of an image")(run.path / "state.json")
    assert read_statuses(run.path.parents[1])[0].remark == "? of an image"
