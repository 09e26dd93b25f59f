"""What a few seeds allow one to say: means and differences with intervals, p-values and their limits.

Plain numbers in, plain numbers out; which runs they come from is the business of `changes`. Student's and the
noncentral t distribution are scipy's, imported where they are used: train.py, which prints the table of a sweep,
answers a mistyped command before it loads anything heavy.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

ALPHA = 0.05  # two-sided; intervals cover 1 - ALPHA
POWER = 0.8  # with which the smallest detectable effect is detected
# Accuracies are counts over one validation set: seeds can agree exactly, but for rounding in the division.
SAME = 1e-9


@dataclass(frozen=True)
class Interval:
    """Two ends, of 1 - ALPHA; where one of several was picked, of all of them at once (Bonferroni)."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds. One seed has neither deviation nor interval; seeds that agree exactly have no interval."""

    n: int
    mean: float
    deviation: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Difference:
    """A mean less another; positive where the second is larger.

    Without a spread (one seed, or seeds that agree exactly) there is no interval, no p-value and no
    smallest effect: a t test has nothing to set the difference against.
    """

    mean: float
    paired: bool  # by seed; otherwise Welch's test for two samples
    n: tuple[int, int]  # seeds before and after
    interval: Interval | None = None
    p: float | None = None  # two-sided
    smallest: float | None = None  # effect that is found with POWER at ALPHA, given this n and this spread


@dataclass(frozen=True)
class Spread:
    """How far runs of one network lie apart, where every network is taken to vary alike."""

    deviation: float  # once the levels of networks and of seeds are taken out
    freedom: int


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, sample deviation and the t interval, which takes a spread."""
    n = len(values)
    average = fmean(values)
    if n < 2:
        return Estimate(n, average, None, None)
    spread = stdev(values)
    interval = None if spread < SAME else _interval(average, spread / math.sqrt(n), n - 1)
    return Estimate(n, average, spread, interval)


def pool(networks: Sequence[Mapping[int, float]]) -> Spread | None:
    """The spread that networks share: the residual of a block design with seeds as blocks (Fisher 1935).

    Least squares with a level for each network and one for each seed; a network may lack seeds that others have.
    None where that leaves no degree of freedom, as of one network, one seed, or seeds that no two networks share.
    """
    import numpy as np

    if not networks:
        return None
    seeds = sorted({seed for one in networks for seed in one})
    values, blocks = [], []
    for one in networks:  # its level is taken out, which leaves the few columns of the seeds to solve for
        top1 = np.array(list(one.values()))
        own = np.array([[float(seed == other) for other in seeds] for seed in one])
        values.append(top1 - top1.mean())
        blocks.append(own - own.mean(axis=0))
    within, design = np.concatenate(values), np.concatenate(blocks)
    by_seed, _, rank, _ = np.linalg.lstsq(design, within, rcond=None)
    freedom = len(within) - len(networks) - int(rank)
    if freedom < 1:
        return None
    return Spread(float(np.linalg.norm(within - design @ by_seed)) / math.sqrt(freedom), freedom)


def compare(
    before: Mapping[int, float], after: Mapping[int, float], spread: Spread | None = None, alpha: float = ALPHA
) -> Difference:
    """The difference of two sets of results by seed; paired where both have the same seeds, else Welch's.

    `spread` is one that both share with other networks (`pool`): then it is of the seeds that both have. `alpha` is
    below ALPHA where the difference was picked among several.
    """
    common = before.keys() & after.keys()
    if spread is not None and common:
        n = len(common)
        change = fmean(after[seed] - before[seed] for seed in common)
        return _difference(change, spread.deviation * math.sqrt(2 / n), spread.freedom, True, (n, n), alpha)
    if before.keys() == after.keys():
        return _paired([after[seed] - before[seed] for seed in before], alpha)
    return _welch(list(before.values()), list(after.values()), alpha)


def contrast(
    networks: Sequence[Mapping[int, float]], weights: Sequence[float], spread: Spread | None = None
) -> Difference | None:
    """A weighted sum of networks' results by seed, with weights that add up to 0, over the seeds that all have.

    `spread` is one that all networks share (`pool`); without it, each seed's sum is an observation. None where no
    seed is in all.
    """
    common = set.intersection(*(set(one) for one in networks))
    sums = [sum(weight * one[seed] for weight, one in zip(weights, networks, strict=True)) for seed in common]
    if not sums:
        return None
    if spread is None:
        return _paired(sums)
    n = len(sums)
    error = spread.deviation * math.sqrt(sum(weight**2 for weight in weights) / n)
    return _difference(fmean(sums), error, spread.freedom, paired=True, n=(n, n))


def _paired(differences: Sequence[float], alpha: float = ALPHA) -> Difference:
    n = len(differences)
    return _difference(
        fmean(differences),
        stdev(differences) / math.sqrt(n) if n > 1 else 0.0,
        n - 1,
        paired=True,
        n=(n, n),
        alpha=alpha,
    )


def _welch(before: Sequence[float], after: Sequence[float], alpha: float) -> Difference:
    """Two samples of unequal variance, with Satterthwaite's degrees of freedom."""
    sizes = len(before), len(after)
    change = fmean(after) - fmean(before)
    if min(sizes) < 2:
        return Difference(change, paired=False, n=sizes)
    shares = [variance(values) / len(values) for values in (before, after)]
    total = sum(shares)
    weights = sum(share**2 / (size - 1) for share, size in zip(shares, sizes, strict=True))
    freedom = total**2 / weights if weights > 0 else 0.0
    return _difference(change, math.sqrt(total), freedom, paired=False, n=sizes, alpha=alpha)


def _difference(
    change: float, error: float, freedom: float, paired: bool, n: tuple[int, int], alpha: float = ALPHA
) -> Difference:
    """`error` is the standard error of `change`, in its unit."""
    if error < SAME:
        return Difference(change, paired, n)
    p = 2 * _lower_tail(freedom, -abs(change) / error)
    smallest = error * detectable_noncentrality(freedom, alpha)
    return Difference(change, paired, n, _interval(change, error, freedom, alpha), p, smallest)


def _interval(center: float, error: float, freedom: float, alpha: float = ALPHA) -> Interval:
    reach = critical_value(freedom, alpha) * error
    return Interval(center - reach, center + reach)


def _lower_tail(freedom: float, t: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(freedom, t))


def critical_value(freedom: float, alpha: float = ALPHA) -> float:
    """Of Student's t, two-sided."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - alpha / 2))


def detectable_noncentrality(freedom: float, alpha: float = ALPHA) -> float:
    """True effect, in standard errors, that a two-sided t test finds with POWER.

    Of the noncentral t distribution only the tail on the effect's side: the other adds less than 1e-6.
    """
    from scipy.special import nctdtrinc

    return float(nctdtrinc(freedom, 1 - POWER, critical_value(freedom, alpha)))


def correct_by_holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979): below a level, they hold it for the whole family at once."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
