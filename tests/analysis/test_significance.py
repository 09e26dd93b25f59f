"""Every change of the roadmap is classified as a gain, a loss or not significant, with the reason."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from trial_rows import Write, rows_of

from roadmap.analysis.results import short_names
from roadmap.analysis.significance import (
    GAIN,
    LOSS,
    NOT_SIGNIFICANT,
    RowStats,
    compute_row_stats,
    estimate_text,
    method_text,
    pool_rows,
    pooled_text,
    summary_text,
    verdict_text,
)
from roadmap.config.roadmap_files import load_roadmap

STEPS = ("step0_resnet", "step1_stage_ratio", "step2_patchify", "step3_depthwise")


def row_stats(tmp_path: Path) -> dict[str, RowStats]:
    return {one.row.step: one for one in compute_row_stats(rows_of(tmp_path))}


def write_steps(write_run: Write, *results: list[float], first_seed: int = 0) -> None:
    """Write the results of each step's seeds, from step 0."""
    for step, values in zip(STEPS, results, strict=False):
        for seed, top1 in enumerate(values, first_seed):
            write_run(step, seed, top1)


def test_gain_loss_and_not_significant(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [80.0, 80.2, 80.4], [82.0, 82.21, 82.39], [82.0, 82.3, 82.2], [79.0, 79.31, 79.22])
    found = row_stats(tmp_path)
    changes = [found[step].change for step in STEPS[1:]]
    assert [change.verdict for change in changes if change] == [GAIN, NOT_SIGNIFICANT, LOSS]
    assert found["step0_resnet"].change is None
    raw = [stats.ttest_1samp([2.0, 2.01, 1.99], 0).pvalue, stats.ttest_1samp([-3.0, -2.99, -2.98], 0).pvalue]
    first, second, third = changes
    assert first is not None and second is not None and third is not None  # noqa: PT018
    assert (third.p, first.p) == (pytest.approx(3 * min(raw)), pytest.approx(2 * max(raw)))
    # The noncentrality is scipy's; see its test.
    min_detectable_effect = 5.653489 * np.std([0, 0.09, -0.19], ddof=1) / 3**0.5
    assert second.explanation == f"not significant: 3 seeds detect {min_detectable_effect:.2f} points or more"
    assert first.explanation == "gain: p < 0.001 (Holm, 3 changes)"
    text = verdict_text(list(found.values()))
    assert text.startswith(
        "Significant gains: step1 +2.00. Significant losses: step3 -2.99. Not significant: step2 "
    )
    assert "3 seeds detect " in text


def test_seeds_that_differ_are_compared_unpaired_and_so_labelled(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [80.0, 80.2, 80.4])
    for seed, top1 in enumerate([81.0, 81.3, 81.1, 81.2]):
        write_run("step1_stage_ratio", seed, top1)
    found = row_stats(tmp_path)
    change = found["step1_stage_ratio"].change
    assert change is not None
    expected = stats.ttest_ind([81.0, 81.3, 81.1, 81.2], [80.0, 80.2, 80.4], equal_var=False)
    assert change.p == pytest.approx(expected.pvalue)
    assert "Welch" in method_text(list(found.values()))


def test_one_seed_has_no_test(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [80.0], [85.0])
    found = row_stats(tmp_path)
    change, estimate = found["step1_stage_ratio"].change, found["step1_stage_ratio"].estimate
    assert change is not None
    assert estimate is not None
    assert (change.verdict, change.p, estimate.interval) == (NOT_SIGNIFICANT, None, None)
    assert "one seed" in change.explanation
    assert "A mean of one seed has no interval." in method_text(list(found.values()))
    verdict = "No change is significant: step1 +5.00. A change to or from a step with one seed has no test."
    assert verdict in verdict_text(list(found.values()))


def test_seeds_that_agree_have_no_interval(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [80.0, 80.0], [81.0, 81.5])
    found = row_stats(tmp_path)
    estimate = found["step0_resnet"].estimate
    assert estimate is not None
    assert estimate_text(estimate) == "none: the seeds agree"
    assert "A mean of seeds that agree exactly has no interval." in method_text(list(found.values()))


