"""Statistics of a few seeds: means and differences with intervals, p-values and smallest detectable effects.

Input and output are plain numbers; significance.py selects the runs. Student's and the noncentral t distribution
are from scipy, imported inside functions: train.py, which prints the table of a sweep, must report a mistyped
command before it loads anything heavy.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

ALPHA = 0.05  # two-sided; intervals cover 1 - ALPHA
COVERAGE = f"{1 - ALPHA:.0%}"  # of intervals, in texts
POWER = 0.8  # power of the smallest detectable effect
# Accuracies are counts over one validation set, so seeds can agree exactly, up to rounding in the division.
SAME = 1e-9


@dataclass(frozen=True)
class Interval:
    """Two ends of a 1 - ALPHA interval; if one of several was selected, simultaneous for all (Bonferroni)."""

    low: float
    high: float


ACCURACIES = Interval(0.0, 100.0)  # percent: the bounds of any accuracy


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds. One seed has no standard deviation or interval; exactly equal seeds have no interval."""

    n: int
    mean: float
    std: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Difference:
    """Mean of the second minus mean of the first sample.

    Without a standard deviation (one seed, or seeds that agree exactly) there is no interval, no p-value and no
    minimum detectable effect, since a t test has no scale to compare the difference with.
    """

    mean: float
    paired: bool  # paired by seed; otherwise Welch's test for two samples
    n: tuple[int, int]  # seeds before and after
    interval: Interval | None = None
    p: float | None = None  # two-sided
    min_detectable_effect: float | None = None  # found with POWER at ALPHA, with this n and standard deviation

    def is_significant(self, p: float | None) -> bool:
        """Return True if `p` (`self.p`, or corrected) is below ALPHA and the seeds detect such a difference."""
        least = self.min_detectable_effect
        return p is not None and least is not None and p < ALPHA and abs(self.mean) >= least


@dataclass(frozen=True)
class PooledStd:
    """Pooled standard deviation of runs, if every network is assumed to vary alike."""

    std: float  # after the effects of networks and of seeds are removed
    dof: int


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None if there are no values."""
    return fmean(values) if values else None


def std(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (n - 1); None for fewer than two values."""
    return stdev(values) if len(values) > 1 else None


def estimate(values: Sequence[float], bounds: Interval | None = None) -> Estimate:
    """Return mean, sample standard deviation and t interval, which ends at `bounds`.

    Seeds that agree have no interval.
    """
    n = len(values)
    average = fmean(values)
    if n < 2:
        return Estimate(n, average, None, None)
    own_std = stdev(values)
    if own_std < SAME:
        return Estimate(n, average, own_std, None)
    interval = _interval(average, own_std / math.sqrt(n), n - 1)
    if bounds is not None:
        interval = Interval(max(interval.low, bounds.low), min(interval.high, bounds.high))
    return Estimate(n, average, own_std, interval)


def pool(networks: Sequence[Mapping[int, float]]) -> PooledStd | None:
    """Pool the standard deviation of networks: the residual of a block design with seeds as blocks (Fisher 1935).

    Least squares with an effect of each network and one of each seed; a network may lack seeds that others have.
    None if no degree of freedom remains, as for one network, one seed, or seeds that no two networks share.
    """
    import numpy as np

    if not networks:
        return None
    seeds = sorted({seed for one in networks for seed in one})
    values, blocks = [], []
    for one in networks:  # remove its effect, so that only the few columns of the seeds remain to be solved
        top1 = np.array(list(one.values()))
        own = np.array([[float(seed == other) for other in seeds] for seed in one])
        values.append(top1 - top1.mean())
        blocks.append(own - own.mean(axis=0))
    within, design = np.concatenate(values), np.concatenate(blocks)
    by_seed, _, rank, _ = np.linalg.lstsq(design, within, rcond=None)
    dof = len(within) - len(networks) - int(rank)
    if dof < 1:
        return None
    return PooledStd(float(np.linalg.norm(within - design @ by_seed)) / math.sqrt(dof), dof)


