"""A training command: its files, a second start of it, and the end of a sweep."""

import gc
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

import roadmap
from roadmap.analysis import tables_and_figures
from roadmap.cli import run as jobs
from roadmap.cli import sweep_report
from roadmap.cli.job import load_run
from roadmap.config import compose, read_config
from roadmap.config.roadmap_files import load_roadmap
from roadmap.runs.commit import find_commit
from roadmap.runs.config_hash import hash_config
from roadmap.runs.metrics import read_metrics
from roadmap.training.step import train_step

Train = Callable[..., Any]  # see conftest.py
PACKAGE = Path(roadmap.__file__).parent
QUICK = ("+roadmap=step0_resnet", "recipe.epochs=1", "recipe.warmup_epochs=0")
RUN = Path("micro-digits/step0_resnet/seed0")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def states(experiment: Path) -> dict[str, str]:
    return {
        f"{path.parts[-3]} {path.parts[-2]}": json.loads(path.read_text())["state"]
        for path in experiment.glob("*/*/state.json")
    }


def test_a_run_leaves_its_files(train: Train, tmp_path: Path) -> None:
    overrides = ("+roadmap=step0_resnet", "recipe.epochs=2")
    outcome = train(*overrides)
    assert (outcome.status, outcome.err) == (0, "")
    folder = tmp_path / RUN
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "overrides.yaml",
        "state.json",
        "metrics.jsonl",
        "summary.json",
        "checkpoint.pt",
        ".lock",
    }

    config = read_config(compose(*overrides, f"output_dir={tmp_path}"))
    written = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    assert isinstance(written, dict)
    assert read_config(OmegaConf.create(written)) == config  # type: ignore[arg-type]

    state = json.loads((folder / "state.json").read_text())
    assert (state["state"], state["error"]) == ("done", None)
    assert state["config_hash"] == hash_config(written)
    assert state["commit"].partition("-")[0] == str(find_commit()).partition("-")[0]

    metrics = read_metrics(folder)
    assert [(line["epoch"], line["update"]) for line in metrics] == [(1, 22), (2, 44)]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["top1"] == metrics[-1]["top1"]
    assert summary["best_top1"] == max(line["top1"] for line in metrics)
    assert summary["top1"] > 50  # chance is 10
    assert f"step0_resnet seed 0: top-1 {summary['top1']:.2f} " in outcome.out
    assert (summary["step"], summary["step_index"], summary["paper_top1"]) == ("step0_resnet", 0, 78.82)
    assert summary["config_hash"] == state["config_hash"]

    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert checkpoint["epochs"] == 2
    weights = sum(value.numel() for key, value in checkpoint["model"].items() if is_parameter(key))
    assert weights == summary["parameters"]


def is_parameter(key: str) -> bool:
    return not key.endswith(("running_mean", "running_var", "num_batches_tracked"))


def test_several_weights_are_evaluated_by_one_command(train: Train) -> None:
    outcome = train("-m", "mode=eval", "init_from=none.pt,neither.pt")
    assert outcome.status == 1
    assert outcome.err.count("there is no weights file") == 2


def test_a_finished_run_is_done_and_stays_as_it_is(train: Train, tmp_path: Path) -> None:
    assert train(*QUICK).status == 0
    before = content(tmp_path / RUN)

    again = train(*QUICK)
    assert (again.status, again.err) == (0, "")
    top1 = json.loads((tmp_path / RUN / "summary.json").read_text())["top1"]
    assert again.out == f"{tmp_path / RUN}: done already: top-1 {top1:.2f}\n"
    (tmp_path / RUN / "summary.json").write_text("{")
    mended = train(*QUICK)  # from its checkpoint
    assert (mended.status, mended.out.count("top-1 ")) == (0, 1)
    before["summary.json"] = (tmp_path / RUN / "summary.json").read_bytes()
    before["state.json"] = (tmp_path / RUN / "state.json").read_bytes()

    other = train(*QUICK, "recipe.lr=0.5", "recipe.total_batch=32")
    assert other.status == 1
    assert f"{tmp_path / RUN} holds a run (done) of another configuration" in other.err
    assert "recipe.lr: 0.004 -> 0.5 recipe.total_batch: 64 -> 32 Give this one another experiment=NAME" in other.err

    sweep = train("-m", *QUICK, "recipe.lr=0.5")
    assert sweep.status == 1
    assert "1 of 1 runs are not done" in sweep.out
    assert "refused" in sweep.out
    assert content(tmp_path / RUN) == before

    weights = train("+roadmap=step12_downsample", f"init_from={tmp_path / RUN / 'checkpoint.pt'}")
    assert weights.status == 1
    assert "checkpoint.pt holds the weights of another architecture; " in weights.err
    assert "among them: missing stem." in weights.err

    evaluation = train(*QUICK, "mode=eval", f"init_from={tmp_path / RUN / 'checkpoint.pt'}")
    top1 = json.loads((tmp_path / RUN / "summary.json").read_text())["top1"]
    assert (evaluation.status, evaluation.err) == (0, "")
    assert f"top-1 {top1:.2f} " in " ".join(evaluation.out.split())
    assert content(tmp_path / RUN) == before


