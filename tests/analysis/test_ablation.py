"""Effects of choices: exact if they are computable exactly."""

from contextlib import suppress
from dataclasses import replace
from itertools import permutations
from math import factorial
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from trial_rows import Write, rows_of

from roadmap.analysis import ablation
from roadmap.analysis.ablation import (
    average_effects,
    choose_orders,
    find_effects,
    find_interactions,
    finished_orders,
    mark_significant,
    pool_std,
    results_of,
)
from roadmap.analysis.ablation_table import effect_notes, effect_summary, find_ablation
from roadmap.analysis.design import network_of
from roadmap.analysis.group_effects import find_group_effects
from roadmap.analysis.stats import Difference, critical_value
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.roadmaps import NONE, Network, Roadmap
from roadmap.config.sweep_networks import (
    group_networks,
    join_groups,
    networks_along,
    networks_needed,
    sample_orders,
)

CONVNEXT = load_roadmap()
AXES, GROUPS, STEPS = CONVNEXT.axes, CONVNEXT.groups, CONVNEXT.steps
ALL = CONVNEXT.all_choices

FOUR = AXES[:4]


@pytest.fixture
def bag() -> Roadmap:
    return load_roadmap("bag_of_tricks")


def test_groups_are_every_choice_once_in_the_order_of_the_steps() -> None:
    assert tuple(axis for axes in GROUPS.values() for axis in axes) == AXES
    networks = group_networks(CONVNEXT)
    assert (len(set(networks)), networks[0], networks[-1]) == (16, NONE, ALL)


def subsets(axes: tuple[str, ...]) -> list[Network]:
    return [
        frozenset(axis for bit, axis in enumerate(axes) if number >> bit & 1) for number in range(2 ** len(axes))
    ]


def exact_shapley(values: dict[Network, float], axes: tuple[str, ...], axis: str) -> float:
    """Compute the definition: over all sets without the choice, weighted by the number of orders through them."""
    n = len(axes)
    return sum(
        factorial(len(network))
        * factorial(n - len(network) - 1)
        / factorial(n)
        * (values[network | {axis}] - values[network])
        for network in subsets(axes)
        if axis not in network
    )


def test_the_average_of_a_group_is_shapleys_value_with_the_error_of_its_seeds() -> None:
    """Compared with the definition, and with the intervals of 200 simulated experiments."""
    generator = np.random.default_rng(0)
    networks = group_networks(CONVNEXT)
    truth = {network: float(generator.normal(80, 3)) for network in networks}
    names = tuple(GROUPS)
    game = {
        frozenset(name for name in names if set(GROUPS[name]) <= network): value for network, value in truth.items()
    }
    expected = [exact_shapley(game, names, name) for name in names]
    quiet = find_group_effects(CONVNEXT, {network: {0: value} for network, value in truth.items()})
    assert [one.average.mean for one in quiet if one.average] == pytest.approx(expected)
    assert sum(expected) == pytest.approx(truth[ALL] - truth[NONE])
    assert quiet[0].on_path.mean == pytest.approx(truth[CONVNEXT.path_network(2)] - truth[NONE])
    covered = []
    for _ in range(200):
        noisy = {n: {seed: value + generator.normal(0, 0.5) for seed in range(2)} for n, value in truth.items()}
        for one, true in zip(find_group_effects(CONVNEXT, noisy), expected, strict=True):
            assert one.average is not None
            assert one.average.interval is not None
            covered.append(one.average.interval.low <= true <= one.average.interval.high)
    assert 0.93 < fmean(covered) < 0.97
    del truth[ALL - set(GROUPS["macro"])]
    assert find_group_effects(CONVNEXT, {network: {0: value} for network, value in truth.items()}) == []


