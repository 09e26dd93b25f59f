"""Rows with their statistics: each mean, and each change from the step before.

A change is significant if its p-value, corrected over all changes of its kind, is below ALPHA and the change is
at least the smallest that this number of seeds detects. "Not significant" does not mean no change. The roadmap's
changes are one kind. Ablations, which are compared with their own step, are another: they answer other questions,
and a sweep of them should not weaken the roadmap's tests.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from roadmap.analysis.results import Row, Setting, drawn_rows, is_ablation, range_text, short_names, step_before
from roadmap.analysis.stats import (
    ACCURACIES,
    ALPHA,
    COVERAGE,
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

GAIN, LOSS, NOT_SIGNIFICANT = "gain", "loss", "not significant"
KINDS = {False: "change", True: "ablation"}


@dataclass(frozen=True)
class NoTest:
    """A reason why a change has no test, in the words of its explanation, of a summary and of a verdict."""

    explanation: str
    clause: str
    sentence: str


ONE_SEED = NoTest(
    "one seed: no interval", "one seed has no test", "A change to or from a step with one seed has no test."
)
SEEDS_AGREE = NoTest(
    "the seeds agree, so there is no standard deviation to test with",
    "seeds that agree exactly have no test",
    "A change whose seeds agree exactly has no test.",
)


@dataclass(frozen=True)
class Change:
    """Top-1 of a row minus that of the step before, or of an ablation minus that of its own step; in points."""

    before: Row
    difference: Difference
    p: float | None  # Holm-corrected over the changes of its kind in the experiment
    family: int  # number of changes that it was corrected over

    @property
    def verdict(self) -> str:
        """Gain or loss if the change is significant, else not significant."""
        if not self.difference.is_significant(self.p):
            return NOT_SIGNIFICANT
        return GAIN if self.difference.mean > 0 else LOSS

    @property
    def no_test(self) -> NoTest | None:
        """Why the change has no test; None if it has one."""
        if self.difference.p is not None:
            return None
        return ONE_SEED if min(self.difference.n) < 2 else SEEDS_AGREE

    @property
    def explanation(self) -> str:
        """The verdict in words, with the number that it rests on."""
        difference = self.difference
        seeds = " and ".join(str(n) for n in sorted({*difference.n}))
        if self.no_test is not None:
            return f"{NOT_SIGNIFICANT}: {self.no_test.explanation}"
        assert difference.min_detectable_effect is not None  # a difference with a test has one
        if abs(difference.mean) < difference.min_detectable_effect:
            return f"{NOT_SIGNIFICANT}: {seeds} seeds detect {difference.min_detectable_effect:.2f} points or more"
        p = p_text(self.p)
        sign = "" if p.startswith("<") else "= "
        return f"{self.verdict}: p {sign}{p} (Holm, {self.family} change{'s' if self.family > 1 else ''})"


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

    `pooled_stds` are by setting (`pool_rows`). A change in a setting without one, or from one setting to another
    (from the original recipe), is tested with the standard deviation of its own runs.
    """
    pairs = [(row, step_before(row, rows)) for row in rows]
    differences = [
        compare(by_seed(before, best), by_seed(row, best), _find_pooled_std(before, row, pooled_stds or {}))
        if before and before.seeds and row.seeds
        else None
        for row, before in pairs
    ]
    kinds = [is_ablation(row) for row in rows]
    tested = [(own, one.p if one else None) for own, one in zip(kinds, differences, strict=True)]
    corrected = {kind: correct_by_holm([p if own is kind else None for own, p in tested]) for kind in KINDS}
    row_stats = []
    for place, ((row, before), difference) in enumerate(zip(pairs, differences, strict=True)):
        change = None
        if difference is not None and before is not None:
            family = corrected[kinds[place]]
            change = Change(before, difference, family[place], sum(p is not None for p in family))
        values = row.accuracies(best)
        row_stats.append(RowStats(row, estimate(values, ACCURACIES) if values else None, change))
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
    verdict = verdict_text(row_stats)
    if not verdict:
        return ""
    if len(pooled_stds) == 1:
        pooled = pooled_std_text(*pooled_stds.values())
    else:
        pooled = "; ".join(f"{', '.join(own)}: {pooled_std_text(one)}" for own, one in pooled_stds.items())
    return f"With pooled standard deviation ({pooled}): {verdict[0].lower()}{verdict[1:]}"


def pooled_std_text(pooled_std: PooledStd) -> str:
    """Return `0.54 points, 24 dof`."""
    return f"{pooled_std.std:.2f} points, {pooled_std.dof} dof"


def by_seed(row: Row, best: bool) -> dict[int, float]:
    """Return the top-1 of each seed, in percent."""
    return dict(zip(row.seeds, row.accuracies(best), strict=True))


