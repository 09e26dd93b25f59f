"""Profiles and plans refuse a network, an evaluation or a checkpoint whose work was not done."""

import multiprocessing
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from roadmap.cli import estimate_concurrent as side_by_side
from roadmap.cli import profile as profile_command
from roadmap.cli.estimate import group, make_workload, write_bill
from roadmap.config import PlannedRun, plan_runs
from roadmap.errors import MeasurementError
from roadmap.training import forecast, profile
from roadmap.training.step import Evaluation
from roadmap.training.work import Work

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


IDLE = [(take_nothing, "0 images came out of"), (train_nothing, "what came out is 0.0")]


@pytest.fixture(autouse=True)
def _short_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "MIN_SECONDS", 0.001)
    monkeypatch.setattr(forecast, "MIN_SECONDS", 0.001)


@pytest.fixture
def run(tmp_path: Path) -> PlannedRun:
    words = ["+roadmap=step0_resnet", f"output_dir={tmp_path}", "hardware.device=cpu"]
    (planned,) = plan_runs(words, is_sweep=False)
    return planned


@pytest.mark.parametrize(("update", "words"), [*IDLE, (pretend, "no machine exceeds")])
def test_a_profile_refuses_updates_that_do_nothing(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch, update: Update, words: str
) -> None:
    monkeypatch.setattr(profile, "train_step", update)
    with pytest.raises(MeasurementError, match=rf"step0_resnet, update: .*{words}"):
        profile.measure_rates(make_workload(run))


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        (torch.zeros(1), "1 images came out of 64"),
        (torch.zeros(64, 10), "what came out is 0.0"),
        (torch.ones(64, 10), "no machine exceeds"),
    ],
)
def test_a_profile_refuses_a_forward_pass_that_does_nothing(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch, logits: Tensor, words: str
) -> None:
    monkeypatch.setattr(profile, "_infer", lambda train_state, batch: (len(logits), logits))
    with pytest.raises(MeasurementError, match=rf"step0_resnet, forward pass: .*{words}"):
        profile.measure_rates(make_workload(run))


def test_memory_that_no_update_took_is_refused(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """In the script it is one message."""
    monkeypatch.setattr(profile, "train_step", pretend)
    with pytest.raises(MeasurementError, match=r"weights and gradients alone take [\d,]+: no update was made"):
        profile.measure_peak_memory(make_workload(run))
    words = ["--steps", "step0_resnet", "hardware.device=cpu"]
    assert profile_command.main(words) == 1
    assert capsys.readouterr().err.startswith("error: step0_resnet: a peak of")


@pytest.mark.parametrize(("update", "words"), IDLE)
def test_a_plan_refuses_updates_that_do_nothing(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch, update: Update, words: str
) -> None:
    monkeypatch.setattr(forecast, "train_step", update)
    with pytest.raises(MeasurementError, match=rf"step0_resnet, \d+ updates: .*{words}"):
        write_bill(group([run], is_sweep=False)[0], 1, lambda name: None)


def test_a_plan_refuses_updates_that_no_machine_makes(run: PlannedRun) -> None:
    """The batches of a plan are made while the clock runs, so the bound is held by a time of its own."""
    workload = make_workload(run)
    bound = profile.find_bound(workload, is_update=True)
    forecast.check_updates(workload, 10, Work(640, LOSS), 640 / bound, bound)
    with pytest.raises(MeasurementError, match=r"step0_resnet, 10 updates: .* no machine exceeds"):
        forecast.check_updates(workload, 10, Work(640, LOSS), 640 / bound / 2, bound)


@pytest.mark.parametrize("loss", [0.0, LOSS])
def test_a_plan_refuses_an_evaluation_that_does_nothing(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    monkeypatch.setattr(forecast, "evaluate", lambda model, batches, train_state: Evaluation(loss, 10.0, 50.0, 364))
    with pytest.raises(MeasurementError, match="step0_resnet, evaluation: 364 images came out of 0"):
        write_bill(group([run], is_sweep=False)[0], 1, lambda name: None)


def test_a_plan_refuses_a_checkpoint_that_is_not_there(run: PlannedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "save_checkpoint", lambda path, previous, content: path.touch())
    with pytest.raises(MeasurementError, match=r"checkpoint: 0 bytes in .* it was not saved"):
        write_bill(group([run], is_sweep=False)[0], 1, lambda name: None)


@pytest.mark.parametrize(("update", "words"), IDLE)
def test_runs_beside_each_other_that_do_nothing_are_refused(
    run: PlannedRun, monkeypatch: pytest.MonkeyPatch, update: Update, words: str
) -> None:
    """In each of the processes, and the parent hears why."""
    monkeypatch.setattr(side_by_side, "train_step", update)
    start, end = multiprocessing.Pipe(duplex=False)
    monkeypatch.setattr(side_by_side.signal, "signal", lambda *args: None)
    side_by_side._train(run, torch.get_num_threads(), 0.01, threading.Barrier(1), end)  # type: ignore[arg-type]
    assert words in start.recv()
