"""What each choice is worth: on the paper's path, taken back from the last step, added to the first, on average.

The value of a network is its mean top-1 over seeds. The average over orders is Shapley's (1953), estimated from
sampled permutations (Castro, Gomez and Tejada 2009) of which every network ran; each is taken with its reverse,
which evens out choices that help early and hurt late. Every combination builds, so none is left out; an
order of which a network has no result is not used, and counted.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev

from roadmap.analysis.choices import collect, network_of
from roadmap.analysis.results import Row
from roadmap.analysis.statistics import (
    ALPHA,
    Difference,
    Interval,
    Spread,
    compare,
    correct_by_holm,
    critical_value,
    pool,
)
from roadmap.choices import ALL, AXES, NONE, Network, Order, networks_along, path_network, sample_orders

Results = Mapping[Network, Mapping[int, float]]  # top-1 in percent by seed
MOST_PAIRS = 1000  # of sampled orders that are looked for


@dataclass(frozen=True)
class Effect:
    """Points of top-1 that one choice brings, by four questions; None where a run that answers is missing."""

    axis: str
    on_path: Difference | None  # the step that makes it, against the step before
    taken_back: Difference | None  # the last step, against the last step without it
    added: Difference | None  # step 0 with it, against step 0


@dataclass(frozen=True)
class Average:
    """A choice's mean effect over orders; the interval covers the sampling of orders, not the noise of seeds."""

    axis: str
    orders: int
    mean: float  # points
    interval: Interval | None  # None for every order, or for fewer than two pairs of them


def results_of(rows: Sequence[Row], best: bool = False) -> dict[Network, dict[int, float]]:
    """Every network that has a result; see `collect`."""
    return collect(rows, network_of, best)


def share_spread(results: Results) -> Spread | None:
    """The spread that all networks are taken to share; each alone has too few seeds to say much of its own."""
    return pool(list(results.values()))


def find_effects(results: Results, averaged: Collection[str] = ()) -> list[Effect]:
    """Every choice that any run answers for, or that has an average over orders, in the order of the steps.

    Intervals are of the spread that all networks share, if the seeds tell of one.
    """
    spread = share_spread(results)

    def difference(before: Network, after: Network) -> Difference | None:
        if before not in results or after not in results:
            return None
        return compare(results[before], results[after], spread)

    effects = []
    for index, axis in enumerate(AXES):
        effect = Effect(
            axis,
            difference(path_network(index), path_network(index + 1)),
            difference(ALL - {axis}, ALL),
            difference(NONE, frozenset({axis})),
        )
        if effect.on_path or effect.taken_back or effect.added or axis in averaged:
            effects.append(effect)
    return effects


def decide(found: Sequence[Difference | None]) -> list[bool]:
    """Which of the effects that answer one question are decided, their p-values corrected over all of them."""
    p_values = {place: one.p for place, one in enumerate(found) if one is not None and one.p is not None}
    corrected = dict(zip(p_values, correct_by_holm(list(p_values.values())), strict=True))
    return [
        one is not None and one.smallest is not None and corrected[place] < ALPHA and abs(one.mean) >= one.smallest
        for place, one in enumerate(found)
    ]


def finished_orders(values: Mapping[Network, float], order_seed: int) -> list[Order]:
    """Of the orders that a sweep with this seed samples, however many, those of which every network has a value."""
    if not {NONE, ALL} <= values.keys():  # where every order begins and ends
        return []
    orders = sample_orders(MOST_PAIRS, order_seed)
    return [order for order in orders if all(network in values for network in networks_along(order))]


def average_effects(values: Mapping[Network, float], orders: Sequence[Order]) -> list[Average]:
    """Each choice's effect over the orders of which every network has a value; orders come in pairs (see above)."""
    used = [order for order in orders if all(network in values for network in networks_along(order))]
    if not used:
        return []
    # An order and its reverse are no two samples: their mean is one.
    pairs: dict[Order, list[Order]] = {}
    for order in dict.fromkeys(used):
        pairs.setdefault(min(order, order[::-1]), []).append(order)
    averages = []
    for axis in sorted(used[0], key=AXES.index):
        samples = [fmean(_marginal(values, order, axis) for order in pair) for pair in pairs.values()]
        averages.append(Average(axis, len(set(used)), fmean(samples), _sampling_interval(samples)))
    return averages


def _marginal(values: Mapping[Network, float], order: Order, axis: str) -> float:
    before = frozenset(order[: order.index(axis)])
    return values[before | {axis}] - values[before]


def _sampling_interval(samples: Sequence[float]) -> Interval | None:
    n = len(samples)
    if n < 2:
        return None
    reach = critical_value(n - 1) * stdev(samples) / math.sqrt(n)
    return Interval(fmean(samples) - reach, fmean(samples) + reach)


def find_interactions(values: Mapping[Network, float]) -> list[tuple[str, str, float, int]]:
    """Pairs of choices by how much more both bring than each alone, in points, and over how many squares of runs.

    A square is a network with neither, with one, with the other and with both; the largest effect comes first.
    """
    found = []
    for one, other in combinations(AXES, 2):
        squares = [
            values[network | {one, other}] - values[network | {one}] - values[network | {other}] + values[network]
            for network in values
            if not network & {one, other}
            and all(network | added in values for added in ({one}, {other}, {one, other}))
        ]
        if squares:
            found.append((one, other, fmean(squares), len(squares)))
    return sorted(found, key=lambda pair: -abs(pair[2]))
