"""Effect of groups of choices: on the path, in the last step, in step 0, and the exact average over all orders.

The average is the Shapley value (1953) of a game of four players whose 16 networks all ran. It is a weighted sum of
their results, so its interval is over seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial

from roadmap.analysis.ablation import AVERAGE, IN_FIRST, IN_LAST, ON_PATH, Results, mark_significant, pool_std
from roadmap.analysis.stats import Difference, compare, contrast
from roadmap.config.steps import ALL, GROUPS, NONE, Network, group_networks, join_groups


@dataclass(frozen=True)
class GroupEffect:
    """Top-1 with a group of choices minus top-1 without it, in points, in four places."""

    group: str
    on_path: Difference  # its last step minus the step before its first
    removed: Difference  # the last step minus the last step without the group
    added: Difference  # step 0 with the group minus step 0
    average: Difference | None  # over all orders of the groups; None if no seed is in all networks


def find_group_effects(results: Results) -> list[GroupEffect]:
    """Return the effects of each group in the order of the sections; none unless every combination has a result."""
    if not all(network in results for network in group_networks()):
        return []
    pooled_std = pool_std(results)
    found, before = [], NONE
    for group in GROUPS:
        own = join_groups([group])
        weights = shapley_weights(group)
        found.append(
            GroupEffect(
                group,
                on_path=compare(results[before], results[before | own], pooled_std),
                removed=compare(results[ALL - own], results[ALL], pooled_std),
                added=compare(results[NONE], results[own], pooled_std),
                average=contrast([results[network] for network in weights], list(weights.values()), pooled_std),
            )
        )
        before |= own
    return found


def shapley_weights(group: str) -> dict[Network, float]:
    """Return each network's signed weight in a group's average: the share of the orders that pass through it."""
    own, n = join_groups([group]), len(GROUPS)
    weights = {}
    for network in group_networks():
        others = sum(join_groups([other]) <= network for other in GROUPS if other != group)
        part = factorial(others) * factorial(n - others - 1) / factorial(n)
        weights[network] = part if own <= network else -part
    return weights


def group_columns(found: Sequence[GroupEffect]) -> dict[str, list[tuple[Difference | None, bool]]]:
    """Return the effects by column, each with True if it is significant, corrected over its column."""
    columns: dict[str, list[Difference | None]] = {
        ON_PATH: [one.on_path for one in found],
        IN_LAST: [one.removed for one in found],
        IN_FIRST: [one.added for one in found],
        AVERAGE: [one.average for one in found],
    }
    return {name: list(zip(column, mark_significant(column), strict=True)) for name, column in columns.items()}
