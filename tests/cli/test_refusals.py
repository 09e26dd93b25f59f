"""Errors that need the data and torch to be detected: the message, the exit status, the state of the run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Train = Callable[..., Any]  # see conftest.py
QUICK = ("recipe.epochs=1", "recipe.warmup_epochs=0")


def read_state(tmp_path: Path) -> dict[str, Any]:
    (path,) = tmp_path.glob("*/*/seed*/state.json")
    return json.loads(path.read_text())


def test_a_refused_training_is_a_failed_run_with_the_message(train: Train, tmp_path: Path) -> None:
    outcome = train(*QUICK, "recipe.total_batch=2048", "recipe.lr=0.06")
    assert outcome.status == 1
    assert outcome.err.startswith("error: ")
    assert "recipe.total_batch=2048 is more than the 1433 training images" in outcome.err
    assert "Traceback" not in outcome.err
    state = read_state(tmp_path)
    assert state["state"] == "failed"
    assert " ".join(state["error"].split()) in outcome.err


def test_a_loss_that_is_not_finite(train: Train, tmp_path: Path) -> None:
    outcome = train(*QUICK, "+roadmap=step0_resnet", "recipe.lr=1e30")
    assert outcome.status == 1
    assert "the loss is not finite" in outcome.err
    assert "in epoch 1, update 2, at learning rate" in outcome.err
    assert (read_state(tmp_path)["state"], list(tmp_path.glob("*/*/*/summary.json"))) == ("failed", [])


def test_a_place_that_cannot_be_written(train: Train, tmp_path: Path) -> None:
    (tmp_path / "micro-digits").write_text("a file")
    for overrides in ([], ["-m", "seed=0,1"]):
        outcome = train(*overrides)
        assert outcome.status == 1
        assert f"{tmp_path / 'micro-digits'} can't be created" in outcome.err
        assert "Traceback" not in outcome.err


@pytest.mark.parametrize("damage", [lambda path: path.write_text(""), lambda path: path.symlink_to(path)])
def test_a_file_in_the_place_of_hydras_folder(train: Train, tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    (tmp_path / "micro-digits").mkdir()
    damage(tmp_path / "micro-digits/.sweep")
    outcome = train("-m", "seed=0,1")
    assert outcome.status == 1
    assert outcome.err.startswith(f"error: {tmp_path / 'micro-digits/.sweep'} can't be created: File exists")


def test_a_command_ends_with_the_variables_name(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    outcome = train("+roadmap=step0_resnet")
    assert outcome.status == 1
    assert outcome.err.startswith("error: WORLD_SIZE=2, but RANK is not set")
