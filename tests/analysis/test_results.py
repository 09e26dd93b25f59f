"""Runs are aggregated to the rows of the roadmap."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trial_rows import Write, rows_of

from roadmap.analysis.read_runs import read_runs
from roadmap.analysis.results import MOST_ABLATIONS, Row, drawn_rows
from roadmap.analysis.significance import compute_row_stats
from roadmap.analysis.stats import mean, std
from roadmap.analysis.table import notes
from roadmap.config.roadmap_files import load_roadmap


def changes_of(rows: list[Row]) -> list[float | None]:
    """Return the points since the step before."""
    return [one.change.difference.mean if one.change else None for one in compute_row_stats(rows)]


def names(rows: list[Row]) -> list[str]:
    return [",".join([row.step, *row.variant.values()]) for row in rows]


def test_a_row_holds_mean_and_deviation_over_its_seeds(tmp_path: Path, write_run: Write) -> None:
    generator = np.random.default_rng(0)
    before, after = generator.uniform(0, 100, 4), generator.uniform(0, 100, 7)
    speeds = generator.uniform(100, 900, 7)
    for seed, top1 in enumerate(before):
        write_run("step0_resnet", seed, top1)
    for seed, (top1, speed) in enumerate(zip(after, speeds, strict=True)):
        write_run("step1_stage_ratio", seed, top1, images_per_s=speed)
    rows = rows_of(tmp_path)
    row = rows[1]
    assert mean(row.top1) == pytest.approx(np.mean(after))
    assert std(row.top1) == pytest.approx(np.std(after, ddof=1))
    assert mean(row.best_top1) == pytest.approx(np.mean(after) + 0.5)
    assert changes_of(rows)[1] == pytest.approx(np.mean(after) - np.mean(before))
    assert row.images_per_s == pytest.approx(np.mean(speeds))
    assert row.seeds == tuple(range(7))


def test_rows_stand_in_the_order_of_figure_2(tmp_path: Path, write_paper_runs: Write) -> None:
    write_paper_runs()
    steps = load_roadmap().steps
    kernels = ["step7_kernel,5", "step7_kernel", "step7_kernel,9", "step7_kernel,11"]
    assert names(rows_of(tmp_path)) == ["original", *steps[:7], *kernels, *steps[8:], "swin_tiny"]


def test_variants_follow_their_step_and_the_users_steps_the_papers(tmp_path: Path, write_run: Write) -> None:
    write_run("swin_tiny", reference="swin_tiny_patch4_window7_224")
    write_run("resnet")  # no index and no reference
    write_run("step13_mine")
    write_run("step12_downsample", variant={"kernel_size": "11"})
    write_run("step12_downsample", variant={"kernel_size": "9"})
    write_run("step12_downsample")
    assert names(rows_of(tmp_path)) == [
        "step12_downsample",
        "step12_downsample,9",
        "step12_downsample,11",
        "step13_mine",
        "resnet",
        "swin_tiny",
    ]


def test_a_change_is_against_the_step_before_not_the_row_above(tmp_path: Path, write_run: Write) -> None:
    write_run("original", top1=70.0, recipe="original")
    write_run("step0_resnet", top1=80.0)
    write_run("step6_move_up", top1=81.0)
    write_run("step7_kernel", top1=83.0)
    write_run("step7_kernel", top1=84.0, variant={"kernel_size": "9"})
    write_run("step8_gelu", top1=82.5)
    rows = rows_of(tmp_path)
    changes = dict(zip(names(rows), changes_of(rows), strict=True))
    assert changes["original"] is None
    assert changes["step0_resnet"] == 10.0
    assert changes["step6_move_up"] is None  # step 5 has no run
    assert changes["step7_kernel"] == 2.0
    assert changes["step7_kernel,9"] == 3.0
    assert changes["step8_gelu"] == -0.5


def test_the_order_is_the_roadmaps_whatever_index_a_run_recorded(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet", top1=30.0)
    write_run("step1_stage_ratio", top1=86.0, step_index=2)
    write_run("step2_patchify", top1=87.0, step_index=1)
    rows = rows_of(tmp_path)[:3]
    assert [(row.step, row.step_index) for row in rows] == [
        ("step0_resnet", 0),
        ("step1_stage_ratio", 1),
        ("step2_patchify", 2),
    ]
    assert changes_of(rows) == [None, 56.0, 1.0]


def test_an_ablation_is_set_against_its_own_step(tmp_path: Path, write_run: Write) -> None:
    """Another choice on the step's own axis is compared with the step before, as in the paper's table 10."""
    write_run("step11_layernorm", top1=80.0)
    write_run("step12_downsample", top1=82.0)
    write_run("step12_downsample", top1=85.0, variant={"stem": "resnet"})
    write_run("step12_downsample", top1=81.0, variant={"downsample": "strided"})
    write_run("step12_downsample", 1, 70.0, variant={"stem": "resnet"}, recipe="paper")  # its step did not run
    write_run("step13_mine", top1=83.0)
    write_run("step13_mine", top1=84.0, variant={"norm": "batchnorm"})
    rows = rows_of(tmp_path)
    changes = dict(zip([(row.recipe, *names([row])) for row in rows], changes_of(rows), strict=True))
    assert changes["short", "step12_downsample"] == 2.0
    assert changes["short", "step12_downsample,resnet"] == 3.0
    assert changes["short", "step12_downsample,strided"] == 1.0
    assert changes["paper", "step12_downsample,resnet"] is None
    assert changes["short", "step13_mine,batchnorm"] == 1.0
    assert "minus that of the step before, for an ablation minus that of its own step" in " ".join(notes(rows))


def test_combinations_of_a_sweep_are_no_changes_and_do_not_flood_the_figure(
    tmp_path: Path, write_run: Write
) -> None:
    for step in ("step11_layernorm", "step12_downsample"):
        write_run(step)
    write_run("step12_downsample", variant={"norm": "batchnorm"})
    for number in range(MOST_ABLATIONS - 1):
        write_run("step12_downsample", variant={"norm": "batchnorm", "kernel_size": str(2 * number + 9)})
    rows = rows_of(tmp_path)
    changed = [tuple(one.row.variant) for one in compute_row_stats(rows) if one.change]
    assert changed == [(), ("norm",)]
    assert drawn_rows(rows) == rows
    assert not any("not in the figure" in note for note in notes(rows))
    write_run("step12_downsample", variant={"norm": "batchnorm", "stem": "resnet"})
    rows = rows_of(tmp_path)
    assert [tuple(row.variant) for row in drawn_rows(rows)] == [(), ()]
    count = f"{MOST_ABLATIONS + 1} ablations are not in the figure of the roadmap"
    assert f"{count}; scripts/attribute.py prints their effects." in notes(rows)


def test_a_change_is_not_guessed_between_two_steps_of_one_index(tmp_path: Path, write_run: Write) -> None:
    write_run("step13_mine", top1=80.0)
    write_run("step13_other", top1=85.0)
    write_run("step14_mine", top1=90.0)
    assert changes_of(rows_of(tmp_path)) == [None, None, None]


def test_a_variants_label_names_what_it_changes(tmp_path: Path, write_run: Write) -> None:
    write_run("step7_kernel", label="kernel size 7", variant={"kernel_size": "9"})
    write_run("step8_gelu", label="GELU", variant={"norm": "layernorm"})
    assert [row.label for row in rows_of(tmp_path)] == ["kernel size 9", "GELU, norm=layernorm"]


def test_failed_and_unfinished_runs_are_counted_and_keep_their_row(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet", 0)
    write_run("step0_resnet", 1, state="failed", error="out of memory")
    write_run("step1_stage_ratio", 0, state="failed", error="out of memory")
    write_run("step1_stage_ratio", 1, state="running")
    write_run("step1_stage_ratio", 2, state="interrupted")
    first, second = rows_of(tmp_path)
    assert (len(first.seeds), first.failed, first.unfinished) == (1, 1, 0)
    assert (len(second.seeds), second.failed, second.unfinished) == (0, 1, 2)
    assert second.top1 == ()
    assert changes_of([first, second]) == [None, None]
    assert read_runs(tmp_path / "trial")[1].error == "out of memory"


@pytest.mark.parametrize(
    ("run", "empty"),
    [
        (["step7_kernel"], []),
        (["step6_move_up", "step7_kernel"], []),
        (["step8_gelu", "step11_layernorm"], ["step9_fewer_acts", "step10_fewer_norms"]),
    ],
)
def test_steps_between_two_that_ran_are_missed(
    tmp_path: Path, write_run: Write, run: list[str], empty: list[str]
) -> None:
    for step in run:
        write_run(step)
    assert [row.step for row in rows_of(tmp_path) if not row.seeds] == empty


def test_all_thirteen_steps_are_missed_in_a_sweep(tmp_path: Path, write_run: Write) -> None:
    for step in ("step0_resnet", "step1_stage_ratio", "step2_patchify"):
        write_run(step)
    rows = rows_of(tmp_path)
    assert [row.step_index for row in rows] == list(range(13))
    assert [len(row.seeds) for row in rows] == [1] * 3 + [0] * 10
    assert rows[12].label == "separate downsampling"


def test_an_ablation_misses_no_step_that_it_was_not_asked_for(tmp_path: Path, write_run: Write) -> None:
    """Leave-one-out and add-one-in need steps 0, 1, 11 and 12; what a sweep has not reached is recorded."""
    for step in ("step0_resnet", "step1_stage_ratio", "step12_downsample"):
        write_run(step)
    write_run("step11_layernorm", state="pending")
    write_run("step12_downsample", variant={"norm": "batchnorm"})
    write_run("step0_resnet", variant={"norm": "layernorm"})
    assert [row.step for row in rows_of(tmp_path) if not row.seeds] == ["step11_layernorm"]


def test_settings_are_kept_apart_with_a_warning(
    tmp_path: Path, write_run: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write_run("step0_resnet", 0, 80.0)
    write_run("step0_resnet", 1, 60.0, recipe="paper")
    write_run("step1_stage_ratio", 0, 81.0)
    write_run("step1_stage_ratio", 1, 63.0, recipe="paper")
    rows = rows_of(tmp_path)
    assert [(row.recipe, row.top1) for row in rows] == [
        ("paper", (60.0,)),
        ("short", (80.0,)),
        ("paper", (63.0,)),
        ("short", (81.0,)),
    ]
    assert changes_of(rows)[2:] == [3.0, 1.0]
    assert rows[2].label.endswith("[micro, digits, paper]")
    assert "more than one recipe (paper, short)" in caplog.text


def test_settings_of_one_name_that_differ_are_warned_of(
    tmp_path: Path, write_run: Write, caplog: pytest.LogCaptureFixture
) -> None:
    for step in ("step0_resnet", "step1_stage_ratio", "step2_patchify"):
        write_run(step, setting_hash="a")
    rows_of(tmp_path)
    assert "other settings" not in caplog.text
    write_run("step2_patchify", 1, setting_hash="b")
    write_run("step3_depthwise", setting_hash="b", recipe="original")  # distinguished by its name
    rows_of(tmp_path)
    assert "trial: runs of step2_patchify have other settings than the rest" in caplog.text


def test_runs_on_other_images_are_warned_of(
    tmp_path: Path, write_run: Write, caplog: pytest.LogCaptureFixture
) -> None:
    for step in ("step0_resnet", "step1_stage_ratio"):
        write_run(step, data_fingerprint="a")
    write_run("step2_patchify")  # of an earlier version
    write_run("step3_depthwise", data_fingerprint="b", data="cifar10")  # distinguished by its name
    rows_of(tmp_path)
    assert "other images" not in caplog.text
    write_run("step1_stage_ratio", 1, data_fingerprint="b")
    rows_of(tmp_path)
    assert "1 of 3 runs on data=digits, such as trial/step1_stage_ratio/seed1, had other images" in caplog.text


def test_the_original_recipe_beside_another_is_no_reason_to_warn(
    tmp_path: Path, write_paper_runs: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write_paper_runs()
    state, summary = (tmp_path / "trial/original/seed0" / name for name in ("state.json", "summary.json"))
    content = json.loads(state.read_text())
    content["identity"]["recipe"] = "original"
    state.write_text(json.dumps(content))
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"recipe": "original"}))
    with caplog.at_level(logging.WARNING):
        rows = rows_of(tmp_path)
    assert rows[0].recipe == "original"
    assert changes_of(rows)[1] == pytest.approx(78.82 - 76.13)
    assert caplog.text == ""


def test_only_imagenet_at_the_papers_size_is_comparable(tmp_path: Path, write_run: Write) -> None:
    write_run()
    (row,) = rows_of(tmp_path)
    for regime, data, is_comparable in (
        ("resnet50", "imagenet", True),
        ("resnet200", "imagenet", True),
        ("micro", "imagenet", False),
        ("resnet50", "digits", False),
    ):
        assert replace(row, regime=regime, data=data).on_imagenet == is_comparable


@pytest.mark.parametrize(
    ("regime", "step", "variant", "top1"),
    [
        ("resnet50", "step7_kernel", {}, 80.57),
        ("resnet200", "step7_kernel", {}, 82.30),
        ("micro", "step7_kernel", {}, 80.57),  # not in the paper
        ("resnet50", "step7_kernel", {"kernel_size": "3"}, 79.92),  # step 6
        ("resnet50", "step7_kernel", {"kernel_size": "9"}, 80.57),
        ("resnet50", "step7_kernel", {"kernel_size": "13"}, None),
        ("resnet50", "step7_kernel", {"kernel_size": "mine"}, None),
        ("resnet50", "step7_kernel", {"kernel_size": "9", "norm": "layernorm"}, None),
        ("resnet50", "step12_downsample", {"kernel_size": "3"}, None),
        ("resnet50", "original", {}, 76.13),
        ("resnet50", "step13_mine", {}, None),
        ("resnet50", "step7_kernel", {"norm": "layernorm"}, None),
        ("resnet200", "step12_downsample", {}, 83.60),
        ("micro", "swin_base", {}, 83.50),
        ("micro", "swin_base", {"norm": "batchnorm"}, None),
    ],
)
def test_a_run_is_compared_with_its_row_of_the_papers_tables(
    regime: str, step: str, variant: dict[str, str], top1: float | None
) -> None:
    row = load_roadmap().find_published(regime, step, variant)
    assert (row and row.top1) == top1
    told = Row(step, None, step, variant, None, "experiment", regime, "imagenet", "paper")
    assert told.paper == row
