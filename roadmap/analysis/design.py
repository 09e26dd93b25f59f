"""Design of a row: the value of each of the roadmap's axes, independent of the name of its step and variant."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from roadmap.analysis.results import Row
from roadmap.analysis.significance import by_seed
from roadmap.config.roadmaps import Design, Network

Key = TypeVar("Key")


def row_design(row: Row) -> Design | None:
    """Return the values of all axes; None for a reference, a user's step, or a variant that changes another key."""
    return None if row.reference is not None else row.roadmap.design_named(row.step, row.variant)


def network_of(row: Row) -> Network | None:
    """Return the choices of a row; None if it has no design, or a value that is neither start nor end."""
    design = row_design(row)
    return None if design is None else row.roadmap.network_of(design)


def usable_rows(rows: Sequence[Row], key: Callable[[Row], Key | None]) -> list[tuple[Key, Row]]:
    """Return the rows with a result and a key, in the setting with most of them, or the first such setting."""
    named = [(name, row) for row in rows if row.seeds and (name := key(row)) is not None]
    settings = Counter(row.setting for _, row in named)
    return [(name, row) for name, row in named if row.setting == settings.most_common(1)[0][0]]


def used_rows(rows: Sequence[Row], key: Callable[[Row], Key | None]) -> dict[Key, Row]:
    """Return every usable row by its key; see `usable_rows`.

    If two rows have one key, as a step and the next with its choice removed, the one with more seeds counts.
    """
    found: dict[Key, Row] = {}
    for name, row in usable_rows(rows, key):
        if name not in found or len(row.seeds) > len(found[name].seeds):
            found[name] = row
    return found


def collect(
    rows: Sequence[Row], key: Callable[[Row], Key | None], best: bool = False
) -> dict[Key, dict[int, float]]:
    """Return the top-1 by seed of the used rows."""
    return {name: by_seed(row, best) for name, row in used_rows(rows, key).items()}