def test_a_group_without_a_choice_is_none(bag: Roadmap) -> None:
    """Exactly additive effects are each group's average, whatever the sections are called."""
    first, *others = bag.sections
    named = replace(bag, sections=(replace(first, group="baseline"), *others))
    assert named.groups == bag.groups
    values = {frozenset(): 70.0, frozenset({"network"}): 74.0, frozenset({"training"}): 72.0}
    values[frozenset(bag.groups)] = 76.0
    results = {join_groups(named, groups): {0: value} for groups, value in values.items()}
    averages = {one.name: one.average.mean for one in find_group_effects(named, results) if one.average}
    assert averages == pytest.approx({"network": 4.0, "training": 2.0})


def test_choices_of_no_group_are_made_in_no_network_of_the_groups(bag: Roadmap) -> None:
    """So the groups are measured in step 0 and on average, and only the first of them on the path."""
    network, training = (section for section in bag.sections if section.group)
    parts = (replace(training, steps=training.steps[:1]), replace(training, steps=training.steps[1:], group=None))
    partly = replace(bag, sections=(bag.sections[0], network, *parts))
    assert partly.ungrouped == bag.groups["training"][1:]
    results = {one: {0: 70.0 + place} for place, one in enumerate(group_networks(partly))}
    found = find_group_effects(partly, results)
    means = [[one and one.mean for one in (group.on_path, group.removed, group.added)] for group in found]
    assert means == [[1.0, None, 1.0], [2.0, None, 2.0]]
    assert [one.average.mean for one in found if one.average] == pytest.approx([1.0, 2.0])
    interleaved = replace(bag, sections=(bag.sections[0], parts[0], network, replace(parts[1], group="training")))
    results = {one: {0: 70.0} for one in group_networks(interleaved)}
    assert [one.on_path for one in find_group_effects(interleaved, results)] == [None, None]


@pytest.fixture
def game() -> dict[Network, float]:
    generator = np.random.default_rng(0)
    return {network: float(generator.normal(80, 1)) for network in subsets(FOUR)}


def test_the_average_over_all_orders_is_shapleys_value(game: dict[Network, float]) -> None:
    averages = average_effects(CONVNEXT, game, list(permutations(FOUR)))
    assert [average.axis for average in averages] == list(FOUR)
    for average in averages:
        assert (average.orders, average.interval) == (24, None)
        assert average.mean == pytest.approx(exact_shapley(game, FOUR, average.axis))
    assert sum(average.mean for average in averages) == pytest.approx(game[frozenset(FOUR)] - game[NONE])


def test_sampled_orders_come_close_and_their_intervals_cover(game: dict[Network, float]) -> None:
    hits = []
    for seed in range(200):
        for average in average_effects(CONVNEXT, game, sample_orders(6, seed, FOUR)):
            assert average.interval is not None
            truth = exact_shapley(game, FOUR, average.axis)
            hits.append(average.interval.low <= truth <= average.interval.high)
    assert fmean(hits) > 0.9  # sometimes too wide, since 6 of 12 pairs of orders are many in a finite game


def test_an_order_that_lacks_a_network_is_not_used(game: dict[Network, float]) -> None:
    orders = sample_orders(2, 0, FOUR)
    del game[networks_along(orders[0])[2]]
    used = [order for order in orders if all(network in game for network in networks_along(order))]
    assert len(used) < 4
    assert average_effects(CONVNEXT, game, orders)[0].orders == len(used)
    assert average_effects(CONVNEXT, {}, orders) == []


def test_interactions_are_what_both_bring_beyond_each() -> None:
    values = {network: 80.0 + len(network) + 3.0 * ({"stem", "conv"} <= network) for network in subsets(FOUR)}
    one, other, points, squares = find_interactions(CONVNEXT, values)[0]
    assert {one, other} == {"stem", "conv"}
    assert (points, squares) == (pytest.approx(3.0), 4)
    assert all(pair[2] == pytest.approx(0) for pair in find_interactions(CONVNEXT, values)[1:])