@pytest.mark.system  # a training and two evaluations: 3 s
def test_the_averaged_weights_of_a_checkpoint_are_evaluated_beside_the_others(train: Train, tmp_path: Path) -> None:
    train(*QUICK, "recipe.ema_decay=0.5")
    summary = json.loads((tmp_path / RUN / "summary.json").read_text())
    assert summary["top1"] != summary["ema_top1"]
    weights = f"init_from={tmp_path / RUN / 'checkpoint.pt'}"
    both, averaged = train(*QUICK, "mode=eval", weights), train(*QUICK, "mode=eval", f"{weights}:ema")
    assert f"; of the averaged weights top-1 {summary['ema_top1']:.2f}" in " ".join(both.out.split())
    assert f"top-1 {summary['ema_top1']:.2f} " in averaged.out
    assert "(of the averaged weights)" in averaged.out
    lines = (tmp_path / RUN).parent.joinpath("evaluations.jsonl").read_text().splitlines()
    first, second = map(json.loads, lines)
    assert (first["weights"], first["top1"], first["ema_top1"]) == ("raw", summary["top1"], summary["ema_top1"])
    assert (second["weights"], second["top1"]) == ("ema", summary["ema_top1"])
    record = (tmp_path / RUN).parent / "evaluations.jsonl"
    record.unlink()
    record.mkdir()
    unrecorded = train(*QUICK, "mode=eval", f"{weights}:ema")
    assert unrecorded.status == 1
    assert f"top-1 {summary['ema_top1']:.2f} " in unrecorded.out  # the evaluation was not in vain
    assert "evaluations.jsonl can't be written: Is a directory" in unrecorded.err


def test_weights_for_other_classes_are_trained_on_and_not_evaluated(train: Train, tmp_path: Path) -> None:
    network = roadmap.build_model(roadmap.compose("+roadmap=step0_resnet", "data.num_classes=13"))
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    overrides = (*QUICK, f"init_from={tmp_path / 'weights.pt'}")
    evaluation = train(*overrides, "mode=eval")
    assert evaluation.status == 1
    assert "weights.pt has weights for 13 classes, data has 10: training can start from them" in evaluation.err
    tuned = train(*overrides)
    assert tuned.status == 0
    assert "weights.pt has weights for 13 classes, data has 10: the classifier starts anew" in tuned.err


def test_a_sweep_goes_on_after_a_failed_run(train: Train, tmp_path: Path) -> None:
    weights = tmp_path / "step0.pt"
    torch.save(roadmap.build_model(roadmap.compose("+roadmap=step0_resnet")).state_dict(), weights)
    outcome = train("-m", "+roadmap=step12_downsample,step0_resnet", *QUICK[1:], f"init_from={weights}")
    assert outcome.status == 1
    experiment = tmp_path / "micro-digits"
    assert states(experiment) == {"step12_downsample seed0": "failed", "step0_resnet seed0": "done"}
    state = json.loads((experiment / "step12_downsample/seed0/state.json").read_text())
    assert "step0.pt holds the weights of another architecture" in state["error"]
    assert "1 of 2 runs are not done" in outcome.out
    assert "of another architecture" in " ".join(outcome.out.split())
    assert "written: " in outcome.out
    assert "What this shows" in outcome.out


