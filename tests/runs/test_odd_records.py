"""A state.json of any content or kind is that run's own damage: named once, and in the way of nothing else."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadmap.errors import DamagedError, RunError
from roadmap.runs.conflicts import describe_damage, describe_other_settings, find_runs
from roadmap.runs.record import LARGEST, read_record
from roadmap.runs.run_dir import RunDir, read_metrics
from roadmap.runs.status import UNREADABLE, read_statuses

OpenRun = Callable[..., RunDir]  # see conftest.py
Damage = Callable[[Path], Any]


def change(**values: Any) -> Damage:
    def write(path: Path) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return write


def change_identity(**values: Any) -> Damage:
    def write(path: Path) -> None:
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "identity": {**content["identity"], **values}}))

    return write


def in_place(make: Damage) -> Damage:
    def write(path: Path) -> None:
        path.unlink()
        make(path)

    return write


ODD: dict[str, tuple[Damage, str]] = {
    "no object": (lambda path: path.write_text("[]"), "no object"),
    "empty object": (lambda path: path.write_text("{}"), "it has no state"),
    "cut": (lambda path: path.write_text('{"state": "runn'), "Unterminated"),
    "no identity": (lambda path: path.write_text('{"state": "done"}'), "it has no identity"),
    "identity is a list": (change(identity=[]), "identity is a list"),
    "identity without seed": (change(identity={"variant": {}}), "it has no seed"),
    "seed is a text": (change_identity(seed="0"), "seed is a str"),
    "seed is a truth": (change_identity(seed=True), "seed is a bool"),
    "seed is infinite": (change_identity(seed=float("inf")), "seed is a float"),
    "variant of objects": (change_identity(variant={"norm": {}}), "a value of variant"),
    "state is a number": (change(state=1), "state is a int"),
    "state is a list": (change(state=["done"]), "state is a list"),
    "unknown state": (change(state="finished"), "'finished' is not a valid State"),
    "pid is a text": (change(pid="12"), "pid is a str"),
    "pid of all processes": (change(pid=-1), "pid is -1"),
    "epochs is a text": (change(epochs="many"), "epochs is a str"),
    "error is an object": (change(error={}), "error is a dict"),
    "nested": (lambda path: path.write_text('{"a":' * 100_000 + "1" + "}" * 100_000), "nested too deep"),
    "long number": (lambda path: path.write_text('{"state": ' + "9" * 10_000 + "}"), "digits"),
    "no UTF-8": (lambda path: path.write_bytes(b'{"state": "\xff"}'), "utf-8"),
    "huge": (lambda path: os.truncate(path, 2**40), f"1,099,511,627,776 bytes, at most {LARGEST:,} are read"),
    "folder": (in_place(lambda path: path.mkdir()), "Is a directory|no regular file"),
    "pipe": (in_place(lambda path: os.mkfifo(path)), "no regular file"),
    "loop": (in_place(lambda path: path.symlink_to(path)), "Too many levels of symbolic links"),
    "device": (in_place(lambda path: path.symlink_to("/dev/zero")), "no regular file"),
}


@pytest.fixture(params=ODD)
def odd(request: pytest.FixtureRequest, open_run: OpenRun) -> tuple[RunDir, str]:
    """A run whose state is odd, and what is said of it; its experiment has another that is well."""
    run, well = open_run("seed=1"), open_run("seed=2")
    for one in (run, well):
        one.claim()
        one.log({"epoch": 1, "top1": 10.0, "seconds": 1.0})
        one.finish({"top1": 10.0})
        one.close()
    damage, text = ODD[request.param]
    damage(run.path / "state.json")
    return run, text


def test_odd_states(odd: tuple[RunDir, str], open_run: OpenRun) -> None:
    run, text = odd
    with pytest.raises(
        DamagedError, match=rf"{run.path / 'state.json'} is damaged \(.*({text}).*; remove the run's"
    ):
        read_record(run.path)
    for use in (run.claim, run.is_done, lambda: run.reason_to_skip(True)):  # its own command refuses it
        with pytest.raises(RunError, match=r"state\.json is damaged"):
            use()
    other = open_run("recipe.lr=1e-3")  # another of the experiment is planned and goes on
    (warning,) = describe_damage([other])
    assert "state.json is damaged" in warning
    assert "the others go on" in warning
    (settings,) = describe_other_settings([other])
    assert "recipe.lr" in settings
    assert [(name, state) for name, _, state in find_runs(run.path.parents[1])] == [("step0_resnet", "done")]
    assert {(entry.seed, entry.state) for entry in read_statuses(run.path.parents[1])} == {
        (1, UNREADABLE),
        (2, "done"),
    }


@pytest.mark.parametrize(
    "line", ["5", "[]", '{"epoch": 1}', '{"epoch": 1, "top1": "x", "seconds": []}', "[" * 9999]
)
def test_odd_metrics_are_no_trace(open_run: OpenRun, line: str) -> None:
    run = open_run()
    run.claim()
    (run.path / "metrics.jsonl").write_text(line + "\n")
    read_metrics(run.path)
    (entry,) = read_statuses(run.path.parents[1])
    assert entry.state in (UNREADABLE, "running")


def test_an_error_of_half_a_character_can_be_printed(open_run: OpenRun) -> None:
    run = open_run()
    run.claim()
    change(error="\ud800 of an image")(run.path / "state.json")
    (entry,) = read_statuses(run.path.parents[1])
    assert entry.error == "? of an image"