def test_all_orders_of_a_sweep_are_found_however_many_it_has() -> None:
    orders = sample_orders(3, 5, AXES)
    values = dict.fromkeys(networks_needed(orders, AXES), 80.0)
    assert finished_orders(CONVNEXT, values, 5) == orders
    assert finished_orders(CONVNEXT, values, 6) == []
    del values[ALL]
    assert finished_orders(CONVNEXT, values, 5) == []


@pytest.fixture
def _few_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for few order seeds, which takes less time."""
    monkeypatch.setattr(ablation, "MOST_SEEDS", 20)


@pytest.mark.usefixtures("_few_seeds")
def test_the_order_seed_of_a_sweep_is_found_from_its_networks() -> None:
    values = {network: 80.0 + len(network) for network in networks_needed(sample_orders(3, 5, AXES), AXES)}
    assert choose_orders(CONVNEXT, values, None) == (5, sample_orders(3, 5, AXES), [])
    failed = sample_orders(3, 5, AXES)[0][:6]
    some = {network: value for network, value in values.items() if network != frozenset(failed)}
    assert choose_orders(CONVNEXT, some, None) == (5, sample_orders(3, 5, AXES)[1:], [])
    values |= dict.fromkeys(networks_needed(sample_orders(2, 9, AXES), AXES), 80.0)
    assert choose_orders(CONVNEXT, values, None) == (5, sample_orders(3, 5, AXES), [9])
    assert choose_orders(CONVNEXT, values, 9) == (9, sample_orders(2, 9, AXES), [5])
    assert choose_orders(CONVNEXT, values, 1) == (1, [], [5, 9])
    values |= dict.fromkeys(networks_needed(sample_orders(1, 0, AXES), AXES), 80.0)
    assert choose_orders(CONVNEXT, values, None) == (0, sample_orders(1, 0, AXES), [5, 9])
    plain = dict.fromkeys(
        [NONE, ALL, *(ALL - {axis} for axis in AXES), *(frozenset({axis}) for axis in AXES)], 80.0
    )
    assert choose_orders(CONVNEXT, plain, None) == (0, [], [])


@pytest.mark.usefixtures("_few_seeds")
def test_the_table_has_the_averages_of_another_order_seed_and_names_those_that_it_lacks(
    tmp_path: Path, write_run: Write
) -> None:
    def write(pairs: int, order_seed: int) -> None:
        for network in networks_needed(sample_orders(pairs, order_seed, AXES), AXES):
            step, *changed = CONVNEXT.name_of(CONVNEXT.design_of(network)).split(",")
            variant = dict(word.split("=") for word in changed)
            with suppress(FileExistsError):
                write_run(step, 0, 70.0 + len(network), variant=variant)

    write(1, 3)
    found = find_ablation(rows_of(tmp_path))
    assert {one.mean for one in found.averages.values()} == {1.0}  # each choice adds a point
    assert "Average over 2 orders of sweep.order_seed=3: it has no interval." in effect_notes(found)
    assert "Average over 2 orders of sweep.order_seed=3." in effect_summary(found)
    write(2, 8)
    notes = effect_notes(find_ablation(rows_of(tmp_path)))
    other = "Orders of sweep.order_seed=8 have finished too; "
    assert any(note.startswith(other) and "attribute" in note and "--order-seed 8" in note for note in notes)
    chosen = find_ablation(rows_of(tmp_path), order_seed=4)
    assert not chosen.averages
    assert "No order of sweep.order_seed=4 has finished together with its reverse." in effect_summary(chosen)


def test_effects_are_found_in_steps_and_variants(tmp_path: Path, write_run: Write) -> None:
    for seed in range(2):
        write_run("step0_resnet", seed, 80.0 + seed)
        write_run("step1_stage_ratio", seed, 81.0 + seed)
        write_run("step0_resnet", seed, 79.5 + seed, variant={"norm": "layernorm"})
        write_run("step11_layernorm", seed, 85.0 + seed)
        write_run("step12_downsample", seed, 86.0 + seed)
        write_run("step12_downsample", seed, 84.0 + 1.5 * seed, variant={"norm": "batchnorm"})
    write_run("step7_kernel", 0, 99.0, variant={"kernel_size": "9"})  # neither the axis's start nor its end
    write_run("step13_mine", 0, 99.0)
    rows = rows_of(tmp_path)
    results = results_of(rows)
    assert len(results) == 6
    effects = {effect.name: effect for effect in find_effects(CONVNEXT, results)}
    assert set(effects) == {"stage_ratio", "norm", "downsample"}
    means = {
        axis: [found.mean if found else None for found in (effect.on_path, effect.removed, effect.added)]
        for axis, effect in effects.items()
    }
    assert means["stage_ratio"] == [1.0, None, 1.0]
    assert means["norm"] == [None, pytest.approx(1.75), -0.5]
    assert means["downsample"] == [1.0, 1.0, None]
    assert CONVNEXT.path_network(12) == ALL
    spread = pool_std(results)
    assert spread is not None
    assert spread.dof == 5  # six networks with two seeds each
    reaches = {
        round(found.interval.high - found.mean, 9)
        for effect in effects.values()
        for found in (effect.on_path, effect.removed, effect.added)
        if found and found.interval
    }
    assert reaches == {round(critical_value(5) * spread.std, 9)}  # two seeds: sqrt(2 / n) is 1
    assert [network_of(row) for row in rows if row.step == "step13_mine"] == [None]


def test_a_run_of_another_recipe_does_not_hide_the_roadmap(tmp_path: Path, write_run: Write) -> None:
    """Not even if its name sorts first; it is counted as unused, like a row beside the roadmap."""
    for index, step in enumerate(STEPS):
        for seed in range(2):
            write_run(step, seed, 80.0 + index + 0.1 * seed)
    alone = find_ablation(rows_of(tmp_path))
    write_run("step0_resnet", 7, 50.0, recipe="aaa")
    write_run("step13_mine", 0, 99.0)
    ablation = find_ablation(rows_of(tmp_path))
    assert len(ablation.effects) == len(AXES)
    assert (ablation.results, ablation.effects) == (alone.results, alone.effects)
    assert (alone.unused, ablation.unused, ablation.elsewhere) == (0, 2, 1)
    assert effect_notes(ablation)[-2:] == [
        "1 row is no combination of the roadmap's choices and is not used.",
        "1 row is of another regime, data set or recipe than most and is not used.",
    ]


def test_of_two_recipes_with_as_many_rows_the_first_counts(tmp_path: Path, write_run: Write) -> None:
    write_run("step0_resnet", 0, 70.0, recipe="bbb")
    write_run("step0_resnet", 1, 60.0, recipe="aaa")
    assert find_ablation(rows_of(tmp_path)).results == {NONE: {1: 60.0}}


def test_p_values_are_corrected_over_a_column() -> None:
    """R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03, 0.06, 0.06, 0.02."""
    p_values = [0.01, 0.04, None, 0.03, 0.005]
    found = [None if p is None else Difference(1.0, True, (3, 3), p=p, min_detectable_effect=0.9) for p in p_values]
    assert mark_significant(found) == [True, False, False, False, True]
    small = [None if one is None else replace(one, min_detectable_effect=1.1) for one in found]
    assert not any(mark_significant(small))
    assert mark_significant([Difference(1.0, False, (1, 1))]) == [False]


def test_a_choice_with_an_average_alone_is_listed() -> None:
    """A sweep along two orders rarely contains a network with one choice added or one reverted."""
    networks = networks_needed(sample_orders(1, 0, AXES), AXES)
    results = {network: {0: float(len(network))} for network in networks}
    averages = average_effects(
        CONVNEXT, {network: seeds[0] for network, seeds in results.items()}, sample_orders(1, 0, AXES)
    )
    assert len(find_effects(CONVNEXT, results)) < len(AXES)
    assert [effect.name for effect in find_effects(CONVNEXT, results, {one.axis for one in averages})] == list(AXES)
