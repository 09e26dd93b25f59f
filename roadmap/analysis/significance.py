"""Rows with their statistics: each mean, and each change from the step before.

A change is significant if its p-value, corrected over all changes of its kind, is below ALPHA and the change is at
least the smallest that this number of seeds detects. All others are undecided, which does not mean no change. The
roadmap's changes are one kind; ablations, which are compared with their own step, are another. They answer other
questions, and a sweep of them should not weaken the roadmap's tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from roadmap.analysis.results import Row, Setting, drawn_rows, is_ablation, step_before
from roadmap.analysis.stats import (
    ALPHA,
    POWER,
    Difference,
    Estimate,
    Interval,
    PooledStd,
    compare,
    correct_by_holm,
    estimate,
    pool,
)

GAIN, LOSS, UNDECIDED = "gain", "loss", "undecided"
KINDS = {False: "change", True: "ablation"}
ONE_SEED = "one seed: no interval"


@dataclass(frozen=True)
class Change:
    """Top-1 of a row minus that of the step before, or of an ablation minus that of its own step; in points."""

    before: Row
    difference: Difference
    p: float | None  # Holm-corrected over the changes of its kind in the experiment
    family: int  # number of changes that it was corrected over

    @property
    def verdict(self) -> str:
        """Gain, loss or undecided."""
        if self.p is None or self.difference.min_detectable_effect is None:
            return UNDECIDED
        if self.p >= ALPHA or abs(self.difference.mean) < self.difference.min_detectable_effect:
            return UNDECIDED
        return GAIN if self.difference.mean > 0 else LOSS

    @property
    def explanation(self) -> str:
        """The verdict in words, with the number that it rests on."""
        difference = self.difference
        seeds = " and ".join(str(n) for n in sorted({*difference.n}))
        if min(difference.n) < 2:
            return f"{UNDECIDED}: {ONE_SEED}"
        if difference.min_detectable_effect is None or self.p is None:
            return f"{UNDECIDED}: the seeds do not vary, which leaves nothing to test against"
        if abs(difference.mean) < difference.min_detectable_effect:
            return f"{UNDECIDED}: below the {difference.min_detectable_effect:.2f} points that {seeds} seeds detect"
        corrected = f"{p_text(self.p)} over {self.family} changes"
        return f"{self.verdict if self.p < ALPHA else UNDECIDED}: {corrected}"


@dataclass(frozen=True)
class RowStats:
    """A row and its statistics; None if it has no result, or no step before it."""

    row: Row
    estimate: Estimate | None
    change: Change | None


def compute_row_stats(
    rows: Sequence[Row], best: bool = False, pooled_stds: Mapping[Setting, PooledStd] | None = None
) -> list[RowStats]:
    """Return each row with its estimate and its change, of the last epoch or of the best one on the validation set.

    `spreads` are the pooled standard deviations by setting (`pool_rows`). A change in a setting without one, or
    from one setting to another, as from the original recipe, is tested with the spread of its own runs.
    """
    pairs = [(row, step_before(row, rows)) for row in rows]
    differences = [
        compare(by_seed(before, best), by_seed(row, best), _find_pooled_std(before, row, pooled_stds or {}))
        if before and before.seeds and row.seeds
        else None
        for row, before in pairs
    ]
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for row, difference in zip(rows, differences, strict=True):
        if difference is not None and difference.p is not None:
            kinds[is_ablation(row)].append(difference.p)
    corrected = {kind: iter(correct_by_holm(tested)) for kind, tested in kinds.items()}
    row_stats = []
    for (row, before), difference in zip(pairs, differences, strict=True):
        change = None
        if difference is not None and before is not None:
            kind = is_ablation(row)
            p = next(corrected[kind]) if difference.p is not None else None
            change = Change(before, difference, p, len(kinds[kind]))
        values = row.best_top1 if best else row.top1
        row_stats.append(RowStats(row, estimate(values) if values else None, change))
    return row_stats


def _find_pooled_std(before: Row, row: Row, pooled_stds: Mapping[Setting, PooledStd]) -> PooledStd | None:
    return pooled_stds.get(row.setting) if before.setting == row.setting else None


def pool_rows(rows: Sequence[Row], best: bool = False) -> dict[Setting, PooledStd]:
    """Return the pooled standard deviation of each setting whose seeds give one; see `pool`."""
    settings = dict.fromkeys(row.setting for row in rows)
    found = {
        own: pool([by_seed(row, best) for row in rows if row.seeds and row.setting == own]) for own in settings
    }
    return {own: pooled_std for own, pooled_std in found.items() if pooled_std is not None}


def pooled_text(rows: Sequence[Row], best: bool = False) -> str:
    """Name the changes that are significant with the pooled standard deviation; empty if that adds nothing."""
    pooled_stds = pool_rows(rows, best)
    row_stats = compute_row_stats(rows, best, pooled_stds)
    if not pooled_stds or sum(one.change is not None for one in row_stats) < 2:
        return ""
    figures = {
        own: f"{pooled_std.std:.2f} points, {pooled_std.dof} degrees of freedom"
        for own, pooled_std in pooled_stds.items()
    }
    if len(figures) == 1:
        alike, said = "every network varies alike", next(iter(figures.values()))
    else:
        alike = "all networks of a setting vary alike"
        said = "; ".join(f"{', '.join(own)}: {figure}" for own, figure in figures.items())
    verdict = verdict_text(row_stats)
    if not verdict:
        return ""
    return f"If {alike} from seed to seed ({said}, seeds as blocks), the same seeds say: {verdict}"


def by_seed(row: Row, best: bool) -> dict[int, float]:
    """Return the top-1 of each seed, in percent."""
    return dict(zip(row.seeds, row.best_top1 if best else row.top1, strict=True))


def method_text(row_stats: Sequence[RowStats]) -> str:
    """Return how the intervals and the changes of a table were computed, in one or two sentences."""
    changes = [one.change for one in row_stats if one.change is not None]
    families = {is_ablation(one.row): one.change.family for one in row_stats if one.change is not None}
    said = f"Intervals cover {1 - ALPHA:.0%} (Student's t)"
    bare = [one.estimate.n for one in row_stats if one.estimate is not None and one.estimate.interval is None]
    if 1 in bare:
        said += "; a mean of one seed has none"
    if any(n > 1 for n in bare):
        said += "; a mean of seeds that agree exactly has none"
    if not changes:
        return f"{said}."
    tests = []
    if any(change.difference.paired for change in changes):
        tests.append("paired by seed")
    if any(not change.difference.paired for change in changes):
        tests.append("unpaired where two steps have other seeds (Welch)")
    family = " and ".join(
        f"{number} {KINDS[kind]}{'s' if number != 1 else ''}" for kind, number in sorted(families.items())
    )
    return (
        f"{said}; changes are {', '.join(tests)}, their p-values corrected over {family} (Holm). "
        f"A change is decided at p < {ALPHA} and from the smallest effect that so many seeds, with the spread "
        f"they have, detect with power {POWER:.0%} at {ALPHA:.0%}."
    )


def verdict_text(row_stats: Sequence[RowStats]) -> str:
    """Return which changes are significant and which are not, by name, with the smallest detectable change.

    If there are so many ablations that the roadmap's figure omits them, they are left to the table of effects.
    """
    shown = {id(row) for row in drawn_rows([one.row for one in row_stats])}
    changes = [(one.row, one.change) for one in row_stats if one.change is not None and id(one.row) in shown]
    if not changes:
        return ""
    groups = {
        verdict: [
            f"{_short(row)} {change.difference.mean:+z.2f}" for row, change in changes if change.verdict == verdict
        ]
        for verdict in (GAIN, LOSS, UNDECIDED)
    }
    names = {GAIN: "Gains", LOSS: "Losses", UNDECIDED: "Undecided"}
    said = [f"{names[verdict]}: {', '.join(group)}." for verdict, group in groups.items() if group]
    limits = [
        change.difference.min_detectable_effect
        for _, change in changes
        if change.difference.min_detectable_effect is not None
    ]
    if groups[UNDECIDED] and limits:
        typical = fmean(limits)
        said.append(f"The smallest change that these seeds detect is {typical:.2f} points on average.")
    if any(change.difference.p is None and min(change.difference.n) < 2 for _, change in changes):
        said.append("No change to or from a step of one seed can be decided.")
    return " ".join(said)


def _short(row: Row) -> str:
    """Return a short name: `step7`, or `step7 kernel_size=9`."""
    name = row.step.partition("_")[0] if row.step_index is not None else row.step
    return " ".join([name, *(f"{key}={value}" for key, value in row.variant.items())])


def p_text(p: float) -> str:
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def interval_text(interval: Interval | None, signed: bool = False) -> str:
    """Return `80.1 to 80.9`; empty if there is no interval."""
    if interval is None:
        return ""
    form = "+z.2f" if signed else ".2f"
    return f"{interval.low:{form}} to {interval.high:{form}}"


def estimate_text(estimate: Estimate) -> str:
    """Return the interval of a mean, or why it has none."""
    return interval_text(estimate.interval) or f"none: {'one seed' if estimate.n < 2 else 'the seeds agree'}"