def method_text(row_stats: Sequence[RowStats]) -> str:
    """Return how the intervals and the changes of a table were computed, in short sentences."""
    changes = [one.change for one in row_stats if one.change is not None]
    families = {is_ablation(one.row): one.change.family for one in row_stats if one.change is not None}
    sentences = [f"Intervals cover {COVERAGE} (Student's t)."]
    bare = [one.estimate.n for one in row_stats if one.estimate is not None and one.estimate.interval is None]
    if 1 in bare:
        sentences.append("A mean of one seed has no interval.")
    if any(n > 1 for n in bare):
        sentences.append("A mean of seeds that agree exactly has no interval.")
    if not changes:
        return " ".join(sentences)
    if any(change.difference.paired for change in changes):
        sentences.append("Changes are paired by seed.")
    if any(not change.difference.paired for change in changes):
        sentences.append("Changes between steps with different seeds are unpaired (Welch).")
    family = " and ".join(
        f"{number} {KINDS[kind]}{'s' if number != 1 else ''}" for kind, number in sorted(families.items())
    )
    sentences += [
        f"p-values are corrected over {family} (Holm).",
        f"A change is significant if p < {ALPHA} and if it is at least the minimum detectable effect of one test "
        f"without the correction, at power {POWER:.0%}.",
    ]
    return " ".join(sentences)


def verdict_text(row_stats: Sequence[RowStats]) -> str:
    """Return which changes are significant and which are not, by name, with the smallest detectable change.

    If there are so many ablations that the roadmap's figure omits them, they are left to the table of effects.
    """
    changes = _verdict_changes(row_stats)
    if not changes:
        return ""
    found = _by_verdict(changes)
    if len(found[NOT_SIGNIFICANT]) == len(changes):
        sentences = [f"No change is significant: {', '.join(found[NOT_SIGNIFICANT])}."]
    else:
        names = {GAIN: "Significant gains", LOSS: "Significant losses", NOT_SIGNIFICANT: "Not significant"}
        sentences = [f"{names[verdict]}: {', '.join(group)}." for verdict, group in found.items() if group]
    detectable = detectable_text([change for _, change in changes])
    if found[NOT_SIGNIFICANT] and detectable:
        sentences.append(f"{detectable}.")
    sentences += [reason.sentence for reason in _no_tests(changes)]
    return " ".join(sentences)


def summary_text(row_stats: Sequence[RowStats]) -> str:
    """Return the significant changes by name, and what the seeds detect, in one sentence; empty if none changed."""
    changes = _verdict_changes(row_stats)
    if not changes:
        return ""
    found = _by_verdict(changes)
    significant, others = [*found[GAIN], *found[LOSS]], found[NOT_SIGNIFICANT]
    was_tested = any(change.verdict == NOT_SIGNIFICANT and change.no_test is None for _, change in changes)
    detectable = [detectable_text([change for _, change in changes])] if was_tested else []
    reasons = "; ".join([*detectable, *(reason.clause for reason in _no_tests(changes))])
    if not significant:
        return f"No change is significant: {reasons}."
    if not others:
        return f"Significant: {', '.join(significant)}."
    rest = "The other change is" if len(others) == 1 else f"The other {len(others)} changes are"
    return f"Significant: {', '.join(significant)}. {rest} not: {reasons}."


def _no_tests(changes: Sequence[tuple[str, Change]]) -> list[NoTest]:
    """Return the reasons why some changes have no test, each once."""
    found = {change.no_test for _, change in changes}
    return [reason for reason in (ONE_SEED, SEEDS_AGREE) if reason in found]


def _verdict_changes(row_stats: Sequence[RowStats]) -> list[tuple[str, Change]]:
    """Return the changes of the rows that the roadmap's figure draws, each with the short name of its row."""
    rows = [one.row for one in row_stats]
    shown = {id(row) for row in drawn_rows(rows)}
    names = short_names(rows)
    return [
        (name, one.change)
        for name, one in zip(names, row_stats, strict=True)
        if one.change is not None and id(one.row) in shown
    ]


def _by_verdict(changes: Sequence[tuple[str, Change]]) -> dict[str, list[str]]:
    return {
        verdict: [f"{name} {one.difference.mean:+z.2f}" for name, one in changes if one.verdict == verdict]
        for verdict in (GAIN, LOSS, NOT_SIGNIFICANT)
    }


def detectable_text(changes: Sequence[Change]) -> str:
    """Return `2 to 3 seeds detect 2.08 points or more on average`; empty if no change has a test."""
    limits = [
        (change.difference.n, change.difference.min_detectable_effect)
        for change in changes
        if change.difference.min_detectable_effect is not None
    ]
    if not limits:
        return ""
    seeds = range_text(n for pair, _ in limits for n in pair)
    each = " on average" if len(limits) > 1 else ""
    return f"{seeds} seeds detect {fmean(limit for _, limit in limits):.2f} points or more{each}"


def interval_text(interval: Interval | None, signed: bool = False) -> str:
    """Return `80.1 to 80.9`; empty if there is no interval."""
    if interval is None:
        return ""
    form = "+z.2f" if signed else ".2f"
    return f"{interval.low:{form}} to {interval.high:{form}}"


def p_text(p: float | None) -> str:
    """Return `0.021` or `< 0.001`; empty if there is no p-value."""
    if p is None:
        return ""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def estimate_text(estimate: Estimate) -> str:
    """Return the interval of a mean, or why it has none."""
    return interval_text(estimate.interval) or f"none: {'one seed' if estimate.n < 2 else 'the seeds agree'}"
