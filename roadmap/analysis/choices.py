"""The design of a row: the value of each of the roadmap's axes, whatever step and variant it is called."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from roadmap.analysis.changes import by_seed
from roadmap.analysis.results import Row
from roadmap.choices import CHOICES, STEPS, Design, Network, design_of, path_network

Key = TypeVar("Key")


def row_design(row: Row) -> Design | None:
    """The values of all axes; None for a reference, a user's own step, or a variant in something else."""
    if row.reference is not None or row.step not in STEPS:
        return None
    design = design_of(path_network(STEPS.index(row.step)))
    return design | row.variant if row.variant.keys() <= design.keys() else None


def network_of(row: Row) -> Network | None:
    """The choices that a row has made; None where it has no design, or a value that is neither start nor end."""
    design = row_design(row)
    if design is None or any(design[choice.axis] not in (choice.start, choice.end) for choice in CHOICES):
        return None
    return frozenset(choice.axis for choice in CHOICES if design[choice.axis] == choice.end)


def usable_rows(rows: Sequence[Row], key: Callable[[Row], Key | None]) -> list[tuple[Key, Row]]:
    """Those with a result and a key, in the setting that most of them have; of several such, in the first."""
    named = [(name, row) for row in rows if row.seeds and (name := key(row)) is not None]
    settings = Counter(row.setting for _, row in named)
    return [(name, row) for name, row in named if row.setting == settings.most_common(1)[0][0]]


def collect(
    rows: Sequence[Row], key: Callable[[Row], Key | None], best: bool = False
) -> dict[Key, dict[int, float]]:
    """Top-1 by seed of every usable row, see `usable_rows`.

    Of two rows of one key, as step 11 and step 12 with `downsample` taken back, the one with more seeds.
    """
    found: dict[Key, dict[int, float]] = {}
    for name, row in usable_rows(rows, key):
        if len(row.seeds) > len(found.get(name, {})):
            found[name] = by_seed(row, best)
    return found
