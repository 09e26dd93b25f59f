"""Checkpoints: exact at any update, never lost, never used when damaged."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import roadmap
from roadmap.cli import run as jobs
from roadmap.cli.run_folders import open_run_dir
from roadmap.config import plan_run
from roadmap.errors import Interrupted, TrainingError
from roadmap.model.torch_file import write_sealed
from roadmap.runs.loggers.none import Logger as NoLogger
from roadmap.runs.run_dir import RunDir
from roadmap.training.checkpoint import save_checkpoint
from roadmap.training.step import evaluate, train_step

WORDS = (
    "+roadmap=step12_downsample",
    "recipe.epochs=2",
    "recipe.warmup_epochs=0",
    "recipe.total_batch=256",  # 5 updates per epoch
    "recipe.ema_decay=0.9",
    "recipe.mixup=0.8",
    "recipe.drop_path=0.2",
    "regime.width.modern=8",
    "hardware.per_device_batch=256",
)
Results = Callable[[Path], Any]  # see tests/conftest.py


def open_run(output_dir: Path, *words: str) -> tuple[Any, RunDir]:
    planned = plan_run(roadmap.compose(*WORDS, f"output_dir={output_dir}", *words))
    return planned.config, open_run_dir(planned)


def train(output_dir: Path, *words: str) -> RunDir:
    config, folder = open_run(output_dir, *words)
    folder.claim()
    jobs.train(config, folder, jobs.Console(quiet=True), print)
    return folder


def stop_after(updates: int, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals) -> None:
    """Send this process a signal in the middle of the update after the given number."""
    calls = []

    def update(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == updates + 1:
            os.kill(os.getpid(), sent)
        return train_step(*arguments)

    monkeypatch.setattr("roadmap.training.trainer.train_step", update)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return train(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize(
    ("updates", "sent"),
    [(0, signal.SIGTERM), (3, signal.SIGUSR1), (6, signal.SIGINT), (4, signal.SIGUSR2), (1, signal.SIGHUP)],
)
def test_signal_stops_after_the_update_and_resume_is_exact(
    updates: int,
    sent: signal.Signals,
    undisturbed: RunDir,
    read_results: Results,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    stop_after(updates, monkeypatch, sent)
    with pytest.raises(Interrupted, match=f"stopped by {sent.name}"):
        train(tmp_path)
    monkeypatch.undo()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == handlers
    _, folder = open_run(tmp_path)
    saved = torch.load(folder.checkpoint, weights_only=True)
    assert 5 * saved["epochs"] + len(saved["losses"]) == updates + 1  # the current update was finished
    folder.close()
    assert read_results(train(tmp_path).path) == read_results(undisturbed.path)


def test_signal_during_evaluation_loses_no_update(
    undisturbed: RunDir, read_results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first epoch's and in the last one's: nothing may train after it, such as a sweep's next run."""

    def stop_in_evaluation(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*arguments)

    for epochs in range(2):
        monkeypatch.setattr("roadmap.training.trainer.evaluate", stop_in_evaluation)
        with pytest.raises(Interrupted, match="stopped by SIGTERM"):
            train(tmp_path)
        _, folder = open_run(tmp_path)
        saved = torch.load(folder.checkpoint, weights_only=True)
        assert (saved["epochs"], len(saved["losses"])) == (epochs, 5)
        monkeypatch.undo()
        if epochs == 0:
            stop_after(0, monkeypatch, signal.SIGTERM)  # in the second epoch
            with pytest.raises(Interrupted):
                train(tmp_path)
            monkeypatch.undo()
    assert read_results(train(tmp_path).path) == read_results(undisturbed.path)


