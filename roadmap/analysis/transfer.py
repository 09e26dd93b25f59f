"""Comparison of each change of the roadmap with the same change in the paper: what transfers to other data."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from roadmap.analysis.results import Row, Setting
from roadmap.analysis.significance import NOT_SIGNIFICANT, by_seed, compute_row_stats, pool_rows
from roadmap.analysis.stats import Difference, PooledStd, compare


@dataclass(frozen=True)
class TransferredChange:
    """Top-1 of one step minus that of an earlier step, in points, in the paper and as measured."""

    before: Row
    after: Row
    paper: float
    measured: Difference
    significant: bool  # p < 0.05 (Holm over the steps) and at least the minimum detectable effect

    @property
    def steps(self) -> tuple[int, int]:
        """The two steps' indices; consecutive, or the first and the last step that ran."""
        return self.before.step_index or 0, self.after.step_index or 0

    @property
    def same_sign(self) -> bool:
        """True if the measured change has the paper's sign."""
        return self.paper * self.measured.mean > 0


def paper_steps(rows: Sequence[Row]) -> list[Row]:
    """Return the finished steps that the paper has, in the setting with most of them.

    Variants, references and the original recipe are left out.
    """
    steps = [
        row
        for row in rows
        if row.seeds and row.paper and row.step_index is not None and not row.variant and not row.is_original
    ]
    if not steps:
        return []
    setting = Counter(row.setting for row in steps).most_common(1)[0][0]
    return [row for row in steps if row.setting == setting]


def find_transfer(rows: Sequence[Row], best: bool = False) -> list[TransferredChange]:
    """Return the changes from step to step, then the one from the first to the last step, if that is another.

    Intervals use the standard deviation pooled over all rows of a setting, if the seeds give one.
    """
    pooled_stds = pool_rows(rows, best)
    steps = paper_steps(rows)
    found = [
        _transfer(one.change.before, one.row, one.change.difference, one.change.verdict != NOT_SIGNIFICANT)
        for one in compute_row_stats(rows, best, pooled_stds)
        if one.change is not None and one.row in steps and one.change.before in steps
    ]
    ends = _ends(steps, pooled_stds, best)
    if ends is not None and ends.steps not in {one.steps for one in found}:
        found.append(ends)
    return found


def _ends(steps: Sequence[Row], pooled_stds: dict[Setting, PooledStd], best: bool) -> TransferredChange | None:
    """Return the change from the first to the last step, which is tested on its own."""
    if len(steps) < 2:
        return None
    ordered = sorted(steps, key=lambda row: row.step_index or 0)  # names of own steps need no numbers
    first, last = ordered[0], ordered[-1]
    difference = compare(by_seed(first, best), by_seed(last, best), pooled_stds.get(first.setting))
    return _transfer(first, last, difference, difference.is_significant(difference.p))


def _transfer(before: Row, after: Row, difference: Difference, significant: bool) -> TransferredChange:
    assert before.paper is not None  # paper_steps returns no others
    assert after.paper is not None
    return TransferredChange(before, after, after.paper.top1 - before.paper.top1, difference, significant)
