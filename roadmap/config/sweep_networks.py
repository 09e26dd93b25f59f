"""Networks that sweeps combine from the choices of a roadmap.

A network, like its folder, is named by the nearest step and by what differs from it. So ConvNeXt's last step with
`downsample` reverted is step 11, step 0 with `stage_ratio` added is step 1, and sweeps share their runs.
"""

import random
from collections.abc import Iterable, Sequence
from itertools import combinations, product

from roadmap.config.roadmaps import NONE, Design, Network, Order, Roadmap


def leave_one_out(roadmap: Roadmap, axes: Sequence[str] | None = None) -> list[Network]:
    """Return the last step, and the last step with each choice reverted."""
    everything = roadmap.all_choices
    return [everything, *(everything - {axis} for axis in axes or roadmap.axes)]


def add_one_in(roadmap: Roadmap, axes: Sequence[str] | None = None) -> list[Network]:
    """Return the first step, and the first step with each single choice added."""
    return [NONE, *(frozenset({axis}) for axis in axes or roadmap.axes)]


def join_groups(roadmap: Roadmap, groups: Iterable[str]) -> Network:
    return frozenset(axis for group in groups for axis in roadmap.groups[group])


def group_networks(roadmap: Roadmap) -> list[Network]:
    """Return every combination of a roadmap's groups, smallest first."""
    groups = roadmap.groups
    return [join_groups(roadmap, some) for size in range(len(groups) + 1) for some in combinations(groups, size)]


def factorial(roadmap: Roadmap, step: str, axes: Sequence[str]) -> list[Design]:
    """Return a step with every combination of some axes' values; the last axis varies fastest."""
    base = roadmap.design_of(roadmap.path_network(roadmap.steps.index(step)))
    return [base | dict(zip(axes, levels, strict=True)) for levels in product(*map(roadmap.levels_of, axes))]


def sample_orders(pairs: int, seed: int, axes: Sequence[str]) -> list[Order]:
    """Draw random orders of the choices, each followed by its reverse; deterministic in the seed.

    A larger number of pairs starts with the orders of a smaller one.
    """
    generator = random.Random(seed)
    orders: list[Order] = []
    for _ in range(pairs):
        order = tuple(generator.sample(list(axes), len(axes)))
        orders += [order, order[::-1]]
    return orders


def networks_along(order: Order) -> list[Network]:
    """Return the networks from no choice to all choices of the order."""
    return [frozenset(order[:length]) for length in range(len(order) + 1)]


def networks_needed(orders: Sequence[Order], axes: Sequence[str]) -> list[Network]:
    """Return the distinct networks of some orders, smallest first."""
    found = {network: None for order in orders for network in networks_along(order)}
    return sorted(found, key=lambda network: (len(network), [axis not in network for axis in axes]))
