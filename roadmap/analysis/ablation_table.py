"""Table of the effect of each choice, with explanatory sentences; for a terminal and for a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.table import Table

from roadmap.analysis.ablation import (
    AVERAGE,
    ON_PATH,
    ORDER_SEED,
    Average,
    Effect,
    Results,
    average_effects,
    choose_orders,
    effect_columns,
    end_headings,
    find_effects,
    find_interactions,
    mark_significant,
    pool_std,
    results_of,
)
from roadmap.analysis.design import network_of, usable_rows, used_rows
from roadmap.analysis.group_effects import find_group_effects
from roadmap.analysis.results import Row
from roadmap.analysis.significance import interval_text, pooled_std_text
from roadmap.analysis.stats import ALPHA, COVERAGE, Difference, PooledStd
from roadmap.analysis.terminal import draw_table, table_width, to_columns
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.roadmaps import Roadmap
from roadmap.system.commands import mentioned

MOST_PAIRS = 5  # most interactions to report
MOST_SEEDS = 3  # most seeds of sampled orders to name
SIGNIFICANT = "*"


@dataclass(frozen=True)
class Ablation:
    """All effects of an experiment, and the data that they rest on."""

    roadmap: Roadmap
    rows: list[Row]  # that the results are of, all in one setting
    results: Results
    pooled_std: PooledStd | None  # pooled over all networks
    effects: list[Effect]
    averages: dict[str, Average]  # by axis
    order_seed: int  # of the sampled orders that the averages are over
    other_order_seeds: list[int]  # whose orders have finished too
    interactions: list[tuple[str, str, float, int]]  # see find_interactions
    unused: int  # rows with a result that is not used
    elsewhere: int  # of these, rows in another regime, on other data or by another recipe than most

    @property
    def leaves_path(self) -> bool:
        """True if any network off the paper's path ran; the path's steps are in the roadmap's figure."""
        return bool(
            self.results.keys() - {self.roadmap.path_network(step) for step in range(len(self.roadmap.steps))}
        )

    def columns(self) -> dict[str, list[Difference | None]]:
        """Return the effects by heading."""
        return {name: cells for name, cells in effect_columns(self.roadmap, self.effects).items() if any(cells)}


def find_ablation(rows: Sequence[Row], best: bool = False, order_seed: int | None = None) -> Ablation:
    """Return effects in the last epoch, or the best on the validation set.

    `order_seed` is the shapley sweep's; None finds it (`choose_orders`).
    """
    roadmap = rows[0].roadmap if rows else load_roadmap()
    results = results_of(rows, best)
    values = {network: fmean(seeds.values()) for network, seeds in results.items()}
    order_seed, orders, other_order_seeds = choose_orders(roadmap, values, order_seed)
    averages = {one.axis: one for one in average_effects(roadmap, values, orders)}
    effects = find_effects(roadmap, results, averages)
    finished = [row for row in rows if row.seeds]
    unused = len(finished) - len(usable_rows(rows, network_of))
    elsewhere = unused - sum(network_of(row) is None for row in finished)
    interactions = find_interactions(roadmap, values)
    return Ablation(
        roadmap,
        list(used_rows(rows, network_of).values()),
        results,
        pool_std(results),
        effects,
        averages,
        order_seed,
        other_order_seeds,
        interactions,
        unused,
        elsewhere,
    )


def effect_table(ablation: Ablation, with_intervals: bool = True) -> tuple[list[str], list[list[str]]]:
    """Return the headings, and a line per choice."""
    columns = {name: _cells(found, with_intervals) for name, found in ablation.columns().items()}
    if ablation.averages:
        columns[AVERAGE] = [show(ablation.averages.get(one.name), with_intervals) for one in ablation.effects]
    axes = [one.name for one in ablation.effects]
    return ["choice", *columns], [list(line) for line in zip(axes, *columns.values(), strict=True)]


def group_table(ablation: Ablation, with_intervals: bool = True) -> tuple[list[str], list[list[str]]]:
    """Return the headings, and a line per group of choices; no line unless every combination of groups ran."""
    found = find_group_effects(ablation.roadmap, ablation.results)
    columns = {**effect_columns(ablation.roadmap, found), AVERAGE: [one.average for one in found]}
    columns = {name: column for name, column in columns.items() if any(column)}
    cells = [_cells(column, with_intervals) for column in columns.values()]
    names = [f"{one.name}: {', '.join(ablation.roadmap.groups[one.name])}" for one in found]
    return ["group", *columns], [list(line) for line in zip(names, *cells, strict=True)]


def _cells(found: Sequence[Difference | None], with_intervals: bool) -> list[str]:
    return [
        show(one, with_intervals) + SIGNIFICANT * is_significant
        for one, is_significant in zip(found, mark_significant(found), strict=True)
    ]


def terminal_effects(ablation: Ablation, width: int) -> tuple[list[Table], list[str]]:
    """Return the tables for `rich.print`, and the lines below them.

    Intervals are left out if a table with them does not fit `width`, then the average, then effects in step one.
    """
    drawn, lines = [], []
    _, in_first = end_headings(ablation.roadmap)
    priorities = {AVERAGE: 2, in_first: 1}  # in a narrow terminal the highest is left out first
    for make in (effect_table, group_table):
        headings, cells = make(ablation)
        if not cells:
            continue
        priority = [priorities.get(heading, 0) for heading in headings]
        columns = to_columns([headings, *cells], priority)
        if table_width(columns) > width:
            columns = to_columns([headings, *make(ablation, with_intervals=False)[1]], priority)
            lines = [f"Intervals need a wider terminal; {mentioned('report')} shows them too."]
        table, left_out = draw_table(columns, width)
        drawn.append(table)
        lines += left_out
    return drawn, list(dict.fromkeys([*lines, *effect_summary(ablation)]))


