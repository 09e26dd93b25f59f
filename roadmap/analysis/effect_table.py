"""Table of the effect of each choice, with explanatory sentences; for a terminal and for a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from roadmap.analysis.attribution import (
    Average,
    Effect,
    Results,
    average_effects,
    decide,
    find_effects,
    find_interactions,
    finished_orders,
    results_of,
    share_spread,
)
from roadmap.analysis.changes import interval_text
from roadmap.analysis.choices import network_of, usable_rows
from roadmap.analysis.group_worth import find_group_worth, group_columns
from roadmap.analysis.results import Row
from roadmap.analysis.statistics import ALPHA, Difference, Spread
from roadmap.choices import GROUPS, STEPS, path_network

MOST_PAIRS = 5  # most interactions to report
ORDER_SEED = 0  # of the sampled orders; the default of conf/sweep/shapley.yaml
DECIDED = "*"


@dataclass(frozen=True)
class Worth:
    """All effects of an experiment, and the data that they rest on."""

    results: Results
    spread: Spread | None  # pooled over all networks
    effects: list[Effect]
    averages: dict[str, Average]  # by axis
    interactions: list[tuple[str, str, float, int]]  # see find_interactions
    unused: int  # rows with a result that is not used
    elsewhere: int  # of these, rows in another regime, on other data or by another recipe than most

    @property
    def leaves_path(self) -> bool:
        """True if any network off the paper's path ran; the path's steps are in the roadmap's figure."""
        return bool(self.results.keys() - {path_network(step) for step in range(len(STEPS))})

    def columns(self) -> dict[str, list[Difference | None]]:
        """Return the effects by question."""
        found = {
            "on the path": [one.on_path for one in self.effects],
            "taken back": [one.taken_back for one in self.effects],
            "added": [one.added for one in self.effects],
        }
        return {name: cells for name, cells in found.items() if any(cells)}


def find_worth(rows: Sequence[Row], best: bool = False, order_seed: int = ORDER_SEED) -> Worth:
    """Return effects in the last epoch, or the best on the validation set; `order_seed` is the shapley sweep's."""
    results = results_of(rows, best)
    values = {network: fmean(seeds.values()) for network, seeds in results.items()}
    averages = {one.axis: one for one in average_effects(values, finished_orders(values, order_seed))}
    effects = find_effects(results, averages)
    finished = [row for row in rows if row.seeds]
    unused = len(finished) - len(usable_rows(rows, network_of))
    elsewhere = unused - sum(network_of(row) is None for row in finished)
    return Worth(results, share_spread(results), effects, averages, find_interactions(values), unused, elsewhere)


def effect_table(worth: Worth) -> tuple[list[str], list[list[str]]]:
    """Return the headings, and a line per choice."""
    columns = {name: _cells(found) for name, found in worth.columns().items()}
    if worth.averages:
        columns["average"] = [show(worth.averages.get(one.axis)) for one in worth.effects]
    axes = [one.axis for one in worth.effects]
    return ["choice", *columns], [list(line) for line in zip(axes, *columns.values(), strict=True)]


def group_table(worth: Worth) -> tuple[list[str], list[list[str]]]:
    """Return the headings, and a line per group of choices; no line unless every combination of groups ran."""
    found = find_group_worth(worth.results)
    columns = group_columns(found)
    cells = [[show(one) + DECIDED * is_decided for one, is_decided in column] for column in columns.values()]
    names = [f"{one.group}: {', '.join(GROUPS[one.group])}" for one in found]
    return ["group", *columns], [list(line) for line in zip(names, *cells, strict=True)]


def _cells(found: Sequence[Difference | None]) -> list[str]:
    return [show(one) + DECIDED * is_decided for one, is_decided in zip(found, decide(found), strict=True)]


def effect_notes(worth: Worth) -> list[str]:
    """Return what a reader of the table has to know, in notes of one or two sentences."""
    said = [
        "Points of top-1. On the path: against the step before. Taken back: the last step against the last step "
        "without the choice. Added: step 0 with the choice against step 0.",
        _method(worth),
    ]
    if worth.averages:
        orders = next(iter(worth.averages.values())).orders
        said.append(f"Average: over {orders} orders; its interval is of the sampled orders, not of the seeds.")
    if find_group_worth(worth.results):
        said.append(
            "A group's average is over all orders of the groups (Shapley's value); its interval is of the seeds."
        )
    said += [
        f"{one} and {other} together: {points:+z.2f} beyond the sum of each alone (n = {squares})."
        for one, other, points, squares in worth.interactions[:MOST_PAIRS]
    ]
    return said + _unused_notes(worth)


def _unused_notes(worth: Worth) -> list[str]:
    reasons = {
        "no combination of the roadmap's choices": worth.unused - worth.elsewhere,
        "of another regime, data set or recipe than most": worth.elsewhere,
    }
    counted = [
        (reason, f"{count} rows", "are") if count > 1 else (reason, "1 row", "is")
        for reason, count in reasons.items()
        if count
    ]
    return [f"{rows} {are} {reason} and {are} not used." for reason, rows, are in counted]


def _method(worth: Worth) -> str:
    if worth.spread is None:
        whose = "each of its own seeds' spread; one seed has none"
    else:
        whose = (
            f"of the spread that all networks are taken to share ({worth.spread.deviation:.2f} points, "
            f"{worth.spread.freedom} degrees of freedom, seeds as blocks)"
        )
    return (
        f"Intervals cover {1 - ALPHA:.0%}, {whose}. {DECIDED} is decided: p < {ALPHA}, corrected over the effects "
        "of its column (Holm), and no smaller than what so many seeds detect."
    )


def markdown_effects(worth: Worth) -> str:
    """Return the tables, and their notes as a list, as Markdown."""
    tables = [_markdown(headings, lines) for headings, lines in (effect_table(worth), group_table(worth)) if lines]
    table = "\n\n".join(tables)
    notes = "\n".join(f"- {note.replace(DECIDED, chr(92) + DECIDED)}" for note in effect_notes(worth))
    return f"{table}\n\n{notes}"


def _markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [headings, ["---", *("---:" for _ in headings[1:])], *lines]
    return "\n".join(f"| {' | '.join(row).replace(DECIDED, chr(92) + DECIDED)} |" for row in rows)


def show(found: Difference | Average | None) -> str:
    """Return `+0.59 (+0.41 to +0.77)`."""
    if found is None:
        return ""
    interval = interval_text(found.interval, signed=True)
    return f"{found.mean:+z.2f}" + (f" ({interval})" if interval else "")
