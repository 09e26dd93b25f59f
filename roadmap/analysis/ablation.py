"""Effect of each choice: on the path, in the last step, in the first, and on average over orders.

An effect is the top-1 with the choice minus the top-1 without it, in points. The value of a network is its mean
top-1 over seeds. The average over orders is Shapley's (1953), estimated from sampled permutations (Castro, Gomez
and Tejada 2009) whose networks all ran. Each permutation is paired with its reverse, which balances choices that
help early and hurt late. Every combination can be built, so none is excluded. An order with a missing result is
not used, and counted.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev

from roadmap.analysis.design import collect, network_of
from roadmap.analysis.results import Row
from roadmap.analysis.stats import Difference, Interval, PooledStd, compare, correct_by_holm, critical_value, pool
from roadmap.config.roadmaps import NONE, Network, Order, Roadmap
from roadmap.config.sweep_networks import networks_along, sample_orders

Results = Mapping[Network, Mapping[int, float]]  # top-1 in percent by seed
MOST_PAIRS = 1000  # of sampled orders to look for
ORDER_SEED = 0  # of the sampled orders; the default of conf/sweep/shapley.yaml
MOST_SEEDS = 1000  # of sampled orders to look for, from 0
FEW_PAIRS = 4  # of a seed's orders that are looked for, since a run of the first may have failed

# Headings of the effects. An effect is always the top-1 with the choice minus the top-1 without it.
ON_PATH, AVERAGE = "on the path", "average over orders"


def end_headings(roadmap: Roadmap) -> tuple[str, str]:
    """Return the headings of the effects in the last and in the first step, such as "in step 12"."""
    return f"in step {len(roadmap.steps) - 1}", "in step 0"


@dataclass(frozen=True)
class Effect:
    """Top-1 with a choice, or a group of them, minus top-1 without it, in points; None if a run is missing."""

    name: str  # the choice's axis, or the group
    on_path: Difference | None  # the step that completes it minus the step before it
    removed: Difference | None  # the last step minus the last step without it
    added: Difference | None  # the first step with it minus the first step
    average: Difference | None = None  # of a group, over all orders; None if no seed is in all networks


@dataclass(frozen=True)
class Average:
    """A choice's mean effect over orders; the interval covers the sampling of orders, not the noise of seeds."""

    axis: str
    orders: int
    mean: float  # points
    interval: Interval | None  # None if all orders were used, or fewer than two pairs of them


def effect_columns(roadmap: Roadmap, effects: Sequence[Effect]) -> dict[str, list[Difference | None]]:
    """Return the effects by the heading of the place where they were measured."""
    in_last, in_first = end_headings(roadmap)
    return {
        ON_PATH: [one.on_path for one in effects],
        in_last: [one.removed for one in effects],
        in_first: [one.added for one in effects],
    }


def results_of(rows: Sequence[Row], best: bool = False) -> dict[Network, dict[int, float]]:
    """Return the results of every network that has one; see `collect`."""
    return collect(rows, network_of, best)


def pool_std(results: Results) -> PooledStd | None:
    """Return the pooled standard deviation of all networks; each alone has too few seeds to estimate its own."""
    return pool(list(results.values()))


def find_effects(roadmap: Roadmap, results: Results, averaged: Collection[str] = ()) -> list[Effect]:
    """Return, in the order of the steps, every choice with a measured effect or an average over orders.

    Intervals use the pooled standard deviation, if the seeds give one.
    """
    pooled_std = pool_std(results)

    def difference(before: Network, after: Network) -> Difference | None:
        if before not in results or after not in results:
            return None
        return compare(results[before], results[after], pooled_std)

    effects, everything = [], roadmap.all_choices
    for index, axis in enumerate(roadmap.axes):
        effect = Effect(
            axis,
            difference(roadmap.path_network(index), roadmap.path_network(index + 1)),
            difference(everything - {axis}, everything),
            difference(NONE, frozenset({axis})),
        )
        if effect.on_path or effect.removed or effect.added or axis in averaged:
            effects.append(effect)
    return effects


