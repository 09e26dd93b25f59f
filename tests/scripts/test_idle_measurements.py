"""Profiles and plans refuse a network, an evaluation or a checkpoint whose work was not done."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from roadmap.cli import profile as profile_command
from roadmap.cli.estimate import estimate, group, make_workload
from roadmap.config import PlannedRun, plan_runs
from roadmap.errors import MeasurementError
from roadmap.training.measure import concurrent, memory, speed
from roadmap.training.measure.speed import time_network
from roadmap.training.measure.workload import Measured
from roadmap.training.step import Evaluation

LOSS = 2.3
Update = Callable[[Any, Iterable[Any], float], Tensor]


def take_nothing(train_state: Any, batches: Iterable[Any], lr: float) -> Tensor:
    return torch.tensor(LOSS)


def train_nothing(train_state: Any, batches: Iterable[Any], lr: float) -> Tensor:
    list(batches)
    return torch.tensor(0.0)


def pretend(train_state: Any, batches: Iterable[Any], lr: float) -> Tensor:
    list(batches)
    return torch.tensor(LOSS)


@pytest.fixture(autouse=True)
def _short_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "NETWORK_SECONDS", 0.001)
    monkeypatch.setattr(speed, "RUN_SECONDS", 0.001)


@pytest.fixture
def run(tmp_path: Path) -> PlannedRun:
    words = ["+roadmap=step0_resnet", f"output_dir={tmp_path}", "hardware.device=cpu"]
    (planned,) = plan_runs(words, is_sweep=False)
    return planned


@pytest.mark.parametrize(
    ("update", "words"),
    [
        (take_nothing, r"0 of \d+ images were processed"),
        (train_nothing, "the checksum of the output is 0.0"),
        (pretend, "no machine exceeds"),
    ],
)
def test_a_profile_refuses_updates_that_do_nothing(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch, update: Update, words: str
) -> None:
    monkeypatch.setattr(speed, "train_step", update)
    with pytest.raises(MeasurementError, match=rf"step0_resnet, updates: .*{words}"):
        time_network(make_workload(run), Measured())


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        (torch.zeros(1), "1 of 64 images were processed"),
        (torch.zeros(64, 10), "the checksum of the output is 0.0"),
        (torch.ones(64, 10), "no machine exceeds"),
    ],
)
def test_a_profile_refuses_a_forward_pass_that_does_nothing(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch, logits: Tensor, words: str
) -> None:
    monkeypatch.setattr(speed, "infer", lambda train_state, batch: logits)
    with pytest.raises(MeasurementError, match=rf"step0_resnet, forward pass: .*{words}"):
        time_network(make_workload(run), Measured())


def test_memory_that_no_update_took_is_refused(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """In the script it is one message."""
    monkeypatch.setattr(memory, "train_step", pretend)
    with pytest.raises(MeasurementError, match=r"weights and gradients alone take [\d,]+: no update was made"):
        memory.measure_peak_memory(make_workload(run))
    words = ["--steps", "step0_resnet", "hardware.device=cpu"]
    assert profile_command.main(words) == 1
    assert capsys.readouterr().err.startswith("error: step0_resnet: a peak of")


@pytest.mark.parametrize(
    ("part", "replacement", "words"),
    [
        ("train_step", take_nothing, r"step0_resnet, updates: 0 of \d+ images were processed"),
        ("evaluate", lambda *_: Evaluation(LOSS, 10.0, 50.0, 364), "step0_resnet, evaluation: 364 of 0 images"),
        ("save_checkpoint", lambda path, *_: path.touch(), r"checkpoint: 0 bytes in .* it was not saved"),
    ],
)
def test_a_plan_refuses_a_part_whose_work_was_not_done(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch, part: str, replacement: Callable[..., Any], words: str
) -> None:
    monkeypatch.setattr(speed, part, replacement)
    with pytest.raises(MeasurementError, match=words):
        estimate(group([run], is_sweep=False)[0], 1, lambda name: None)


def test_runs_beside_each_other_that_do_nothing_are_refused(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "train_step", take_nothing)
    monkeypatch.setattr(concurrent, "barrier", threading.Barrier(1), raising=False)
    with pytest.raises(MeasurementError, match=r"0 of \d+ images were processed"):
        concurrent.time_run_updates(make_workload(run), seconds=0.01)