def test_a_change_without_a_test_says_why(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [90.0, 91.0], [90.27, 91.27])
    found = list(row_stats(tmp_path).values())
    assert summary_text(found) == "No change is significant: seeds that agree exactly have no test."
    verdict = "No change is significant: step1 +0.27. A change whose seeds agree exactly has no test."
    assert verdict_text(found) == verdict
    write_run("step2_patchify", 0, 95.0)
    found = list(row_stats(tmp_path).values())
    clauses = "one seed has no test; seeds that agree exactly have no test"
    assert summary_text(found) == f"No change is significant: {clauses}."
    assert verdict_text(found).endswith(
        "A change to or from a step with one seed has no test. A change whose seeds agree exactly has no test."
    )


def test_what_seeds_detect_is_no_reason_for_a_change_without_a_test(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [80.0, 80.2, 80.4], [82.0, 82.21, 82.39], [90.0])
    found = list(row_stats(tmp_path).values())
    assert summary_text(found) == "Significant: step1 +2.00. The other change is not: one seed has no test."
    for seed in range(3):
        write_run("step3_depthwise", seed, 85.0 + seed)
        write_run("step4_width", seed, 85.1 - 0.5 * seed)
    assert re.fullmatch(
        r"Significant: step1 \+2\.00\. The other 3 changes are not: 3 seeds detect \S+ points or more on average; "
        "one seed has no test\\.",
        summary_text(compute_row_stats(rows_of(tmp_path))),
    )


def test_a_change_significant_alone_is_not_among_many(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [80.0, 80.2, 80.4], [80.7, 81.2, 81.7], [80.8, 81.3, 81.5], [80.9, 81.2, 81.6])
    change = row_stats(tmp_path)["step1_stage_ratio"].change
    assert change is not None
    assert change.difference.p == pytest.approx(stats.ttest_1samp([0.7, 1.0, 1.3], 0).pvalue)
    assert change.difference.p < 0.05
    assert change.explanation == "not significant: p = 0.086 (Holm, 3 changes)"


def test_ablations_are_corrected_among_themselves(tmp_path: Path, write_run: Write) -> None:
    """However many ablations ran, the roadmap's own changes have the same tests."""
    write_steps(write_run, [80.0, 80.2, 80.4], [82.0, 82.21, 82.39])
    alone = row_stats(tmp_path)["step1_stage_ratio"].change
    for number, axis in enumerate(("norm", "stem", "width")):
        for seed in range(3):
            write_run("step0_resnet", seed, 79.0 + 0.05 * seed * number, variant={axis: "other"})
    found = compute_row_stats(rows_of(tmp_path))
    step, *ablations = sorted((one.change for one in found if one.change), key=lambda change: change.family)
    assert step == alone
    assert step.family == 1
    assert [change.family for change in ablations] == [3, 3, 3]
    assert "corrected over 1 change and 3 ablations (Holm)" in method_text(found)


def test_the_pooled_standard_deviation_finds_more(tmp_path: Path, write_run: Write) -> None:
    """With three seeds no change alone is significant; with the pooled standard deviation the large ones are."""
    results = [80.0, 80.5, 80.4], [81.6, 82.3, 82.9], [82.7, 82.2, 82.5], [80.2, 81.3, 80.6]
    write_steps(write_run, *results)
    rows = rows_of(tmp_path)
    assert {one.change.verdict for one in compute_row_stats(rows) if one.change} == {NOT_SIGNIFICANT}
    text = pooled_text(rows)
    values = np.array(results)
    rest = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    assert text.startswith(f"With pooled standard deviation ({math.sqrt((rest**2).sum() / 6):.2f} points, 6 dof): ")
    assert "gains: step1 +1.97. Significant losses: step3 -1.77. Not significant: step2 +0.20. 3 seeds" in text
    write_run("step3_depthwise", 3, 80.3)
    assert pooled_text(rows_of(tmp_path)) == text  # the fourth seed has no counterpart


