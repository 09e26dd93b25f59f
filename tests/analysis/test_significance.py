"""Every change of the roadmap is classified as a gain, a loss or undecided, with the reason."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from roadmap.analysis.results import aggregate, read_runs
from roadmap.analysis.significance import (
    GAIN,
    LOSS,
    UNDECIDED,
    RowStats,
    compute_row_stats,
    estimate_text,
    method_text,
    pool_rows,
    pooled_text,
    verdict_text,
)
from roadmap.config.steps import STEPS as ALL_STEPS

Write = Callable[..., Any]  # writes run folders; see conftest.py
STEPS = ("step0_resnet", "step1_stage_ratio", "step2_patchify", "step3_depthwise")


def row_stats(tmp_path: Path, best: bool = False) -> dict[str, RowStats]:
    return {one.row.step: one for one in compute_row_stats(aggregate(read_runs(tmp_path / "trial")), best)}


def write_steps(write_run: Write, *results: list[float], first_seed: int = 0) -> None:
    """Write the results of each step's seeds, from step 0."""
    for step, values in zip(STEPS, results, strict=False):
        for seed, top1 in enumerate(values, first_seed):
            write_run(step, seed, top1)


def test_gain_loss_and_undecided(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [80.0, 80.2, 80.4], [82.0, 82.21, 82.39], [82.0, 82.3, 82.2], [79.0, 79.31, 79.22])
    found = row_stats(tmp_path)
    changes = [found[step].change for step in STEPS[1:]]
    assert [change.verdict for change in changes if change] == [GAIN, UNDECIDED, LOSS]
    assert found["step0_resnet"].change is None
    raw = [stats.ttest_1samp([2.0, 2.01, 1.99], 0).pvalue, stats.ttest_1samp([-3.0, -2.99, -2.98], 0).pvalue]
    first, second, third = changes
    assert first is not None and second is not None and third is not None  # noqa: PT018
    assert (third.p, first.p) == (pytest.approx(3 * min(raw)), pytest.approx(2 * max(raw)))
    min_detectable_effect = (
        5.653489 * np.std([0, 0.09, -0.19], ddof=1) / 3**0.5
    )  # the noncentrality is scipy's; see its test
    assert second.explanation == f"undecided: below the {min_detectable_effect:.2f} points that 3 seeds detect"
    assert first.explanation == "gain: p < 0.001 over 3 changes"
    text = verdict_text(list(found.values()))
    assert "Gains: step1 +2.00." in text
    assert "Losses: step3 -2.99." in text
    assert "Undecided: step2 -0.03." in text


def test_seeds_that_differ_are_compared_unpaired_and_it_says_so(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [80.0, 80.2, 80.4])
    for seed, top1 in enumerate([81.0, 81.3, 81.1, 81.2]):
        write_run("step1_stage_ratio", seed, top1)
    found = row_stats(tmp_path)
    change = found["step1_stage_ratio"].change
    assert change is not None
    expected = stats.ttest_ind([81.0, 81.3, 81.1, 81.2], [80.0, 80.2, 80.4], equal_var=False)
    assert change.p == pytest.approx(expected.pvalue)
    assert "Welch" in method_text(list(found.values()))


def test_one_seed_decides_nothing_and_says_so(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [80.0], [85.0])
    found = row_stats(tmp_path)
    change, estimate = found["step1_stage_ratio"].change, found["step1_stage_ratio"].estimate
    assert change is not None
    assert estimate is not None
    assert (change.verdict, change.p, estimate.interval) == (UNDECIDED, None, None)
    assert "one seed" in change.explanation
    assert "a mean of one seed has none" in method_text(list(found.values()))
    assert "No change to or from a step of one seed can be decided." in verdict_text(list(found.values()))


def test_seeds_that_agree_have_no_interval_and_it_is_said(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [80.0, 80.0], [81.0, 81.5])
    found = row_stats(tmp_path)
    estimate = found["step0_resnet"].estimate
    assert estimate is not None
    assert estimate_text(estimate) == "none: the seeds agree"
    assert "Student's t); a mean of seeds that agree exactly has none; changes" in method_text(list(found.values()))


def test_a_change_significant_alone_is_undecided_among_many(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [80.0, 80.2, 80.4], [80.7, 81.2, 81.7], [80.8, 81.3, 81.5], [80.9, 81.2, 81.6])
    change = row_stats(tmp_path)["step1_stage_ratio"].change
    assert change is not None
    assert change.difference.p == pytest.approx(stats.ttest_1samp([0.7, 1.0, 1.3], 0).pvalue)
    assert change.difference.p < 0.05
    assert change.explanation == "undecided: p = 0.086 over 3 changes"