def test_signal_before_the_first_update_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_images(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")

    monkeypatch.setattr("roadmap.training.trainer.open_images", open_images)
    with pytest.raises(Interrupted, match="stopped by SIGTERM"):
        train(tmp_path)


def test_signal_while_a_dashboard_finishes_leaves_the_run_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowLogger(NoLogger):
        def finish(self, summary: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(jobs, "open_logger", lambda *_: SlowLogger())
    with pytest.raises(Interrupted):
        train(tmp_path, "recipe.epochs=1")
    _, folder = open_run(tmp_path, "recipe.epochs=1")
    assert folder.is_done()


def test_ignored_signal_stays_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As set by nohup."""
    stop_after(2, monkeypatch, signal.SIGHUP)
    outer = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        train(tmp_path, "recipe.epochs=1")
    finally:
        signal.signal(signal.SIGHUP, outer)


def test_second_interrupt_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def update(*_: Any) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")

    monkeypatch.setattr("roadmap.training.trainer.train_step", update)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(tmp_path)
    assert not isinstance(caught.value, Interrupted)


def test_timed_checkpoints_do_not_change_results(
    undisturbed: RunDir, read_results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = []

    def save(*arguments: Any) -> None:
        saved.append(len(arguments[2]["losses"]))
        save_checkpoint(*arguments)

    monkeypatch.setattr("roadmap.training.trainer.save_checkpoint", save)
    folder = train(tmp_path, "hardware.checkpoint_minutes=0")
    assert saved == [1, 2, 3, 4, 0, 1, 2, 3, 4, 0]
    assert read_results(folder.path) == read_results(undisturbed.path)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run stopped after eight updates."""
    place = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as monkeypatch:
        stop_after(7, monkeypatch, signal.SIGTERM)
        with pytest.raises(Interrupted):
            train(place)
    return place


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write other content with a valid digest."""
    content = torch.load(path, weights_only=True)
    change(content)
    path.write_bytes(write_sealed(content))


NINE = {"head.linear.bias": torch.zeros(9)}
DAMAGES: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "is damaged: "),
    "of nine classes": (
        lambda path: rewrite(path, lambda content: content["model"].update(NINE)),
        "does not fit this run: model.head.linear.bias is (9,) of float32, expected (10,) of float32",
    ),
    "of another run": (
        lambda path: rewrite(path, lambda content: content.update(config_hash="another")),
        "belongs to another configuration",
    ),
    "gone": (Path.unlink, None),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_previous_checkpoint_replaces_a_damaged_one(
    kind: str, undisturbed: RunDir, stopped: Path, read_results: Results, tmp_path: Path
) -> None:
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    config, folder = open_run(tmp_path)
    damage, told = DAMAGES[kind]
    damage(folder.checkpoint)
    folder.claim()
    warnings: list[str] = []
    jobs.train(config, folder, jobs.Console(quiet=True), warnings.append)
    about_checkpoints = [text for text in warnings if "checkpoint" in text]
    if told is None:
        assert about_checkpoints == []
    else:
        (warning,) = about_checkpoints
        assert warning.startswith(f"the checkpoint {folder.checkpoint} {told}")
        assert warning.endswith(f"; resuming from {folder.previous_checkpoint}")
    assert read_results(folder.path) == read_results(undisturbed.path)


def test_damaged_checkpoint_never_replaces_the_previous_one(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    _, folder = open_run(tmp_path)
    damaged = folder.checkpoint.read_bytes()[:-1000]
    folder.checkpoint.write_bytes(damaged)
    stop_after(0, monkeypatch, signal.SIGTERM)
    with pytest.raises(Interrupted):
        train(tmp_path)
    assert (folder.path / "checkpoint.damaged.pt").read_bytes() == damaged
    for path in (folder.checkpoint, folder.previous_checkpoint):
        assert torch.load(path, weights_only=True)["config_hash"] == folder.config_hash


def test_non_finite_running_mean_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It affects no loss before an evaluation."""

    def update(train_state: Any, *arguments: Any) -> torch.Tensor:
        loss = train_step(train_state, *arguments)
        next(value for name, value in train_state.model.named_buffers() if "mean" in name)[0] = torch.nan
        return loss

    monkeypatch.setattr("roadmap.training.trainer.train_step", update)
    with pytest.raises(TrainingError, match="not finite in epoch 1"):
        train(tmp_path, "+roadmap=step12_downsample", "model/norm=batchnorm", "recipe.ema_decay=null")
    assert not list(tmp_path.rglob("checkpoint.pt"))


@pytest.mark.parametrize("averaged", [False, True])
def test_non_finite_validation_loss_is_no_result(
    averaged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running variance below zero is finite, and affects no training loss, but makes evaluations NaN."""

    def update(train_state: Any, *arguments: Any) -> torch.Tensor:
        loss = train_step(train_state, *arguments)
        spoil(train_state.ema if averaged else train_state.model)
        return loss

    def spoil(model: torch.nn.Module) -> None:
        next(value for name, value in model.named_buffers() if "running_var" in name).fill_(-1.0)

    monkeypatch.setattr("roadmap.training.trainer.train_step", update)
    words = ("model/norm=batchnorm", "recipe.epochs=1")
    which = " of the averaged weights" if averaged else ""
    with pytest.raises(
        TrainingError, match=rf"the validation loss{which} is not finite: nan in epoch 1, update 5,"
    ):
        train(tmp_path, *words)
    run = open_run(tmp_path, *words)[1].path
    assert not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").read_text()
    assert not (run / "summary.json").exists()


def test_non_finite_validation_loss_is_not_evaluated(tmp_path: Path) -> None:
    words = (*WORDS, "+roadmap=step0_resnet")[1:]
    state = roadmap.build_model(roadmap.compose(*words)).state_dict()
    next(value for name, value in state.items() if "running_var" in name).fill_(-1.0)
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(TrainingError, match=r"init_from=.*weights\.pt is not finite: nan, so nothing is recorded"):
        roadmap.evaluate(*words, output_dir=tmp_path, init_from=tmp_path / "weights.pt", progress=False)
    assert not list(tmp_path.rglob("evaluations.jsonl"))


def test_non_finite_weights_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A non-finite gradient affects the weights before it affects a loss."""
    calls = []

    def update(train_state: Any, *arguments: Any) -> torch.Tensor:
        loss = train_step(train_state, *arguments)
        calls.append(1)
        if len(calls) == 10:  # the last update of the run
            next(train_state.model.parameters()).data[0] = torch.nan
        return loss

    monkeypatch.setattr("roadmap.training.trainer.train_step", update)
    with pytest.raises(
        TrainingError, match=r"not finite.* in epoch 2, update \d+, at learning .*checkpoint.pt, after 1 epochs"
    ):
        train(tmp_path)
    _, folder = open_run(tmp_path)
    assert torch.load(folder.checkpoint, weights_only=True)["epochs"] == 1
