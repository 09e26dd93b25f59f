"""A run's folder: its single owner, the files that are kept, and its record of the run's end."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from roadmap.errors import RunError, StorageError
from roadmap.runs.commit import find_commit
from roadmap.runs.config_hash import NEUTRAL_VALUES
from roadmap.runs.evaluations import count_evaluations, record_evaluation
from roadmap.runs.metrics import read_metrics
from roadmap.runs.read_run import Run, identity_of
from roadmap.runs.run_dir import RunDir

OpenRun = Callable[..., RunDir]
FILES = ("config.yaml", "overrides.yaml", "state.json", "metrics.jsonl", "summary.json", "checkpoint.pt")
RESULTS = {"top1": 20.0, "best_top1": 20.0, "gmacs": 0.1, "parameters": 1000}  # of a finished run


def epoch(number: int) -> dict[str, Any]:
    return {"epoch": number, "top1": 10.0 * number}


def train(run: RunDir, epochs: int = 2) -> None:
    """Write the files of a trainer after some epochs."""
    run.claim()
    for number in range(1, epochs + 1):
        run.log(epoch(number))
        run.checkpoint.write_text(f"weights of epoch {number}")


def finish(run: RunDir) -> None:
    train(run)
    run.finish(RESULTS)


def content(run: RunDir) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.path.iterdir() if path.name != ".lock"}


def state_of(run: RunDir) -> Run:
    record = run.state()
    assert record is not None
    return record


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ((), "micro-digits/step0_resnet/seed0"),
        (("seed=4", "experiment=trial"), "trial/step0_resnet/seed4"),
        (("model/kernel_size=9",), "micro-digits/step0_resnet,kernel_size=9/seed0"),
        (("model/norm=layernorm", "experiment=m"), "m/step0_resnet,norm=layernorm/seed0"),
        (("setting=paper",), "resnet50-imagenet/step0_resnet/seed0"),
    ],
)
def test_a_folder_is_named_by_experiment_step_variant_and_seed(
    open_run: OpenRun, tmp_path: Path, words: tuple[str, ...], place: str
) -> None:
    assert open_run(*words).path == tmp_path / place


def test_opening_writes_nothing(open_run: OpenRun, tmp_path: Path) -> None:
    run = open_run()
    assert not run.is_done()
    assert (run.state(), run.summary(), read_metrics(run.path)) == (None, {}, [])
    assert not list(tmp_path.iterdir())


def test_claimed_run_records_identity_and_process(open_run: OpenRun) -> None:
    run = open_run("seed=2")
    run.claim()
    record = state_of(run)
    assert (record.state, record.pid, record.host) == ("running", os.getpid(), socket.gethostname())
    assert (record.error, record.config_hash, identity_of(record)) == (None, run.config_hash, run.identity)
    state = json.loads((run.path / "state.json").read_text())
    assert (state["finished"], state["commit"]) == (None, find_commit())
    config = OmegaConf.load(run.path / "config.yaml")
    assert (config.seed, config.step.name, config.model.norm) == (2, "step0_resnet", "batchnorm")


def test_the_written_configuration_has_the_runs_hash(open_run: OpenRun) -> None:
    run = open_run("recipe.augment.scale=[0.5,1]")
    run.claim()
    written: Any = OmegaConf.to_container(OmegaConf.load(run.path / "config.yaml"))
    assert RunDir(run.path, run.identity, written).config_hash == run.config_hash


def test_summary_has_identity_and_results(open_run: OpenRun) -> None:
    run = open_run()
    finish(run)
    assert run.is_done()
    assert set(content(run)) == set(FILES)
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary == run.summary()
    assert (summary["step"], summary["seed"], summary["top1"]) == ("step0_resnet", 0, 20.0)
    assert (summary["commit"], summary["config_hash"]) == (find_commit(), run.config_hash)
    state = json.loads((run.path / "state.json").read_text())
    assert state["finished"] >= state["started"]


@pytest.mark.parametrize(
    ("word", "roadmap"),
    [
        ("+roadmap=step0_resnet", "convnext"),
        ("+roadmap=bag_of_tricks/step3_resnet_d", "bag_of_tricks"),
        ("+reference=swin_tiny", None),
    ],
)
def test_a_run_records_whose_step_it_is(open_run: OpenRun, word: str, roadmap: str | None) -> None:
    run = open_run(word)
    run.claim()
    assert state_of(run).roadmap == roadmap
    assert run.finish(RESULTS)["roadmap"] == roadmap


@pytest.mark.parametrize("words", [("recipe.lr=0.5",), ("data.image_size=32", "recipe.epochs=3")])
def test_a_finished_run_is_never_overwritten_by_another_configuration(
    open_run: OpenRun, words: tuple[str, ...]
) -> None:
    run, other = open_run(), open_run(*words)
    finish(run)
    before = content(run)
    for use in (other.is_done, other.claim):
        with pytest.raises(RunError) as caught:
            use()
        message = str(caught.value)
        assert f"{run.path} holds a run (done) of another configuration" in message
        for word in words:
            assert f"{word.partition('=')[0]}: " in message
            assert f" -> {word.partition('=')[2]}\n" in message
        assert message.count("->") == len(words)
        assert "experiment=NAME" in message
    assert content(run) == before


def test_data_names_distinguish_image_folders(open_run: OpenRun) -> None:
    """Their location is not part of a configuration."""
    run, other = (open_run("experiment=pets", f"data.name={name}") for name in ("cats", "dogs"))
    finish(run)
    assert run.config_hash == other.config_hash
    assert run.is_done()
    for use in (other.is_done, other.claim):
        with pytest.raises(RunError, match=r"of another configuration:\n  data\.name: cats -> dogs\nGive this one"):
            use()


@pytest.mark.parametrize("gone", [("state.json",), ("state.json", "summary.json")])
def test_run_without_a_state_is_not_overwritten(open_run: OpenRun, gone: tuple[str, ...]) -> None:
    run = open_run()
    finish(run)
    for name in gone:
        (run.path / name).unlink()
    before = content(run)
    with pytest.raises(RunError, match=r"of another configuration:\n  recipe\.lr"):
        open_run("recipe.lr=0.5").claim()
    assert content(run) == before
    assert run.is_done() == (len(gone) == 1)
    if not run.is_done():
        run.claim()  # continues
        assert run.checkpoint.read_text() == "weights of epoch 2"


def test_the_same_run_on_other_hardware_is_done(open_run: OpenRun) -> None:
    finish(open_run())
    assert open_run("hardware.device=cpu", "logger=wandb", "data.note=null").is_done()


@pytest.mark.parametrize("end", ["interrupt", "fail", "die", "die on another host"])
def test_unfinished_run_keeps_its_files(open_run: OpenRun, end: str) -> None:
    run = open_run()
    train(run)
    if end == "interrupt":
        run.interrupt("stopped by SIGTERM")
    elif end == "fail":
        run.fail("no space left")
    run.close()  # as at the end of its process
    if end == "die on another host":
        state = run.path / "state.json"
        state.write_text(json.dumps({**json.loads(state.read_text()), "host": "elsewhere"}))
    before = content(run)
    again = open_run()
    assert not again.is_done()
    again.claim()
    assert state_of(again).state == "running"
    assert state_of(again).pid == os.getpid()
    assert content(again) == {**before, "state.json": (run.path / "state.json").read_bytes()}


def test_run_from_before_a_key_existed_resumes_with_its_neutral_value(
    open_run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run()
    train(run)
    run.interrupt("stopped by SIGINT")
    run.close()
    monkeypatch.setitem(NEUTRAL_VALUES, "recipe.sam", 0.0)

    def open_with(sam: float) -> RunDir:
        config = {**run.config, "recipe": {**run.config["recipe"], "sam": sam}}
        return RunDir(run.path.parents[2], run.identity, config)

    with pytest.raises(RunError, match=r"holds a run \(interrupted\) .*:\n  recipe\.sam: 0\.0 -> 0\.05\n"):
        open_with(0.05).claim()
    before = run.checkpoint.read_text(), read_metrics(run.path)
    newer = open_with(0.0)
    newer.claim()
    assert (newer.checkpoint.read_text(), read_metrics(newer.path)) == before
    assert OmegaConf.load(newer.path / "config.yaml").recipe.sam == 0.0
    newer.close()


def test_failed_run_without_checkpoints_is_replaced_without_leftovers(open_run: OpenRun) -> None:
    run, other = open_run("recipe.lr=0.5"), open_run()
    train(run)
    run.fail("the loss is not finite")
    run.close()
    assert (state_of(run).state, state_of(run).error) == ("failed", "the loss is not finite")
    with pytest.raises(RunError, match=r"holds a run \(failed\) of another configuration:\n  recipe.lr"):
        other.claim()
    run.checkpoint.unlink()
    other.claim()
    assert set(content(other)) == {"config.yaml", "overrides.yaml", "state.json"}
    assert state_of(other).config_hash == other.config_hash


def test_pending_run_is_replaced_by_any_configuration(open_run: OpenRun) -> None:
    run, other = open_run(), open_run("recipe.lr=0.5")
    run.plan()
    assert state_of(run).state == "pending"
    assert not run.is_done()
    other.claim()
    assert (state_of(other).state, state_of(other).config_hash) == ("running", other.config_hash)
    run_files = content(other)
    other.plan()  # a started run is not pending
    assert content(other) == run_files


def test_run_keeps_its_dashboard_id(open_run: OpenRun) -> None:
    run = open_run()
    run.claim()
    name = run.dashboard_id()
    run.interrupt("stopped by SIGTERM")
    open_run().claim()
    assert open_run().dashboard_id() == state_of(run).dashboard_id == name
    assert open_run("recipe.lr=0.5").dashboard_id() != name


def test_a_run_is_marked_done_once_the_previous_checkpoint_is_gone(
    open_run: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run killed after being marked is never opened again, and would keep the file."""
    run = open_run()
    train(run)
    run.previous_checkpoint.write_text("weights of epoch 1")
    kept = []
    monkeypatch.setattr(RunDir, "_write_state", lambda *_: kept.append(run.previous_checkpoint.exists()))
    run.finish(RESULTS)
    assert kept == [False]


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_epochs_after_the_checkpoint_are_removed(open_run: OpenRun, kept: int) -> None:
    run = open_run()
    train(run)
    run.restore_metrics([epoch(number) for number in range(1, kept + 1)])
    assert read_metrics(run.path) == [epoch(number) for number in range(1, kept + 1)]