@pytest.mark.system
def test_a_sweep_whose_configuration_changed_half_way_overwrites_nothing(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run is done, one was interrupted, one has not started: only the last may use another learning rate."""
    updates = []

    def update(*arguments: Any) -> torch.Tensor:
        updates.append(1)
        if len(updates) == 30:  # in the second run; the first has 22
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(*arguments)

    monkeypatch.setattr("roadmap.training.trainer.train_step", update)
    overrides = ("-m", "+roadmap=step0_resnet,step1_stage_ratio,step2_patchify", *QUICK[1:])
    assert train(*overrides).status == 128 + signal.SIGTERM
    monkeypatch.undo()
    monkeypatch.setattr(tables_and_figures, "draw_rows", lambda *_: [])  # takes longer than the runs
    folders = [tmp_path / f"micro-digits/{step}/seed0" for step in ("step0_resnet", "step1_stage_ratio")]
    before = [content(folder) for folder in folders]
    assert [json.loads(files["state.json"])["state"] for files in before] == ["done", "interrupted"]
    changed = train(*overrides, "recipe.lr=1e-3")
    assert changed.status == 1
    assert changed.err.count("of another configuration: recipe.lr: 0.004 -> 0.001 Give this one another exp") == 2
    assert [content(folder) for folder in folders] == before
    assert train(*overrides).status == 1  # the third run now has the other learning rate
    assert json.loads((folders[1] / "state.json").read_text())["state"] == "done"


def test_a_failed_run_is_tried_again_alone_or_if_a_sweep_is_asked_to(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables_and_figures, "draw_rows", lambda *_: [])  # takes longer than the runs
    overrides = (*QUICK, f"init_from={tmp_path / 'weights.pt'}")
    sweep = ("-m", *overrides, "seed=0,1")
    assert train(*sweep).status == 1
    state = json.loads((tmp_path / RUN / "state.json").read_text())
    assert state["error"].startswith("there is no weights file")
    torch.save(roadmap.build_model(roadmap.compose("+roadmap=step0_resnet")).state_dict(), tmp_path / "weights.pt")

    again = train(*sweep)
    assert again.status == 1
    assert "failed before; retry_failed=true trains it again (there is no weights" in again.out
    assert train(*overrides).status == 0
    assert train(*sweep, "retry_failed=true").status == 0


@pytest.mark.system  # a sweep of two networks: 3 s
def test_a_warning_stops_no_run_is_printed_once_and_names_its_steps(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_report, "report_sweep", lambda folders, notes: None)  # takes longer than the runs
    one_update = ("recipe.total_batch=1024", "recipe.lr=0.03", "regime.width.resnet=8", "regime.width.modern=8")
    steps = ("+roadmap=step0_resnet,step12_downsample", "seed=0,1", *QUICK[1:])
    outcome = train("-m", *steps, *one_update, "recipe.ema_decay=0.999")
    assert outcome.status == 0
    warnings = outcome.err.split("warning: ")[1:]
    assert len(warnings) == 2
    assert warnings[0].strip().endswith("or model/norm=layernorm (step0_resnet)")
    assert warnings[1].startswith("recipe.ema_decay=0.999 averages over 1,000 updates and the run has 1, so")


def test_a_defect_is_shown_with_its_trace_and_the_sweep_goes_on(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("[bold] weather")

    monkeypatch.setattr(jobs, "train", break_down)
    outcome = train("-m", *QUICK, "seed=0,1")
    assert outcome.status == 1
    assert outcome.err.count("Traceback") == 2
    assert "RuntimeError: [bold] weather" in outcome.err
    assert "step0_resnet seed 0, step0_resnet seed 1: failed: RuntimeError: [bold] weather" in outcome.out
    assert states(tmp_path / "micro-digits") == {"step0_resnet seed0": "failed", "step0_resnet seed1": "failed"}
    state = json.loads((tmp_path / RUN / "state.json").read_text())
    assert state["error"] == "RuntimeError: [bold] weather"


def test_an_interrupt_ends_the_sweep_and_is_recorded(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "train", interrupt)
    outcome = train("-m", *QUICK, "seed=0,1")
    assert outcome.status == 130
    assert "stopped by SIGINT; run the same command again" in outcome.err
    assert states(tmp_path / "micro-digits") == {
        "step0_resnet seed0": "interrupted",
        "step0_resnet seed1": "pending",
    }


def test_six_calls_lead_from_the_command_to_an_update(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def update(*_: object) -> None:
        frames = traceback.extract_stack()[:-1]
        calls.extend(frame.name for frame in frames if Path(frame.filename).is_relative_to(PACKAGE))
        raise KeyboardInterrupt

    monkeypatch.setattr("roadmap.training.trainer.train_step", update)
    assert train(*QUICK).status == 130
    assert [*calls, "train_step"] == ["main", "launch", "run_job", "train", "fit", "train_step"]


def test_the_import_of_torch_is_announced_where_it_takes_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load_run()
    assert capsys.readouterr().out == ""
    monkeypatch.delitem(sys.modules, "torch")
    gc.unfreeze()
    load_run()
    assert capsys.readouterr().out == "loading PyTorch ...\n"
    assert gc.get_freeze_count() > 0  # so that a process ends without a search of all of torch


def test_hydras_own_flags_train_nothing(train: Train, tmp_path: Path) -> None:
    helped = train("--help")
    assert helped.status == 0
    assert max(map(len, helped.out.splitlines())) <= 80
    steps = [line.split() for line in helped.out.splitlines() if re.match(r"step\d", line)]
    assert [words[0] for words in steps] == list(load_roadmap().steps)
    assert steps[5] == ["step5_inverted", "inverting", "dimensions", "80.64"]
    shown = train("--cfg", "job", "+roadmap=step5_inverted")
    assert shown.status == 0
    assert "name: step5_inverted" in shown.out
    assert not list(tmp_path.iterdir())
