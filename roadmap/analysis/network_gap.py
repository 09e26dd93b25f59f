"""Effect of a setting on the gap between two networks, such as the roadmap's ends: one experiment per setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import rich.table

from roadmap.analysis.ablation_table import show
from roadmap.analysis.comparison import Candidate, Table
from roadmap.analysis.significance import interval_text, p_text, pooled_std_text
from roadmap.analysis.stats import (
    COVERAGE,
    Difference,
    PooledStd,
    compare_differences,
    contrast,
    correct_by_holm,
    pool,
)
from roadmap.analysis.terminal import TerminalColumn, draw_table
from roadmap.errors import RunError
from roadmap.runs.naming import natural_key

BLOCK = 2**32  # seeds are below it, so that no two experiments share a block


@dataclass(frozen=True)
class Gap:
    """Top-1 of one network minus that of another, in one experiment."""

    experiment: str
    difference: Difference
    base: str | None  # the experiment that it is compared with; None for the first one
    effect: Difference | None  # this gap minus that of the base
    p: float | None  # of the effect, Holm-corrected over all effects


def pool_experiments(candidates: Sequence[Candidate]) -> PooledStd | None:
    """Return the standard deviation pooled over all networks of all experiments, with their seeds as blocks."""
    networks: list[dict[int, float]] = []
    for number, one in enumerate(candidates):
        names = {run.name for run in one.runs}
        networks += [{number * BLOCK + seed: top1 for seed, top1 in by_seed(one, name).items()} for name in names]
    return pool(networks)


def by_seed(candidate: Candidate, network: str) -> dict[int, float]:
    """Return top-1 in percent after the last epoch, by seed."""
    return {run.seed: run.top1 for run in candidate.runs if run.name == network and run.top1 is not None}


def find_gaps(
    candidates: Sequence[Candidate],
    first: str,
    last: str,
    pooled_std: PooledStd | None,
    bases: Mapping[str, str] | None = None,
) -> list[Gap]:
    """Return the gap of each experiment that has both networks with the same seed.

    Args:
        bases: the experiment that another is compared with, by its name, if both have a gap; default: the first
            one that has a gap.

    Raises:
        RunError: no experiment has both.
    """
    gaps = {
        one.name: found
        for one in candidates
        if (found := contrast([by_seed(one, first), by_seed(one, last)], (-1.0, 1.0), pooled_std)) is not None
    }
    if not gaps:
        names = dict.fromkeys(run.name for one in candidates for run in one.runs)
        raise RunError(
            f"none of these experiments has finished runs of {first} and {last} with the same seed; "
            f"their networks: {', '.join(sorted(names, key=natural_key))}"
        )
    first_name, *others = gaps
    chosen = {name: base for name, base in (bases or {}).items() if name in gaps and base in gaps}
    compared = dict.fromkeys(others, first_name) | chosen
    effects = {name: compare_differences(gaps[base], gaps[name], pooled_std) for name, base in compared.items()}
    corrected = dict(zip(effects, correct_by_holm([effect.p for effect in effects.values()]), strict=True))
    return [
        Gap(name, gap, compared.get(name), effects.get(name), corrected.get(name)) for name, gap in gaps.items()
    ]


def gap_table(gaps: Sequence[Gap]) -> Table:
    """Return a heading, and a line per experiment; not all compared with the first one have a column for that."""
    covered = f"({COVERAGE} interval)"
    bases = dict.fromkeys(one.base for one in gaps if one.base)
    effect = (
        ["base", "gap minus that of the base"] if len(bases) > 1 else [f"gap minus that of {gaps[0].experiment}"]
    )
    table = [["experiment", "n", f"gap {covered}", *effect[:-1], f"{effect[-1]} {covered}", "p (Holm)"]]
    for one in gaps:
        base = [one.base or ""] if len(bases) > 1 else []
        table.append(
            [one.experiment, str(one.difference.n[0]), show(one.difference), *base, show(one.effect), p_text(one.p)]
        )
    return table


def terminal_gaps(gaps: Sequence[Gap], width: int) -> tuple[rich.table.Table, list[str]]:
    """Return the table for `rich.print`, and the lines below it."""
    differences, effects = [one.difference for one in gaps], [one.effect for one in gaps]
    bases = dict.fromkeys(one.base for one in gaps if one.base)
    columns = [
        TerminalColumn("experiment", [one.experiment for one in gaps], is_number=False),
        TerminalColumn("n", [str(one.n[0]) for one in differences], 5),
        TerminalColumn("gap", [f"{one.mean:+z.2f}" for one in differences]),
        TerminalColumn("interval of gap", [interval_text(one.interval, True) for one in differences], 4),
        *([TerminalColumn("base", [one.base or "" for one in gaps], is_number=False)] if len(bases) > 1 else []),
        TerminalColumn("effect", [f"{one.mean:+z.2f}" if one else "" for one in effects]),
        TerminalColumn(
            "interval of effect", [interval_text(one.interval, True) if one else "" for one in effects], 3
        ),
        TerminalColumn("p (Holm)", [p_text(one.p) for one in gaps], 2),
    ]
    drawn, lines = draw_table([column for column in columns if any(column.cells)], width)
    base = "the base" if len(bases) > 1 else gaps[0].experiment
    return drawn, [*lines, f"Effect: the gap minus that of {base}; intervals cover {COVERAGE}."]


def gap_notes(first: str, last: str, gaps: Sequence[Gap], pooled_std: PooledStd | None) -> str:
    """Return what a reader of the table has to know, in a few sentences."""
    said = [f"Gap: top-1 of {last} minus that of {first}, in points."]
    if pooled_std is None:
        said.append("One seed each: no interval.")
    else:
        said.append(f"Pooled standard deviation: {pooled_std_text(pooled_std)}.")
    if (tested := sum(one.p is not None for one in gaps)) > 1:
        said.append(f"p-values are corrected over the {tested} effects of this table (Holm); intervals are not.")
    return " ".join(said)
