"""Analysis of a full factorial: the mean effect of each choice of an axis, and the interactions of axes.

Effects are points of top-1 against the choice of the roadmap's first step. A main effect is the mean over all pairs
of runs that differ only in this choice, one pair for each combination of the other axes and each seed. An
interaction is the mean over all squares of four runs. In a balanced design these means are the least-squares
estimates. Intervals are Student's over the pairs or squares, so they widen if the other axes change the effect. For
two axes with several choices only the largest interaction is reported; its interval is corrected for that selection
(Bonferroni).
"""

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import fmean

from roadmap.analysis.design import collect, row_design
from roadmap.analysis.results import Row
from roadmap.analysis.stats import ALPHA, Difference, compare
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.roadmaps import DEFAULT, Roadmap, check_axes, check_word
from roadmap.config.sweep_networks import factorial
from roadmap.errors import RunError

Cell = tuple[str, ...]  # a choice of each axis


@dataclass(frozen=True)
class Grid:
    """Results of a full factorial, for the seeds that all its networks have."""

    roadmap: Roadmap
    step: str
    axes: tuple[str, ...]
    seeds: tuple[int, ...]
    top1: Mapping[tuple[Cell, int], float]  # percent, by cell and seed


@dataclass(frozen=True)
class MainEffect:
    axis: str
    level: str
    top1: float  # percent, mean over all runs at this level
    effect: Difference | None  # None for the first step's level, which the others are compared with


@dataclass(frozen=True)
class Interaction:
    """Effect of two choices together, beyond the sum of their effects beside the other axis' first choice."""

    choices: tuple[str, str]  # such as norm=layernorm
    effect: Difference  # at ALPHA / largest_of
    largest_of: int  # number of interactions of the same two axes


def add_factorial_arguments(parser: ArgumentParser) -> None:
    """Add --axes and --step, for `read_grid`; no axes by default."""
    parser.add_argument(
        "--axes", type=lambda text: tuple(text.split(",")), default=(), help="of a factorial, as kernel_size,norm"
    )
    parser.add_argument("--step", help="that the factorial starts from; default: the last one of the roadmap")


def read_grid(rows: Sequence[Row], axes: Sequence[str], step: str | None = None, best: bool = False) -> Grid:
    """Return the factorial over `axes` on a step, from rows of any name.

    Args:
        step: the last one of the roadmap if None.

    Raises:
        ConfigError: an axis or a step that does not exist.
        RunError: a network has no result, or no seed is common to all.
    """
    roadmap = rows[0].roadmap if rows else load_roadmap()
    step = step or roadmap.steps[-1]
    check_axes("--axes", axes, roadmap.all_axes)
    check_word("--step", step, roadmap.steps)
    grid_name = f"the factorial over {', '.join(axes)} on {step}"
    cells = {
        tuple(design[axis] for axis in axes): roadmap.name_of(design) for design in factorial(roadmap, step, axes)
    }
    members = set(cells.values())

    def find_member(row: Row) -> str | None:  # rows outside the factorial don't determine its setting
        design = row_design(row)
        name = None if design is None else row.roadmap.name_of(design)
        return name if name in members else None

    results = collect(rows, find_member, best)
    missing = [name for name in cells.values() if name not in results]
    if missing:
        own = "" if roadmap.name == DEFAULT else f" sweep.roadmap={roadmap.name}"
        raise RunError(
            f"{grid_name}: {len(missing)} of its {len(cells)} networks have no result: {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}. The command of the sweep again, with "
            f"+sweep=factorial{own} sweep.axes={','.join(axes)} sweep.step={step}, trains them"
        )
    seeds = sorted(set.intersection(*(set(results[name]) for name in cells.values())))
    if not seeds:
        raise RunError(f"{grid_name}: its networks have no seed in common")
    top1 = {(cell, seed): results[name][seed] for cell, name in cells.items() for seed in seeds}
    return Grid(roadmap, step, tuple(axes), tuple(seeds), top1)


def find_main_effects(grid: Grid) -> list[MainEffect]:
    """Return the main effect of every choice of every axis, the first step's first."""
    effects = []
    for axis in grid.axes:
        start, *_ = levels = grid.roadmap.levels_of(axis)
        runs = {level: _runs_with(grid, {axis: level}) for level in levels}
        for level in levels:
            effect = None if level == start else compare(runs[start], runs[level])
            effects.append(MainEffect(axis, level, fmean(runs[level].values()), effect))
    return effects


def find_axis_interactions(grid: Grid) -> list[Interaction]:
    """Return, for each pair of axes, the two choices that interact most (see above); the largest comes first."""
    found = []
    for one, other in combinations(grid.axes, 2):
        (one_start, *ones), (other_start, *others) = map(grid.roadmap.levels_of, (one, other))
        squares, number = [], len(ones) * len(others)
        for levels in product(ones, others):
            neither = _runs_with(grid, {one: one_start, other: other_start})
            first = _runs_with(grid, {one: levels[0], other: other_start})
            second = _runs_with(grid, {one: one_start, other: levels[1]})
            both = _runs_with(grid, {one: levels[0], other: levels[1]})
            alone = {run: first[run] + second[run] for run in first}
            together = {run: both[run] + neither[run] for run in both}
            effect = compare(alone, together, alpha=ALPHA / number)
            squares.append(Interaction((f"{one}={levels[0]}", f"{other}={levels[1]}"), effect, number))
        found.append(max(squares, key=lambda square: abs(square.effect.mean)))
    return sorted(found, key=lambda square: -abs(square.effect.mean))


def _runs_with(grid: Grid, choices: Mapping[str, str]) -> dict[int, float]:
    """Return the top-1 of the runs with these choices, numbered alike for all choices of the same axes."""
    places = [(grid.axes.index(axis), level) for axis, level in choices.items()]
    runs = (top1 for (cell, _), top1 in grid.top1.items() if all(cell[place] == level for place, level in places))
    return dict(enumerate(runs))