def compare(
    before: Mapping[int, float],
    after: Mapping[int, float],
    pooled_std: PooledStd | None = None,
    alpha: float = ALPHA,
) -> Difference:
    """Return the difference of two sets of results by seed; paired if both have the same seeds, else Welch's.

    `pooled_std` is of further networks too (`pool`); the difference is then over the common seeds. `alpha` is
    below ALPHA if the difference was selected among several.
    """
    common = before.keys() & after.keys()
    if pooled_std is not None and common:
        n = len(common)
        change = fmean(after[seed] - before[seed] for seed in common)
        return _difference(change, pooled_std.std * math.sqrt(2 / n), pooled_std.dof, True, (n, n), alpha)
    if before.keys() == after.keys():
        return _paired([after[seed] - before[seed] for seed in before], alpha)
    return _welch(list(before.values()), list(after.values()), alpha)


def contrast(
    networks: Sequence[Mapping[int, float]], weights: Sequence[float], pooled_std: PooledStd | None = None
) -> Difference | None:
    """Return a weighted sum of networks' results by seed, with weights that sum to 0, over the seeds that all have.

    `pooled_std` is of all networks (`pool`); without it, each seed's sum is an observation. None if no seed is
    in all networks.
    """
    common = set.intersection(*(set(one) for one in networks))
    sums = [sum(weight * one[seed] for weight, one in zip(weights, networks, strict=True)) for seed in common]
    if not sums:
        return None
    if pooled_std is None:
        return _paired(sums)
    n = len(sums)
    error = pooled_std.std * math.sqrt(sum(weight**2 for weight in weights) / n)
    return _difference(fmean(sums), error, pooled_std.dof, paired=True, n=(n, n))


def compare_differences(before: Difference, after: Difference, pooled_std: PooledStd | None) -> Difference:
    """Return how far one paired difference is above another of other networks or settings; they share no run.

    Without a pooled standard deviation there is no interval.
    """
    n = before.n[0], after.n[0]
    change = after.mean - before.mean
    if pooled_std is None:
        return Difference(change, paired=False, n=n)
    error = pooled_std.std * math.sqrt(2 / n[0] + 2 / n[1])
    return _difference(change, error, pooled_std.dof, paired=False, n=n)


def _paired(differences: Sequence[float], alpha: float = ALPHA) -> Difference:
    n = len(differences)
    error = stdev(differences) / math.sqrt(n) if n > 1 else 0.0
    return _difference(fmean(differences), error, n - 1, paired=True, n=(n, n), alpha=alpha)


def _welch(before: Sequence[float], after: Sequence[float], alpha: float) -> Difference:
    """Compare two samples of unequal variance, with Satterthwaite's degrees of freedom."""
    sizes = len(before), len(after)
    change = fmean(after) - fmean(before)
    if min(sizes) < 2:
        return Difference(change, paired=False, n=sizes)
    shares = [variance(values) / len(values) for values in (before, after)]
    total = sum(shares)
    weights = sum(share**2 / (size - 1) for share, size in zip(shares, sizes, strict=True))
    dof = total**2 / weights if weights > 0 else 0.0
    return _difference(change, math.sqrt(total), dof, paired=False, n=sizes, alpha=alpha)


def _difference(
    change: float, error: float, dof: float, paired: bool, n: tuple[int, int], alpha: float = ALPHA
) -> Difference:
    """Return the difference; `error` is the standard error of `change`, in the same unit."""
    if error < SAME:
        return Difference(change, paired, n)
    from scipy.special import stdtr

    p = 2 * float(stdtr(dof, -abs(change) / error))
    min_detectable_effect = error * detectable_noncentrality(dof, alpha)
    return Difference(change, paired, n, _interval(change, error, dof, alpha), p, min_detectable_effect)


def _interval(center: float, error: float, dof: float, alpha: float = ALPHA) -> Interval:
    reach = critical_value(dof, alpha) * error
    return Interval(center - reach, center + reach)


def critical_value(dof: float, alpha: float = ALPHA) -> float:
    """Return the two-sided critical value of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(dof, 1 - alpha / 2))


def detectable_noncentrality(dof: float, alpha: float = ALPHA) -> float:
    """Return the true effect, in standard errors, that a two-sided t test finds with POWER.

    Uses only the tail of the noncentral t distribution on the effect's side: the other adds less than 1e-6.
    """
    from scipy.special import nctdtrinc

    return float(nctdtrinc(dof, 1 - POWER, critical_value(dof, alpha)))


def correct_by_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values (Holm 1979): comparing them with a level controls the error of the whole family.

    None, for a difference that has no test, stays None and does not count.
    """
    tested = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[index] = highest
    return adjusted
