"""Agreement with the paper is scipy's rank correlation, and is claimed only if it is computable."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from trial_rows import Write, rows_of

from roadmap.analysis.reproduction import (
    Agreement,
    _correlate,
    agreement_text,
    check_rows,
    claims_reproduction,
    find_agreement,
)
from roadmap.config.roadmap_files import load_roadmap

TABLE_10 = [
    row for row in load_roadmap().published if row.regime == "resnet50" and row.step is not None and row.adopted
]
PAPER = [row.top1 for row in TABLE_10]
SETTINGS = {("resnet50", "paper"): "as the paper", ("resnet50", "original"): "as the original"}


def test_the_papers_own_table_agrees_with_itself_without_an_interval(
    tmp_path: Path, write_paper_runs: Write
) -> None:
    write_paper_runs()
    steps, changes = find_agreement(rows_of(tmp_path))
    assert (steps.subject, steps.n, steps.spearman.value, steps.spearman.interval) == ("steps", 13, 1.0, None)
    assert (changes.subject, changes.n) == ("changes", 12)
    assert changes.kendall.value == pytest.approx(1)
    assert (steps.same_sign, changes.same_sign) == (None, 12)


def test_another_order_is_correlated_as_scipy_does(tmp_path: Path, write_run: Write) -> None:
    found = np.random.default_rng(0).normal(80, 1, 13)
    for row, top1 in zip(TABLE_10, found, strict=True):
        write_run(row.config, top1=float(top1))
    write_run("step7_kernel", top1=10.0, variant={"kernel_size": "9"})  # tried, but not a step
    steps, changes = find_agreement(rows_of(tmp_path))
    assert steps.spearman.value == pytest.approx(stats.spearmanr(found, PAPER).statistic)
    assert steps.kendall.value == pytest.approx(stats.kendalltau(found, PAPER).statistic)
    assert changes.spearman.value == pytest.approx(stats.spearmanr(np.diff(found), np.diff(PAPER)).statistic)
    assert (steps.spearman.interval, steps.kendall.interval) == (None, None)  # sums of changes are no sample
    assert f"Spearman {changes.spearman.value:.2f} (" in agreement_text(changes)
    assert f"Spearman {steps.spearman.value:.2f}, Kendall" in agreement_text(steps)
    same = int((np.sign(np.diff(found)) == np.sign(np.diff(PAPER))).sum())
    assert changes.same_sign == same != 12
    assert agreement_text(changes).endswith(f"; {same} of 12 have the paper's sign")


def test_two_steps_have_no_order_to_speak_of(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet")
    write_run("step1_stage_ratio")
    assert find_agreement(rows_of(tmp_path)) == []


@pytest.mark.parametrize("rho", [0.0, 0.7])
def test_the_intervals_cover_the_correlation_of_normal_samples(rho: float) -> None:
    """For normal variables, Spearman's and Kendall's are known functions of Pearson's."""
    generator = np.random.default_rng(1)
    truth = {"spearman": 6 / math.pi * math.asin(rho / 2), "kendall": 2 / math.pi * math.asin(rho)}
    hits = dict.fromkeys(truth, 0)
    for _ in range(300):
        pairs = generator.multivariate_normal([0, 0], [[1, rho], [rho, 1]], 13)
        found = _correlate("changes", [(float(a), float(b)) for a, b in pairs])
        assert isinstance(found, Agreement)
        for name, value in truth.items():
            interval = getattr(found, name).interval
            hits[name] += interval is None or interval.low <= value <= interval.high
    assert all(0.92 <= count / 300 <= 0.985 for count in hits.values()), hits


def test_rows_pass_within_the_tolerance(tmp_path: Path, write_paper_runs: Write) -> None:
    write_paper_runs(offset=-0.25, setting_hash="as the paper")
    rows = [row for row in rows_of(tmp_path) if row.step != "original"]  # whose recipe is not its own here
    assert {check.passed for check in check_rows(rows, SETTINGS, 0.3)} == {True}
    assert {check.passed for check in check_rows(rows, SETTINGS, 0.2)} == {False}
    assert len(check_rows(rows, SETTINGS, 0.3)) == 17  # 16 rows of table 10 and Swin-T
    first = check_rows(rows, SETTINGS, 0.3)[0]
    assert first.top1 - first.paper_top1 == pytest.approx(-0.25)
    assert {check.passed for check in check_rows(rows, SETTINGS, 0.26, best=True)} == {True}  # half a point higher


@pytest.mark.parametrize(
    ("step", "changes", "claimed"),
    [
        ("step8_gelu", {}, True),
        ("step8_gelu", {"data": "digits"}, False),
        ("step8_gelu", {"regime": "micro"}, False),
        ("step8_gelu", {"recipe": "short"}, False),
        ("step8_gelu", {"variant": {"norm": "layernorm"}}, False),
        ("step8_gelu", {"setting_hash": "a hundred epochs"}, False),
        ("step8_gelu", {"setting_hash": None}, False),
        ("original", {"recipe": "original", "setting_hash": "as the original"}, True),
        ("original", {"recipe": "original"}, False),
        ("original", {}, False),
    ],
)
def test_only_the_papers_data_size_and_settings_claim_a_reproduction(
    tmp_path: Path, write_run: Write, step: str, changes: dict[str, Any], claimed: bool
) -> None:
    named = {"regime": "resnet50", "data": "imagenet", "recipe": "paper", "setting_hash": "as the paper"}
    write_run(step, **named | changes)
    (row,) = rows_of(tmp_path)
    assert claims_reproduction(row, SETTINGS) is claimed


def test_one_run_of_other_settings_takes_the_claim_from_its_row(tmp_path: Path, write_run: Write) -> None:
    for seed, setting_hash in enumerate(("as the paper", "a hundred epochs")):
        write_run("step8_gelu", seed, regime="resnet50", data="imagenet", recipe="paper", setting_hash=setting_hash)
    (row,) = rows_of(tmp_path)
    assert not claims_reproduction(row, SETTINGS)
