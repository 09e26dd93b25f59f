"""Effect of groups of choices: on the path, in the last step, in the first, and the exact average over all orders.

The average is the Shapley value (1953) of a game of the groups, whose combinations all ran. It is a weighted sum of
their results, so its interval is over seeds.
"""

from math import factorial

from roadmap.analysis.ablation import Effect, Results, pool_std
from roadmap.analysis.stats import Difference, compare, contrast
from roadmap.config.roadmaps import NONE, Network, Roadmap
from roadmap.config.sweep_networks import group_networks, join_groups


def find_group_effects(roadmap: Roadmap, results: Results) -> list[Effect]:
    """Return the effects of each group in the order of the sections; none unless every combination has a result.

    None is in the last step if it makes a choice of no group, and none on the path if the path does not make the
    group's choices one after another.
    """
    if len(roadmap.groups) < 2 or not all(network in results for network in group_networks(roadmap)):
        return []
    pooled_std = pool_std(results)
    everything = join_groups(roadmap, roadmap.groups)
    path = {roadmap.path_network(step) for step in range(len(roadmap.steps))}

    def difference(before: Network, after: Network, is_measured: bool = True) -> Difference | None:
        return compare(results[before], results[after], pooled_std) if is_measured else None

    found, before = [], NONE
    for group in roadmap.groups:
        own = join_groups(roadmap, [group])
        weights = shapley_weights(roadmap, group)
        found.append(
            Effect(
                group,
                on_path=difference(before, before | own, {before, before | own} <= path),
                removed=difference(everything - own, everything, everything == roadmap.all_choices),
                added=difference(NONE, own),
                average=contrast([results[network] for network in weights], list(weights.values()), pooled_std),
            )
        )
        before |= own
    return found


def shapley_weights(roadmap: Roadmap, group: str) -> dict[Network, float]:
    """Return each network's signed weight in a group's average: the share of the orders that pass through it."""
    own, n = join_groups(roadmap, [group]), len(roadmap.groups)
    weights = {}
    for network in group_networks(roadmap):
        others = sum(join_groups(roadmap, [other]) <= network for other in roadmap.groups if other != group)
        part = factorial(others) * factorial(n - others - 1) / factorial(n)
        weights[network] = part if own <= network else -part
    return weights