def mark_significant(found: Sequence[Difference | None]) -> list[bool]:
    """Return True for each effect of one question that is significant, with p-values corrected over all of them."""
    corrected = correct_by_holm([one.p if one else None for one in found])
    return [one is not None and one.is_significant(p) for one, p in zip(found, corrected, strict=True)]


def finished_orders(roadmap: Roadmap, values: Mapping[Network, float], order_seed: int) -> list[Order]:
    """Return the orders whose networks all have a value, among all that a sweep with this seed can sample.

    None unless an order and its reverse are among them: the path and leave-one-out runs make up other orders.
    """
    if not {NONE, roadmap.all_choices} <= values.keys():  # every order begins and ends there
        return []
    orders = sample_orders(MOST_PAIRS, order_seed, roadmap.axes)
    found = [order for order in orders if all(network in values for network in networks_along(order))]
    return found if any(order[::-1] in found for order in found) else []


def find_order_seeds(roadmap: Roadmap, values: Mapping[Network, float]) -> list[int]:
    """Return the seeds below MOST_SEEDS of which one of the first pairs of orders has values; runs record none."""
    ends = {1, len(roadmap.axes) - 1}
    path = {roadmap.path_network(step) for step in range(len(roadmap.steps))}
    if not any(len(network) not in ends and network not in path for network in values):
        return []  # the usual case: path, leave-one-out and add-one-in

    def is_finished(order: Order) -> bool:
        return all(network in values for one in (order, order[::-1]) for network in networks_along(one))

    return [seed for seed in range(MOST_SEEDS) if any(map(is_finished, first_orders(roadmap, seed)))]


def first_orders(roadmap: Roadmap, seed: int) -> list[Order]:
    """Return the orders that a sweep of FEW_PAIRS samples first, without their reverses."""
    return sample_orders(FEW_PAIRS, seed, roadmap.axes)[::2]


def choose_orders(
    roadmap: Roadmap, values: Mapping[Network, float], order_seed: int | None
) -> tuple[int, list[Order], list[int]]:
    """Return a seed, its finished orders, and the other seeds whose orders have finished too.

    The seed is the given one; or else that of most sweeps, ORDER_SEED, if it has finished orders, or the first that
    has.
    """
    seeds = find_order_seeds(roadmap, values)
    orders = finished_orders(roadmap, values, ORDER_SEED if order_seed is None else order_seed)
    if order_seed is None and not orders and seeds:
        order_seed = seeds[0]
        orders = finished_orders(roadmap, values, order_seed)
    used = set(orders)
    others = [seed for seed in seeds if not used.intersection(first_orders(roadmap, seed))]
    return ORDER_SEED if order_seed is None else order_seed, orders, others


def average_effects(roadmap: Roadmap, values: Mapping[Network, float], orders: Sequence[Order]) -> list[Average]:
    """Average each choice's effect over the orders whose networks all have a value, in pairs (see above)."""
    used = [order for order in orders if all(network in values for network in networks_along(order))]
    if not used:
        return []
    # An order and its reverse are not independent samples: their mean is one sample.
    pairs: dict[Order, list[Order]] = {}
    for order in dict.fromkeys(used):
        pairs.setdefault(min(order, order[::-1]), []).append(order)
    averages, are_all = [], len(set(used)) == math.factorial(len(used[0]))
    for axis in sorted(used[0], key=roadmap.axes.index):
        samples = [fmean(_marginal(values, order, axis) for order in pair) for pair in pairs.values()]
        interval = None if are_all else _sampling_interval(samples)
        averages.append(Average(axis, len(set(used)), fmean(samples), interval))
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


def find_interactions(roadmap: Roadmap, values: Mapping[Network, float]) -> list[tuple[str, str, float, int]]:
    """Return pairs of choices, the gain of both beyond the sum of each alone, in points, and the number of squares.

    A square has a network with neither, with one, with the other and with both. The largest effect comes first.
    """
    found = []
    for one, other in combinations(roadmap.axes, 2):
        squares = [
            values[network | {one, other}] - values[network | {one}] - values[network | {other}] + values[network]
            for network in values
            if not network & {one, other}
            and all(network | added in values for added in ({one}, {other}, {one, other}))
        ]
        if squares:
            found.append((one, other, fmean(squares), len(squares)))
    return sorted(found, key=lambda pair: -abs(pair[2]))