def effect_summary(ablation: Ablation) -> list[str]:
    """Return what an effect is, how many are significant, and the largest interaction, in a few lines."""
    flags = [flag for found in ablation.columns().values() for flag in mark_significant(found)]
    tested = sum(one is not None for found in ablation.columns().values() for one in found)
    verdict = f"{sum(flags) or 'None'} of {tested} effects {'is' if sum(flags) == 1 else 'are'} significant"
    pooled = f", pooled standard deviation {pooled_std_text(ablation.pooled_std)}" if ablation.pooled_std else ""
    lines = [
        "Effect: top-1 with the choice minus top-1 without it, in points.",
        f"{verdict} ({SIGNIFICANT}): p < {ALPHA}, corrected over a column (Holm){pooled}.",
    ]
    if ablation.averages and ablation.order_seed != ORDER_SEED:
        count = next(iter(ablation.averages.values())).orders
        lines.append(f"Average over {count} orders of sweep.order_seed={ablation.order_seed}.")
    for one, other, points, squares in ablation.interactions[:1]:
        lines.append(f"Largest interaction: {one} and {other}, {points:+z.2f} points (n = {squares}).")
    return lines + _unused_notes(ablation)


def _order_notes(ablation: Ablation) -> list[str]:
    """Return how to see the averages that the table does not have."""
    lines = []
    if not ablation.averages and ablation.order_seed != ORDER_SEED:
        lines.append(f"No order of sweep.order_seed={ablation.order_seed} has finished together with its reverse.")
    if others := ablation.other_order_seeds:
        some = ", ".join(map(str, others[:MOST_SEEDS])) + (", ..." if len(others) > MOST_SEEDS else "")
        lines.append(
            f"Orders of sweep.order_seed={some} have finished too; {mentioned('attribute')} --order-seed "
            f"{others[0]} averages over them."
        )
    return lines


def effect_notes(ablation: Ablation) -> list[str]:
    """Return what a reader of the table has to know, in notes of one or two sentences."""
    in_last, in_first = end_headings(ablation.roadmap)
    first = in_first.removeprefix("in ")
    found = [
        "Effect of a choice: top-1 with it minus top-1 without it, in points. "
        f"{ON_PATH.capitalize()}: the step that makes the choice minus the step before. "
        f"{in_last.capitalize()}: the last step minus the last step without the choice. "
        f"{in_first.capitalize()}: {first} with the choice minus {first}.",
        _method(ablation),
    ]
    if ablation.averages:
        one = next(iter(ablation.averages.values()))
        said = "its interval is of the sampled orders, not of the seeds" if one.interval else "it has no interval"
        seed = "" if ablation.order_seed == ORDER_SEED else f" of sweep.order_seed={ablation.order_seed}"
        found.append(f"Average over {one.orders} orders{seed}: {said}.")
    found += [
        f"{choice.step} is one choice of {len(choice.axes)} settings: {', '.join(choice.axes)}."
        for choice in ablation.roadmap.choices
        if len(choice.axes) > 1
    ]
    if find_group_effects(ablation.roadmap, ablation.results):
        found.append(
            "A group's average is over all orders of the groups (Shapley value); its interval is of the seeds."
        )
    found += [
        f"Interaction of {one} and {other}: {points:+z.2f} beyond the sum of their effects (n = {squares})."
        for one, other, points, squares in ablation.interactions[:MOST_PAIRS]
    ]
    return found + _unused_notes(ablation)


def _unused_notes(ablation: Ablation) -> list[str]:
    reasons = {
        "no combination of the roadmap's choices": ablation.unused - ablation.elsewhere,
        "of another regime, data set or recipe than most": ablation.elsewhere,
    }
    counted = [
        (reason, f"{count} rows", "are") if count > 1 else (reason, "1 row", "is")
        for reason, count in reasons.items()
        if count
    ]
    notes = [f"{rows} {are} {reason} and {are} not used." for reason, rows, are in counted]
    return [*notes, *_order_notes(ablation)]


def _method(ablation: Ablation) -> str:
    if ablation.pooled_std is None:
        scale = "with the standard deviation of the compared seeds; one seed has none"
    else:
        scale = f"with pooled standard deviation ({pooled_std_text(ablation.pooled_std)})"
    return (
        f"Intervals cover {COVERAGE}, {scale}. {SIGNIFICANT} is significant: p < {ALPHA}, corrected over the "
        "effects of its column (Holm), and at least the minimum detectable effect."
    )


def markdown_effects(ablation: Ablation) -> str:
    """Return the tables, and their notes as a list, as Markdown."""
    tables = [
        _markdown(headings, lines) for headings, lines in (effect_table(ablation), group_table(ablation)) if lines
    ]
    table = "\n\n".join(tables)
    notes = "\n".join(f"- {note.replace(SIGNIFICANT, chr(92) + SIGNIFICANT)}" for note in effect_notes(ablation))
    return f"{table}\n\n{notes}"


def _markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [headings, ["---", *("---:" for _ in headings[1:])], *lines]
    return "\n".join(f"| {' | '.join(row).replace(SIGNIFICANT, chr(92) + SIGNIFICANT)} |" for row in rows)


def show(found: Difference | Average | None, with_interval: bool = True) -> str:
    """Return `+0.59 (+0.41 to +0.77)`, or without an interval `+0.59`."""
    if found is None:
        return ""
    interval = interval_text(found.interval, signed=True) if with_interval else ""
    return f"{found.mean:+z.2f}" + (f" ({interval})" if interval else "")