def test_ablations_are_corrected_among_themselves(tmp_path: Path, write_run: Write) -> None:
    """However many ablations ran, the roadmap's own changes are decided as without them."""
    write_steps(write_run, [80.0, 80.2, 80.4], [82.0, 82.21, 82.39])
    alone = row_stats(tmp_path)["step1_stage_ratio"].change
    for number, axis in enumerate(("norm", "stem", "width")):
        for seed in range(3):
            write_run("step0_resnet", seed, 79.0 + 0.05 * seed * number, variant={axis: "other"})
    found = compute_row_stats(aggregate(read_runs(tmp_path / "trial")))
    step, *ablations = sorted((one.change for one in found if one.change), key=lambda change: change.family)
    assert step == alone
    assert step.family == 1
    assert [change.family for change in ablations] == [3, 3, 3]
    assert "corrected over 1 change and 3 ablations (Holm)" in method_text(found)


def test_what_networks_that_vary_alike_decide_together(tmp_path: Path, write_run: Write) -> None:
    """With three seeds, each change alone is undecided; pooled over all networks, the large ones are decided."""
    results = [80.0, 80.5, 80.4], [81.6, 82.3, 82.9], [82.7, 82.2, 82.5], [80.2, 81.3, 80.6]
    write_steps(write_run, *results)
    rows = aggregate(read_runs(tmp_path / "trial"))
    assert {one.change.verdict for one in compute_row_stats(rows) if one.change} == {UNDECIDED}
    text = pooled_text(rows)
    values = np.array(results)
    rest = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    assert text.startswith(
        f"If every network varies alike from seed to seed ({math.sqrt((rest**2).sum() / 6):.2f} points, 6 degrees"
    )
    assert "Gains: step1 +1.97. Losses: step3 -1.77. Undecided: step2 +0.20." in text
    write_run("step3_depthwise", 3, 80.3)
    assert pooled_text(aggregate(read_runs(tmp_path / "trial"))) == text  # the fourth seed has no counterpart


NOISY = [70.0, 71.2, 69.1], [69.0, 71.4, 71.9], [70.4, 69.0, 72.1], [73.3, 74.2, 72.2]


def test_networks_of_another_data_set_say_nothing_of_the_spread(tmp_path: Path, write_run: Write) -> None:
    """Beside thirteen low-variance steps on other data, high-variance ones are as undecided as alone."""
    for step, values in zip(STEPS, NOISY, strict=True):
        for seed, top1 in enumerate(values):
            write_run(step, seed, top1, data="cifar10")
    alone = aggregate(read_runs(tmp_path / "trial"))
    (spread,) = pool_rows(alone).values()
    assert f"({spread.std:.2f} points, 6 degrees of freedom, seeds" in pooled_text(alone)
    for number, step in enumerate(ALL_STEPS):
        for seed in range(3):
            write_run(step, seed + 3, 80.0 + number + 0.02 * (seed * number % 3), recipe="quiet")
    rows = aggregate(read_runs(tmp_path / "trial"))
    spreads = pool_rows(rows)
    assert {setting[1]: one.dof for setting, one in spreads.items()} == {"cifar10": 6, "digits": 24}
    changes = [
        {
            one.row.step: one.change
            for one in compute_row_stats(some, pooled_stds=spreads)
            if one.change and one.row.data == "cifar10"
        }
        for some in (alone, rows)
    ]
    assert spreads["micro", "cifar10", "short"] == spread
    assert [change.verdict for change in changes[1].values()] == [UNDECIDED] * 3
    assert [change.difference for change in changes[0].values()] == [one.difference for one in changes[1].values()]
    assert f"micro, cifar10, short: {spread.std:.2f} points, 6 degrees of freedom; " in pooled_text(rows)


def test_a_change_of_the_recipe_shares_no_spread(tmp_path: Path, write_run: Write) -> None:
    """From the original recipe to step 0: each setting has its own standard deviation."""
    write_steps(write_run, [80.0, 80.5, 80.4], [81.6, 82.3, 82.9])
    for seed, top1 in enumerate([77.0, 77.4, 77.9]):
        write_run("original", seed, top1, recipe="original")
    rows = aggregate(read_runs(tmp_path / "trial"))
    shared, own = (
        {one.row.step: one.change for one in compute_row_stats(rows, pooled_stds=spreads) if one.change}
        for spreads in (pool_rows(rows), None)
    )
    assert shared["step0_resnet"].difference == own["step0_resnet"].difference


def test_the_best_epochs_accuracy_is_judged_on_request(tmp_path: Path, write_run: Write) -> None:
    write_steps(write_run, [80.0, 80.2], [81.0, 81.4])
    last, best = row_stats(tmp_path), row_stats(tmp_path, best=True)
    assert last["step0_resnet"].estimate is not None
    assert best["step0_resnet"].estimate is not None
    assert best["step0_resnet"].estimate.mean - last["step0_resnet"].estimate.mean == pytest.approx(0.5)
