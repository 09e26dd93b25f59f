"""profile_roadmap.py's output: exact costs, the paper's figures beside them, and rates of every step."""

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import roadmap
from roadmap.cli import profile as script
from roadmap.cli.estimate import make_workload
from roadmap.config import plan_runs
from roadmap.model.cost import measure_cost
from roadmap.training.measure import speed
from roadmap.training.measure.memory import measure_memory, measure_peak_memory
from roadmap.training.measure.speed import time_network
from roadmap.training.measure.workload import Measured, Workload, measure_in_turns

STEPS = ("step0_resnet", "step12_downsample")


@pytest.fixture(autouse=True)
def _short_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "NETWORK_SECONDS", 0.001)


@pytest.fixture(scope="module")
def workload() -> Workload:
    (run,) = plan_runs(["+roadmap=step12_downsample", "hardware.device=cpu"], is_sweep=False)
    return make_workload(run, 4)


@pytest.mark.system  # measures two networks: 4 s
def test_the_file_has_costs_rates_and_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "profile.csv"
    options = ["--steps", ",".join(STEPS), "--repeats=2", "--batch=4", f"--csv={path}"]
    assert script.main([*options, "hardware.device=cpu"]) == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    printed = capsys.readouterr().out
    assert [row["step"] for row in rows] == list(STEPS)
    for row in rows:
        cfg = roadmap.compose(f"+roadmap={row['step']}")
        cost = measure_cost(partial(roadmap.build_model, cfg), cfg.data.image_size)
        assert (float(row["gmacs"]), int(row["parameters"])) == (cost.gmacs, cost.parameters)
        assert int(row["activations"]) == cost.activations
        for name in ("forward", "update"):
            low, middle, high = (float(row[f"{name}_{key}"]) for key in ("q1", "images_per_s", "q3"))
            assert 0 < low <= middle <= high
        assert float(row["forward_images_per_s"]) > float(row["update_images_per_s"])
        assert (row["paper_gflops"], row["batch"], row["error"]) == ("", "4", "")
        assert f"{cost.parameters / 1e6:.4g}" in printed


def test_a_step_of_the_users_own_roadmap_is_measured(own_roadmap: Path, tmp_path: Path) -> None:
    options = ["--steps=mine/step0_start", "--repeats=1", "--batch=2", f"--csv={tmp_path / 'profile.csv'}"]
    assert script.main([f"--config-dir={own_roadmap}", *options, "hardware.device=cpu"]) == 0
    with (tmp_path / "profile.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["step"], row["label"], row["batch"]) == ("step0_start", "start", "2")


def test_a_recipe_with_gradient_accumulation_is_measured_on_one_micro_batch(workload: Workload) -> None:
    """Of 4 images here. setting=paper accumulates 32 micro-batches of 128, and was refused as work not done."""
    result = Measured()
    time_network(replace(workload, accumulation=32), result)
    (seconds,) = result.update  # MeasurementError if not each update has 4 images
    assert seconds > 0


def test_the_papers_gflops_stand_beside_its_sizes() -> None:
    common = ["regime=resnet50", "data=imagenet", "+roadmap=step11_layernorm"]
    rows = [script.count(run) for run in plan_runs([*common, "data.image_size=224,192"], is_sweep=True)]
    assert [row["paper_gflops"] for row in rows] == [4.46, None]
    assert rows[0]["gmacs"] == pytest.approx(4.146, abs=5e-4)


def test_all_steps_in_order_and_references_last() -> None:
    names = [run.config.step.name for run in script.plan(["+reference=swin_tiny"], None)]
    assert [name.partition("_")[0] for name in names] == [*(f"step{number}" for number in range(13)), "swin"]


@pytest.mark.system  # measures a batch of 64: 3 s
def test_peak_memory_holds_the_training_state_and_grows_with_the_batch(workload: Workload) -> None:
    parameters = sum(parameter.numel() for parameter in workload.build().parameters())
    small, large = (measure_peak_memory(replace(workload, batch_size=size)) for size in (4, 64))
    assert small is not None
    assert large is not None
    assert small > 4 * 4 * parameters  # fp32: weights, gradients, AdamW's two moments
    assert large > 1.3 * small


def test_networks_take_turns_and_one_without_memory_stops_none(workload: Workload) -> None:
    def build() -> nn.Module:
        raise torch.OutOfMemoryError("CUDA out of memory")

    turns: list[str] = []
    workloads = [replace(workload, name="fits"), replace(workload, name="large", build=build)]
    fits, large = measure_in_turns(workloads, [measure_memory, *2 * [time_network]], turns.append)
    assert turns == ["fits", "large"] * 3
    assert len(fits.forward) == len(fits.update) == 2
    assert (large.out_of_memory, large.update, large.peak_memory) == (True, [], None)


def test_out_of_memory_is_said_in_the_row() -> None:
    row = script.summarize(Measured(out_of_memory=True), 4)
    assert script.format_rate(row, "update") == "out of memory"
    assert row["update_q1"] is None


def test_the_line_below_the_table_names_the_rows_with_other_values() -> None:
    """The original recipe has other micro-batches; two rows of one step are told apart by number."""
    setting = {"device": "cpu", "precision": "fp32", "image_size": 8, "regime": "micro", "data": "digits"}
    steps = {"original": (128, "original"), "step0_resnet": (64, "short"), "step1_stage_ratio": (64, "short")}
    rows = [setting | {"step": step, "batch": batch, "recipe": recipe} for step, (batch, recipe) in steps.items()]
    assert script.describe_setting(rows, 5) == (
        "cpu, fp32, batches of 64 (original: 128) images of 8 pixels; regime micro, data digits, recipe short "
        "(original: original); median of 5 rounds ± half the distance of the quartiles; --help explains the columns"
    )
    assert ", batches of 64 images of 8 pixels; regime micro, data digits, recipe short; " in (
        script.describe_setting(rows[1:], 5)
    )
    twice = [rows[1], rows[1] | {"image_size": 16}]
    assert " images of 8 (row 2: 16) pixels; " in script.describe_setting(twice, 5)


def test_another_error_is_no_lack_of_memory(workload: Workload) -> None:
    def build() -> nn.Module:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        measure_in_turns([replace(workload, build=build)], [measure_memory])