NOISY = [70.0, 71.2, 69.1], [69.0, 71.4, 71.9], [70.4, 69.0, 72.1], [73.3, 74.2, 72.2]


def test_each_data_set_has_its_own_pooled_standard_deviation(tmp_path: Path, write_run: Write) -> None:
    """Beside thirteen low-variance steps on other data, high-variance ones are no more significant than alone."""
    for step, values in zip(STEPS, NOISY, strict=True):
        for seed, top1 in enumerate(values):
            write_run(step, seed, top1, data="cifar10")
    alone = rows_of(tmp_path)
    (pooled,) = pool_rows(alone).values()
    assert f"({pooled.std:.2f} points, 6 dof)" in pooled_text(alone)
    for number, step in enumerate(load_roadmap().steps):
        for seed in range(3):
            write_run(step, seed + 3, 80.0 + number + 0.02 * (seed * number % 3), recipe="quiet")
    rows = rows_of(tmp_path)
    pooled_stds = pool_rows(rows)
    assert {setting[1]: one.dof for setting, one in pooled_stds.items()} == {"cifar10": 6, "digits": 24}
    changes = [
        {
            one.row.step: one.change
            for one in compute_row_stats(some, pooled_stds=pooled_stds)
            if one.change and one.row.data == "cifar10"
        }
        for some in (alone, rows)
    ]
    assert pooled_stds["micro", "cifar10", "short"] == pooled
    assert [change.verdict for change in changes[1].values()] == [NOT_SIGNIFICANT] * 3
    assert [change.difference for change in changes[0].values()] == [one.difference for one in changes[1].values()]
    assert f"micro, cifar10, short: {pooled.std:.2f} points, 6 dof; " in pooled_text(rows)


def test_a_change_of_the_recipe_is_not_pooled(tmp_path: Path, write_run: Write) -> None:
    """From the original recipe to step 0: each setting has its own standard deviation."""
    write_steps(write_run, [80.0, 80.5, 80.4], [81.6, 82.3, 82.9])
    for seed, top1 in enumerate([77.0, 77.4, 77.9]):
        write_run("original", seed, top1, recipe="original")
    rows = rows_of(tmp_path)
    shared, own = (
        {one.row.step: one.change for one in compute_row_stats(rows, pooled_stds=pooled_stds) if one.change}
        for pooled_stds in (pool_rows(rows), None)
    )
    assert shared["step0_resnet"].difference == own["step0_resnet"].difference


def test_an_interval_of_an_accuracy_ends_at_0_and_100(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [99.0, 99.9], [0.1, 1.0])
    high, low = (row_stats(tmp_path)[step].estimate for step in STEPS[:2])
    assert high is not None and high.interval is not None  # noqa: PT018
    assert low is not None and low.interval is not None  # noqa: PT018
    assert (high.interval.high, low.interval.low) == (100.0, 0.0)
    assert high.interval.low < 99.0
    assert low.interval.high > 1.0


def test_two_variants_of_a_step_have_two_names(tmp_path: Path, write_run: Write) -> None:
    for seed in range(2):
        write_run("step6_move_up", seed, 80.0 + seed)
        for step, changes in [
            ("step7_kernel", {}),
            ("step7_kernel", {"variant": {"kernel_size": "5"}}),
            ("step7_kernel", {"variant": {"kernel_size": "9"}}),
            ("step7_mine", {}),
        ]:
            write_run(step, seed, 80.5 + seed, label="larger kernel", **changes)
        write_run("step7_mine", seed + 5, 80.5 + seed, label="larger kernel", recipe="long")
    rows = rows_of(tmp_path)
    names = dict(zip(short_names(rows), rows, strict=True))
    assert {"step7_kernel", "step7 kernel_size=5", "step7 kernel_size=9", "step6"} <= names.keys()
    assert {"step7_mine (micro, digits, short)", "step7_mine (micro, digits, long)"} <= names.keys()
    assert len({row.label for row in rows}) == len(rows)
    assert "step7 kernel_size=5 +0.50, step7_kernel +0.50, step7 kernel_size=9 +0.50" in verdict_text(
        compute_row_stats(rows)
    )
