"""A factorial's means and intervals equal those of least squares and of a paired t test on the same numbers."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel
from trial_rows import Write, rows_of

from roadmap.analysis.factorial import Grid, find_axis_interactions, find_main_effects, read_grid
from roadmap.analysis.report.ablation_chart import factorial_chart
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.sweep_networks import factorial
from roadmap.errors import RunError

CONVNEXT = load_roadmap()

AXES = ("kernel_size", "norm", "downsample")
STEP = "step12_downsample"
SEEDS = 3


@pytest.fixture
def grid(tmp_path: Path, write_run: Write) -> Grid:
    """A factorial of 20 networks with random results, each under the name that a sweep gives it."""
    generator = np.random.default_rng(0)
    for design in factorial(CONVNEXT, STEP, AXES):
        step, *switched = CONVNEXT.name_of(design).split(",")
        variant = dict(word.split("=") for word in switched)
        for seed in range(SEEDS):
            write_run(step, seed, float(generator.normal(90, 1)), variant=variant)
    write_run("step0_resnet", 7, 10.0)  # not part of it
    return read_grid(rows_of(tmp_path), AXES, STEP)


def dummies(grid: Grid, pair: tuple[str, str] | None = None) -> tuple[list[str], np.ndarray]:
    """Return names and columns of a linear model: ResNet's choices and seed 0 are the base; `pair` interact."""
    names = [f"{axis}={level}" for axis in AXES for level in CONVNEXT.levels_of(axis)[1:]]
    columns = []
    for cell, seed in grid.top1:
        made = {f"{axis}={level}" for axis, level in zip(AXES, cell, strict=True)}
        products = [
            float({one, other} <= made)
            for one in names
            for other in names
            if pair and (one.split("=")[0], other.split("=")[0]) == pair
        ]
        seeds = [float(seed == number) for number in range(1, SEEDS)]
        columns.append([1.0, *(float(name in made) for name in names), *seeds, *products])
    return names, np.array(columns)


def test_main_effects_are_those_of_least_squares(grid: Grid) -> None:
    names, columns = dummies(grid)
    fitted = np.linalg.lstsq(columns, np.array(list(grid.top1.values())), rcond=None)[0]
    effects = {f"{one.axis}={one.level}": one.effect for one in find_main_effects(grid) if one.effect}
    assert list(effects) == names
    assert [one.mean for one in effects.values()] == pytest.approx(fitted[1 : 1 + len(names)])


def test_intervals_are_those_of_a_paired_t_test(grid: Grid) -> None:
    for one in find_main_effects(grid):
        place = AXES.index(one.axis)
        start = CONVNEXT.levels_of(one.axis)[0]
        own = {key: value for key, value in grid.top1.items() if key[0][place] == one.level}
        assert one.top1 == pytest.approx(np.mean(list(own.values())))
        if one.effect is None:
            assert one.level == start
            continue
        base = [grid.top1[(*cell[:place], start, *cell[place + 1 :]), seed] for cell, seed in own]
        expected = ttest_rel(list(own.values()), base)
        low, high = expected.confidence_interval(0.95)
        assert one.effect.interval is not None
        assert (one.effect.interval.low, one.effect.interval.high) == pytest.approx((low, high))
        assert (one.effect.p, one.effect.n) == (pytest.approx(expected.pvalue), (len(base), len(base)))


def test_interactions_are_the_largest_of_least_squares(grid: Grid) -> None:
    found = {tuple(word.split("=")[0] for word in one.choices): one.effect for one in find_axis_interactions(grid)}
    assert set(found) == {("kernel_size", "norm"), ("kernel_size", "downsample"), ("norm", "downsample")}
    for pair, effect in found.items():
        names, columns = dummies(grid, (pair[0], pair[1]))
        fitted = np.linalg.lstsq(columns, np.array(list(grid.top1.values())), rcond=None)[0]
        products = fitted[len(names) + SEEDS :]
        assert effect.mean == pytest.approx(products[np.argmax(np.abs(products))])
    sizes = [abs(effect.mean) for effect in found.values()]
    assert sizes == sorted(sizes, reverse=True)


def test_the_interval_of_an_interaction_is_over_its_squares(grid: Grid) -> None:
    effect = next(one.effect for one in find_axis_interactions(grid) if one.choices[0] == "norm=layernorm")
    squares = [
        grid.top1[(kernel, "layernorm", "separate"), seed]
        - grid.top1[(kernel, "layernorm", "block"), seed]
        - grid.top1[(kernel, "batchnorm", "separate"), seed]
        + grid.top1[(kernel, "batchnorm", "block"), seed]
        for kernel in CONVNEXT.levels_of("kernel_size")
        for seed in range(SEEDS)
    ]
    low, high = ttest_1samp(squares, 0.0).confidence_interval(0.95)
    assert effect.interval is not None
    assert (effect.interval.low, effect.interval.high) == pytest.approx((low, high))


def test_the_interval_of_the_largest_interaction_covers_zero_where_there_is_none() -> None:
    """In 95 of 100 experiments with three seeds, though it is the largest of four; uncorrected, in 89."""
    generator = np.random.default_rng(0)
    axes = ("kernel_size", "norm")
    cells = [(kernel, norm) for kernel in CONVNEXT.levels_of("kernel_size") for norm in CONVNEXT.levels_of("norm")]
    hits = 0
    for _ in range(300):
        top1 = {(cell, seed): float(generator.normal(90, 1)) for cell in cells for seed in range(3)}
        (found,) = find_axis_interactions(Grid(CONVNEXT, STEP, axes, (0, 1, 2), top1))
        assert found.largest_of == 4
        assert found.effect.interval is not None
        hits += found.effect.interval.low <= 0 <= found.effect.interval.high
    assert 0.94 <= hits / 300 <= 0.98


def test_only_seeds_that_all_networks_have_are_used(tmp_path: Path, write_run: Write) -> None:
    for seed in (0, 1):
        write_run("step11_layernorm", seed, 90.0)
    write_run("step12_downsample", 1, 91.5)
    (effect,) = (one.effect for one in find_main_effects(read(tmp_path)) if one.effect)
    assert (effect.mean, effect.n, effect.interval) == (1.5, (1, 1), None)


def test_runs_beside_a_factorial_do_not_choose_its_recipe(tmp_path: Path, write_run: Write) -> None:
    write_run("step11_layernorm", 0, 90.0, recipe="zzz")
    write_run("step12_downsample", 0, 91.5, recipe="zzz")
    for step in CONVNEXT.steps[:-2]:
        write_run(step, 1, 50.0)
    (effect,) = (one.effect for one in find_main_effects(read(tmp_path)) if one.effect)
    assert effect.mean == 1.5


def test_networks_without_a_common_seed_are_no_factorial(tmp_path: Path, write_run: Write) -> None:
    write_run("step11_layernorm", 0, 90.0)
    write_run("step12_downsample", 1, 91.5)
    with pytest.raises(RunError, match="its networks have no seed in common"):
        read(tmp_path)


def read(tmp_path: Path) -> Grid:
    return read_grid(rows_of(tmp_path), ["downsample"], STEP)


def test_the_chart_has_a_line_for_each_effect_and_each_interaction(grid: Grid) -> None:
    chart = factorial_chart(grid)
    alone, together = chart.data
    assert (len(alone["x"]), len(together["x"])) == (6, 3)
    assert sorted(alone["y"] + together["y"]) == pytest.approx(list(range(9)))
    assert chart.layout["yaxis"]["ticktext"][0] == "kernel_size=5 "
