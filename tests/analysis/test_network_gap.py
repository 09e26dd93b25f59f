"""The gap between two networks in several experiments, and the effect of a setting on it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from trial_rows import RUN

from roadmap.analysis.comparison import Candidate, make_candidate
from roadmap.analysis.network_gap import find_gaps, gap_notes, gap_table, pool_experiments
from roadmap.analysis.stats import PooledStd, critical_value
from roadmap.errors import RunError

FIRST, LAST = "step1_stage_ratio", "step12_downsample"


def experiment(name: str, **top1: list[float]) -> Candidate:
    """Make an experiment with seeds 1, 2, ... of each network."""
    runs = [
        replace(RUN, experiment=name, step=step, seed=seed, top1=value)
        for step, values in top1.items()
        for seed, value in enumerate(values, 1)
    ]
    return make_candidate(name, {}, runs)


def test_gaps_and_effects_by_hand() -> None:
    """With a standard deviation s, a gap of n seeds has the error s sqrt(2/n), an effect s sqrt(2/n + 2/m)."""
    base = experiment("base", **{FIRST: [70.0, 71.0, 72.0], LAST: [61.0, 62.0, 63.0]})
    longer = experiment("longer", **{FIRST: [78.0], LAST: [73.0]})
    gaps = find_gaps([base, longer], FIRST, LAST, PooledStd(0.83, 52))
    t = critical_value(52)
    assert [one.difference.mean for one in gaps] == [pytest.approx(-9.0), pytest.approx(-5.0)]
    reach = [one.difference.interval.high - one.difference.mean for one in gaps if one.difference.interval]
    assert reach == pytest.approx([t * 0.83 * (2 / 3) ** 0.5, t * 0.83 * 2**0.5])
    effect = gaps[1].effect
    assert gaps[0].effect is None
    assert effect is not None
    assert effect.mean == pytest.approx(4.0)
    assert effect.interval is not None
    assert effect.interval.high - effect.mean == pytest.approx(t * 0.83 * (2 / 3 + 2) ** 0.5)
    assert gap_table(gaps)[2][:2] == ["longer", "1"]
    assert gap_table(gaps)[1][3:] == ["", ""]


def test_effects_are_corrected_over_all_settings() -> None:
    base = experiment("base", **{FIRST: [70.0], LAST: [60.0]})
    others = [experiment(f"s{k}", **{FIRST: [70.0], LAST: [60.0 + k]}) for k in (2, 3)]
    alone = find_gaps([base, others[1]], FIRST, LAST, PooledStd(0.8, 50))[1]
    both = find_gaps([base, *others], FIRST, LAST, PooledStd(0.8, 50))
    assert alone.p is not None
    assert both[2].p == pytest.approx(2 * alone.p)
    clear = find_gaps([base, experiment("clear", **{FIRST: [70.0], LAST: [90.0]})], FIRST, LAST, PooledStd(0.8, 50))
    assert gap_table(clear)[2][-1] == "< 0.001"


def test_intervals_cover_a_gap_in_simulated_experiments() -> None:
    """Seeds shift both networks of an experiment alike; the pooled standard deviation is of the residuals."""
    generator = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        shift = generator.normal(0, 2, 3)
        candidates = [
            experiment(
                name,
                **{
                    step: list(level + shift + generator.normal(0, 0.8, 3))
                    for step, level in ((FIRST, 70), (LAST, last))
                },
            )
            for name, last in (("a", 62.0), ("b", 66.0))
        ]
        spread = pool_experiments(candidates)
        assert spread is not None
        assert spread.dof == 4  # (2 networks - 1) x (3 seeds - 1) of each experiment
        effect = find_gaps(candidates, FIRST, LAST, spread)[1].effect
        assert effect is not None
        assert effect.interval is not None
        covered.append(effect.interval.low <= 4.0 <= effect.interval.high)
    assert 0.92 < np.mean(covered) < 0.98


def test_one_seed_has_a_gap_without_an_interval() -> None:
    candidates = [experiment(name, **{FIRST: [70.0], LAST: [last]}) for name, last in (("a", 61.0), ("b", 65.0))]
    assert pool_experiments(candidates) is None
    gaps = find_gaps(candidates, FIRST, LAST, None)
    assert gap_table(gaps)[1:] == [["a", "1", "-9.00", "", ""], ["b", "1", "-5.00", "+4.00", ""]]
    assert gap_notes(FIRST, LAST, gaps, None).endswith("One seed each: no interval.")


def test_a_gap_is_compared_with_that_of_its_base() -> None:
    lasts = {"small": 61.0, "large": 65.0, "large-long": 64.5, "other": None}
    candidates = [
        experiment(name, **{FIRST: [70.0], **({LAST: [last]} if last else {})}) for name, last in lasts.items()
    ]
    gaps = find_gaps(candidates, FIRST, LAST, PooledStd(0.5, 50), {"large-long": "large", "other": "small"})
    assert [(one.experiment, one.base) for one in gaps] == [
        ("small", None), ("large", "small"), ("large-long", "large")
    ]  # fmt: skip
    assert [one.effect.mean for one in gaps if one.effect] == [4.0, -0.5]
    ps = sorted(2 * stats.t.sf(abs(effect) / 0.5 / 2, 50) for effect in (4.0, -0.5))
    assert [one.p for one in gaps] == [None, pytest.approx(2 * ps[0]), pytest.approx(ps[1])]
    heading, *lines = gap_table(gaps)
    assert heading[3:5] == ["base", "gap minus that of the base (95% interval)"]
    assert [line[3] for line in lines] == ["", "small", "large"]


def test_only_seeds_of_both_networks_count() -> None:
    candidate = experiment("a", **{FIRST: [70.0, 80.0], LAST: [61.0]})
    (gap,) = find_gaps([candidate], FIRST, LAST, PooledStd(0.8, 50))
    assert (gap.difference.mean, gap.difference.n) == (pytest.approx(-9.0), (1, 1))
    with pytest.raises(
        RunError, match="none of these experiments has finished runs of step1_stage_ratio and step9"
    ):
        find_gaps([candidate], FIRST, "step9", None)
