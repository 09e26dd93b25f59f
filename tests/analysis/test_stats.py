"""The statistics agree with scipy, with printed values, and with simulations."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from roadmap.analysis.stats import (
    ALPHA,
    Interval,
    compare,
    correct_by_holm,
    detectable_noncentrality,
    estimate,
    pool,
)

# Extra hours of sleep of ten patients under two drugs: Student, Biometrika 6 (1908); R's data set `sleep`.
FIRST = dict(enumerate([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]))
SECOND = dict(enumerate([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]))


def test_students_sleep_data_paired() -> None:
    """As printed by R: t.test(extra ~ group, data = sleep, paired = TRUE)."""
    difference = compare(FIRST, SECOND)
    assert (difference.paired, difference.n) == (True, (10, 10))
    assert difference.mean == pytest.approx(1.58)
    assert difference.p == pytest.approx(0.002833, abs=5e-7)
    assert difference.interval == Interval(pytest.approx(0.7001142, abs=1e-6), pytest.approx(2.4598858, abs=1e-6))


def test_students_sleep_data_with_seeds_that_differ() -> None:
    """As printed by R: t.test(extra ~ group, data = sleep)."""
    difference = compare(FIRST, {seed + 10: value for seed, value in SECOND.items()})
    assert difference.paired is False
    assert difference.p == pytest.approx(0.07939, abs=5e-6)
    assert difference.interval == Interval(pytest.approx(-0.2054832, abs=1e-6), pytest.approx(3.3654832, abs=1e-6))


def test_the_spread_of_two_networks_is_the_paired_tests() -> None:
    spread = pool([FIRST, SECOND])
    assert spread is not None
    pooled, alone = compare(FIRST, SECOND, spread), compare(FIRST, SECOND)
    assert spread.dof == 9
    assert pooled.p == pytest.approx(alone.p)
    assert pooled.interval == Interval(*map(pytest.approx, (alone.interval.low, alone.interval.high)))
    assert pooled.min_detectable_effect == pytest.approx(alone.min_detectable_effect)


@given(st.integers(2, 6), st.integers(2, 5), st.integers(0, 99), st.floats(0, 0.6))
def test_the_spread_of_many_networks_is_what_least_squares_leaves(
    networks: int, seeds: int, seed: int, missing: float
) -> None:
    """With one level per network and one per seed, whichever runs are missing."""
    generator = np.random.default_rng(seed)
    ran = generator.random((networks, seeds)) >= missing
    ran[:, 0] |= ~ran.any(axis=1)  # a network without a run has no row
    values = generator.normal(70, 1, (networks, seeds))
    rows, columns = np.nonzero(ran)
    design = np.hstack([np.eye(networks)[rows], np.eye(seeds)[columns]])
    solution, _, rank, _ = np.linalg.lstsq(design, values[ran])
    rest = values[ran] - design @ solution
    spread = pool([{seed: row[seed] for seed in np.flatnonzero(own)} for row, own in zip(values, ran, strict=True)])
    dof = len(rest) - rank
    if dof == 0:
        assert spread is None
    else:
        assert spread is not None
        assert spread.dof == dof
        assert spread.std == pytest.approx(math.sqrt(rest @ rest / dof))


def test_a_shared_spread_compares_the_seeds_that_both_have() -> None:
    """One more seed in one of them changes nothing."""
    spread = pool([FIRST, SECOND])
    assert compare(FIRST, SECOND | {10: 99.0}, spread) == compare(FIRST, SECOND, spread)
    assert pool([FIRST, SECOND | {10: 99.0}]).dof == 9  # type: ignore[union-attr]


def test_without_a_degree_of_freedom_there_is_no_spread() -> None:
    assert pool([]) is None
    assert pool([FIRST]) is None
    assert pool([{0: 70.0}, {0: 71.0}]) is None
    assert pool([{0: 70.0, 1: 71.0}, {2: 71.0, 3: 72.0}]) is None
    assert pool([{0: 70.0, 1: 71.0}, {1: 71.0, 2: 72.0}]) is None


accuracies = st.lists(st.integers(0, 364).map(lambda images: images / 3.64), min_size=2, max_size=9)


@given(accuracies, accuracies)
def test_welchs_test_is_scipys(before: list[float], after: list[float]) -> None:
    assume(min(np.std(before), np.std(after)) > 0.01)  # scipy warns if one of them is constant
    difference = compare(dict(enumerate(before)), {seed + 50: value for seed, value in enumerate(after)})
    expected = stats.ttest_ind(after, before, equal_var=False)
    interval = expected.confidence_interval(1 - ALPHA)
    assert difference.interval is not None
    assert difference.p == pytest.approx(expected.pvalue, abs=1e-9)
    assert (difference.interval.low, difference.interval.high) == pytest.approx(tuple(interval), abs=1e-6)


def test_an_estimate_is_scipys_t_interval() -> None:
    values = [80.4, 80.6, 80.7]
    found = estimate(values)
    assert found.interval is not None
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (found.interval.low, found.interval.high) == pytest.approx(expected)
    assert found.std == pytest.approx(np.std(values, ddof=1))


def test_one_seed_has_no_interval() -> None:
    assert estimate([80.0]).interval is None
    assert estimate([80.0]).std is None
    for before, after in (({0: 80.0}, {0: 81.0}), ({0: 80.0}, {0: 81.0, 1: 81.2})):
        difference = compare(before, after)
        assert (difference.interval, difference.p, difference.min_detectable_effect) == (None, None, None)
    assert difference.mean == pytest.approx(1.1)


@pytest.mark.parametrize("values", [[98.0769, 98.0769], [100 * 3 / 7, 300 / 7 + 1e-13, 300 / 7]])
def test_seeds_that_agree_have_a_mean_and_no_interval(values: list[float]) -> None:
    found = estimate(values)
    assert (found.n, found.mean, found.interval) == (len(values), pytest.approx(values[0]), None)
    assert found.std == pytest.approx(0)


def test_seeds_that_agree_but_for_rounding_prove_nothing() -> None:
    """Three times one image of 364: the differences are equal except for their last bits."""
    before = {0: 100 * 357 / 364, 1: 100 * 358 / 364, 2: 100 * 353 / 364}
    after = {seed: 100 * (round(value * 3.64) + 1) / 364 for seed, value in before.items()}
    difference = compare(before, after)
    assert difference.mean == pytest.approx(100 / 364)
    assert (difference.interval, difference.p, difference.min_detectable_effect) == (None, None, None)


@pytest.mark.parametrize(
    ("n", "groups", "effect"),
    # Sample sizes in printed power tables, for effects in standard deviations, at 5% two-sided and power 80%.
    [(34, 1, 0.5), (15, 1, 0.8), (64, 2, 0.5), (26, 2, 0.8)],
)
def test_the_smallest_effect_is_that_of_power_tables(n: int, groups: int, effect: float) -> None:
    def min_detectable_effect(size: int) -> float:
        return detectable_noncentrality(groups * (size - 1)) * math.sqrt(groups / size)

    assert min_detectable_effect(n) <= effect < min_detectable_effect(n - 1)


@pytest.mark.parametrize("dof", [1.5, 2, 2.5, 4, 9, 30])
def test_the_smallest_effect_has_the_stated_power_under_scipys_noncentral_t(dof: float) -> None:
    critical, effect = stats.t.ppf(0.975, dof), detectable_noncentrality(dof)
    power = stats.nct.sf(critical, dof, effect) + stats.nct.cdf(-critical, dof, effect)
    assert power == pytest.approx(0.8, abs=2e-6)


@given(st.floats(-5, 5), st.lists(st.floats(-1, 1), min_size=2, max_size=6))
def test_an_effect_as_large_as_the_smallest_is_significant_and_its_interval_excludes_zero(
    shift: float, noise: list[float]
) -> None:
    before = dict.fromkeys(range(len(noise)), 80.0)
    difference = compare(before, {seed: 80.0 + shift + value for seed, value in enumerate(noise)})
    if difference.min_detectable_effect is None or difference.p is None or difference.interval is None:
        return
    excludes_zero = difference.interval.low > 0 or difference.interval.high < 0
    assert excludes_zero == (difference.p < ALPHA) or difference.p == pytest.approx(ALPHA)
    if abs(difference.mean) >= difference.min_detectable_effect:
        assert difference.p < ALPHA


def test_holms_correction_on_a_known_example() -> None:
    """R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")."""
    adjusted = correct_by_holm([0.01, 0.04, None, 0.03, 0.005])
    assert adjusted.pop(2) is None
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_by_holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=15))
def test_holm_keeps_the_order_and_lies_between_none_and_bonferroni(p_values: list[float]) -> None:
    adjusted = [p for p in correct_by_holm(p_values) if p is not None]
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p) + 1e-12
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert [adjusted[index] for index in order] == sorted(adjusted)


def test_intervals_by_a_shared_spread_cover_the_truth_in_95_of_100_simulations() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        shared = generator.normal(0, 0.2, 3)  # a seed's effect on all steps
        steps = [
            dict(enumerate((80 + 0.3 * step + shared + generator.normal(0, 0.1, 3)).tolist())) for step in range(13)
        ]
        interval = compare(steps[4], steps[5], pool(steps)).interval
        assert interval is not None
        hits += interval.low <= 0.3 <= interval.high
    assert 0.93 <= hits / 1000 <= 0.97