def test_run_of_another_configuration_without_config_is_an_error(open_run: OpenRun) -> None:
    run = open_run()
    finish(run)
    (run.path / "config.yaml").unlink()
    with pytest.raises(RunError, match=r"another configuration:\n  \(config\.yaml is missing\)"):
        open_run("recipe.lr=0.5").claim()


def test_file_in_place_of_a_folder_is_named(open_run: OpenRun, tmp_path: Path) -> None:
    (tmp_path / "micro-digits").write_text("")
    run = open_run()
    with pytest.raises(RunError, match=r"can't be created: Not a directory\. Choose another output_dir") as caught:
        run.claim()
    assert str(run.path) in str(caught.value)


@pytest.mark.parametrize("is_taken", [False, True])
def test_removed_folder_is_not_written_to(open_run: OpenRun, is_taken: bool) -> None:
    """It may belong to another process by now."""
    run = open_run()
    train(run)
    shutil.rmtree(run.path)
    if is_taken:
        open_run().claim()
        before = content(run)
    for use in (lambda: run.log(epoch(3)), lambda: run.finish(RESULTS), lambda: run.restore_metrics([])):
        with pytest.raises(StorageError, match=r"was removed while .* Run the same command"):
            use()
    run.interrupt("its folder is gone")
    assert content(run) == before if is_taken else not run.path.exists()


def test_evaluations_are_appended_beside_the_runs(open_run: OpenRun) -> None:
    run = open_run()
    for weights, top1 in (("a.pt", 70.0), ("b.pt", 71.0)):
        record_evaluation(run, {"init_from": weights, "top1": top1})
    lines = [json.loads(line) for line in (run.path.parent / "evaluations.jsonl").read_text().splitlines()]
    assert [(line["step"], line["init_from"], line["top1"]) for line in lines] == [
        ("step0_resnet", "a.pt", 70.0),
        ("step0_resnet", "b.pt", 71.0),
    ]
    assert count_evaluations([run, open_run("seed=1")]) == 2
    assert not run.path.exists()
