"""The findings say what the published runs say: every number of docs/findings.md is computed again."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pytest
from scipy import stats

from roadmap.analysis.ablation import mark_significant
from roadmap.analysis.ablation_table import find_ablation
from roadmap.analysis.comparison import Candidate, read_candidates, to_markdown
from roadmap.analysis.network_gap import by_seed, find_gaps, gap_notes, gap_table, pool_experiments
from roadmap.analysis.read_runs import read_runs
from roadmap.analysis.reproduction import Agreement, find_agreement
from roadmap.analysis.results import Row, aggregate
from roadmap.analysis.significance import Change, compute_row_stats, interval_text, pool_rows
from roadmap.analysis.stats import Difference, compare, compare_differences, correct_by_holm, estimate
from roadmap.runs.read_run import State

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
ROADMAP, TUNED = RESULTS / "cifar10-stride4", RESULTS / "cifar10-stride4-tuned"
LARGER = RESULTS / "cifar10-stride2"  # on maps of 16 to 2 pixels
TWIN = RESULTS / "cifar10-stride2-twin"  # step 1 there at step 12's cost
COMPARISONS = sorted(path.parent for path in RESULTS.glob("*/comparison.csv"))
FIRST, LAST = "step1_stage_ratio", "step12_downsample"
BATCHNORM, STEM = f"{LAST},norm=batchnorm", f"{LAST},stem=resnet"
BASES = {"ends-s4-e30-mix": "ends-s4-e30"}


@pytest.fixture(scope="module")
def ends() -> list[Candidate]:
    return read_candidates(RESULTS / "ends")


@pytest.fixture(scope="module")
def findings() -> str:
    """The page's text in one line."""
    return " ".join((ROOT / "docs/findings.md").read_text().split())


def test_the_findings_say_what_the_runs_say() -> None:
    """Every number in their tables, and the numbers of agreeing signs in the README."""
    small, large = (aggregate(read_runs(folder)) for folder in (ROADMAP, LARGER))
    findings, readme = ((ROOT / name).read_text() for name in ("docs/findings.md", "README.md"))
    for line in steps_table(small, large):
        assert line in findings
    signs = []
    for rows in (small, large):
        (pooled,) = pool_rows(rows).values()
        assert f"{pooled.std:.2f} points, {pooled.dof} dof" in findings
        for agreement in find_agreement(rows):
            assert f"{spearman_text(agreement)}" in findings
            if agreement.same_sign is not None:
                signs.append(str(agreement.same_sign))
    assert f"{signs[0]} and {signs[1]} of the 12 changes" in readme


def test_the_findings_say_where_the_roadmap_climbs(findings: str) -> None:
    small, large = (
        [fmean(row.top1) for row in aggregate(read_runs(folder)) if row.step_index is not None and not row.variant]
        for folder in (ROADMAP, LARGER)
    )
    pairs = [[top1[step] - top1[step - 2] for step in (5, 7, 9, 12)] for top1 in (small, large)]
    for top1, changes in zip((small, large), pairs, strict=True):
        changes[3] = top1[12] - top1[10]
    assert f"change by {pairs[0][0]:.1f}, {pairs[0][1]:.1f}, {pairs[0][2]:.1f} and {pairs[0][3]:.1f}." in findings
    gained, lost, regained, lost_again = pairs[1]
    assert f"Width and the inverted bottleneck gain {gained:.1f} points" in findings
    assert max(large) == large[5]
    assert f"{large[5] - large[0]:.1f} above step 0 (1.8 in the paper)" in findings
    assert f"take {-lost:.1f} back, GELU and fewer activations give {regained:.1f}" in findings
    assert f"LayerNorm and separate downsampling take {-lost_again:.1f}." in findings
    said = f"climbs to step 5, from {large[0]:.1f} to {large[5]:.1f}, and then falls to {large[12]:.1f}"
    assert said in findings
    assert f"All twelve together: {large[12] - large[0]:.1f} points" in findings
    for step, one in (
        (2, "the patchify stem costs 4.1 points on the small ones and 0.2 on"),
        (12, "gains 1.8 and"),
    ):
        assert one in findings
        assert f"{abs(small[step] - small[step - 1]):.1f}" in one


def test_the_findings_say_what_the_kernels_of_step_7_reach() -> None:
    findings = (ROOT / "docs/findings.md").read_text()
    for folder, name in ((ROADMAP, "8 to 1 px"), (LARGER, "16 to 2 px")):
        rows = aggregate(read_runs(folder))
        of_step7 = (row for row in rows if row.step == "step7_kernel" and row.variant)
        tried = {int(row.variant["kernel_size"]): row for row in of_step7}
        steps = {row.step: row for row in rows if not row.variant}
        tried = {3: steps["step6_move_up"]} | tried | {7: steps["step7_kernel"]}
        estimates = [estimate(tried[size].top1) for size in (3, 5, 7, 9, 11)]
        cells = [f"{one.mean:.1f} ({'one seed' if one.std is None else f'{one.std:.1f}'})" for one in estimates]
        assert f"| {name}: top-1 (std) | {' | '.join(cells)} |" in findings
    (pooled,) = pool_rows(rows).values()
    rate = compare(
        *(dict(zip(row.seeds, row.top1, strict=True)) for row in (tried[3], steps["step6_move_up"])), pooled
    )
    assert f"is {rate.mean:.1f} points below step 6" in " ".join(findings.split())


def test_the_findings_say_what_costs_step_12_most(findings: str) -> None:
    """On the larger maps, with the same values on the small ones."""
    small, large = (aggregate(read_runs(folder)) for folder in (ROADMAP, LARGER))
    costs = [
        {effect.name: effect.removed for effect in find_ablation(rows).effects if effect.removed is not None}
        for rows in (small, large)
    ]
    for name, said in (
        ("kernel_size", "{} points ({} to {}), beside"),
        ("norm", "beside {} ({} to {}) for LayerNorm"),
        ("stem", "and {} ({} to {}) for the stem"),
    ):
        one = costs[1][name]
        assert one.interval is not None
        numbers = [f"{-value:.1f}" for value in (one.mean, one.interval.high, one.interval.low)]
        assert said.format(*numbers) in findings
        assert one.n == (2, 2)
    on_small = [f"{-costs[0][name].mean:.1f}" for name in ("kernel_size", "norm", "stem")]
    assert f"on the small maps {on_small[0]}, {on_small[1]} and {on_small[2]})" in findings
    top1 = {row.name: fmean(row.top1) for row in large}
    said = f"With a kernel of 3 step 12 has {top1[f'{LAST},kernel_size=3']:.1f} there, and step 1 {top1[FIRST]:.1f}"
    assert said in findings


def test_the_findings_say_what_equal_cost_changes(findings: str) -> None:
    """Step 12 beside step 1 at a width that gives it about the same multiply-accumulates."""
    runs = read_runs(LARGER)
    twin, last = (
        [one for one in table if one.name == name] for table, name in ((read_runs(TWIN), FIRST), (runs, LAST))
    )
    (pooled,) = pool_rows(aggregate(runs)).values()
    top1 = [{run.seed: run.top1 for run in group if run.top1 is not None} for group in (twin, last)]
    gap = compare(*top1, pooled)
    said = f"{gap.mean:+.2f} points ({interval_text(gap.interval)}) at equal multiply-accumulates"
    assert said in findings
    costs = [f"{1000 * group[0].gmacs:.2f}" for group in (last, twin) if group[0].gmacs is not None]
    assert f"{costs[0]} and {costs[1]} million" in findings


def test_the_findings_say_what_a_rate_for_each_step_changes() -> None:
    """For the steps that have another rate there."""
    one, tuned = (
        {row.step: row for row in aggregate(read_runs(folder)) if not row.variant} for folder in (ROADMAP, TUNED)
    )
    moved = [fmean(tuned[step].top1) - fmean(one[step].top1) for step in one if tuned[step].top1 != one[step].top1]
    assert len(moved) == 10
    findings = " ".join((ROOT / "docs/findings.md").read_text().split())
    said = f"the ten steps move by {min(moved):+.1f} to {max(moved):+.1f} points, on average by {fmean(moved):+.1f}"
    assert said in findings
    (changes,) = [found for found in find_agreement(list(tuned.values())) if found.same_sign is not None]
    said = f"{changes.same_sign} of {changes.n} changes have the paper's sign, Spearman {spearman_text(changes)}"
    assert said in findings


def test_the_findings_say_what_the_ends_say(ends: list[Candidate], findings: str) -> None:
    """A line for each cell of the protocol, with its standard deviation."""
    pooled = pool_experiments(ends)
    written = (RESULTS / "ends/gaps.md").read_text()
    for pair in ((FIRST, LAST), (FIRST, STEM), (FIRST, BATCHNORM), (BATCHNORM, LAST)):
        found = find_gaps(ends, *pair, pooled, BASES)
        assert f"{to_markdown(gap_table(found))}\n\n{gap_notes(*pair, found, pooled)}\n" in written
    for candidate, gap in zip(ends, find_gaps(ends, FIRST, LAST, pooled), strict=True):
        assert gap.difference.interval is not None
        low, high = gap.difference.interval.low, gap.difference.interval.high
        top1 = [by_seed(candidate, name).values() for name in (FIRST, LAST, BATCHNORM, STEM)]
        means = [f"{fmean(values):.1f}" if values else "" for values in top1]
        if 0 < len(top1[3]) < len(top1[0]):
            means[3] += f" ({len(top1[3])} seeds)"
        cells = [str(gap.difference.n[0]), *means[:2]]
        cells += [f"{gap.difference.mean:+.2f} ({low:+.2f} to {high:+.2f})", *means[2:]]
        assert f"| {' | '.join(cells)} |".replace("  ", " ") in findings


def test_the_findings_say_which_effects_of_the_ends_are_significant(ends: list[Candidate], findings: str) -> None:
    """P-values are corrected over the effects of all factors."""
    pooled = pool_experiments(ends)
    gaps = find_gaps(ends, FIRST, LAST, pooled, BASES)
    norm = find_gaps(ends, BATCHNORM, LAST, pooled)
    effects = {one.experiment: one.effect for one in gaps if one.effect is not None}
    effects |= {f"norm {one.experiment}": one.difference for one in norm}
    corrected = dict(zip(effects, correct_by_holm([one.p for one in effects.values()]), strict=True))
    assert f"corrected over the {['six', 'seven', 'eight', 'nine', 'ten'][len(effects) - 6]} effects" in findings
    for name in ("ends-s2-e10", "ends-s4-e30", "ends-s2-e30"):
        assert f"{effects[name].mean:.2f} points nearer" in findings
        assert interval_text(effects[name].interval) in findings
    for name, digits in (("ends-s2-e10", 3), ("ends-s4-e30", 2), ("norm ends-s4-e10", 3), ("norm ends-s4-e30", 3)):
        assert f"p {corrected[name]:.{digits}f}" in findings
    mixing = effects["ends-s4-e30-mix"]
    assert mixing.interval is not None
    low, high = -mixing.interval.high, -mixing.interval.low
    assert f"{-mixing.mean:.2f} points further behind ({low:.2f} to {high:.2f}; one seed)" in findings
    wide, large = effects["ends-s4-e10-wide"], effects["ends-s1-e10"]
    assert wide.interval is not None
    assert f"{-wide.mean:.2f} ({-wide.interval.high:.2f} to {-wide.interval.low:.2f}; one seed)" in findings
    said = f"{large.mean:.2f} ({interval_text(large.interval)}; p {corrected['ends-s1-e10']:.2f}; one seed)"
    assert said in findings
    for one in norm:
        assert one.difference.interval is not None
        low, high = -one.difference.interval.high, -one.difference.interval.low
        assert re.search(rf"{-one.difference.mean:.2f}.{{,40}} \({low:.2f} to {high:.2f}; p", findings)
    shorter, longer = (
        next(one for one in gaps if one.experiment == name) for name in ("ends-s2-e10", "ends-s2-e30")
    )
    more = compare_differences(shorter.difference, longer.difference, pooled)
    assert f"{more.mean:.2f} points ({interval_text(more.interval)}) more than larger maps alone" in findings


def test_the_findings_apply_the_protocols_rule_of_the_stem(ends: list[Candidate], findings: str) -> None:
    """S - A above 0 while G is below 0, in the cells of three seeds."""
    (small, long, large) = (
        one for one in find_gaps(ends, FIRST, STEM, pool_experiments(ends)) if one.difference.n[0] == 3
    )
    said = f"{small.difference.mean:.2f} points above step 1 ({interval_text(small.difference.interval)})"
    assert said in findings
    assert small.difference.interval is not None
    assert small.difference.interval.low > 0
    for one in (long, large):
        assert f"({one.difference.mean:+.2f}, {interval_text(one.difference.interval)})" in findings


def test_the_findings_say_what_equal_variances_bring(ends: list[Candidate], findings: str) -> None:
    """The same effects with each cell's own standard deviation, after Welch."""
    cells = {
        (one.name, network): list(by_seed(one, network).values())
        for one in ends
        for network in (FIRST, LAST, BATCHNORM)
    }

    def welch(*parts: tuple[int, str, str]) -> float:
        values = [cells[experiment, network] for _, experiment, network in parts]
        mean = sum(sign * fmean(one) for (sign, *_), one in zip(parts, values, strict=True))
        errors = [stats.sem(one) ** 2 for one in values]
        dof = sum(errors) ** 2 / sum(error**2 / (len(one) - 1) for error, one in zip(errors, values, strict=True))
        return float(2 * stats.t.sf(abs(mean) / math.sqrt(sum(errors)), dof))

    def effect(experiment: str) -> float:
        base = "ends-s4-e10"
        return welch((1, experiment, LAST), (-1, experiment, FIRST), (-1, base, LAST), (1, base, FIRST))

    norm = {
        name: welch((1, name, LAST), (-1, name, BATCHNORM))
        for name in ("ends-s4-e10", "ends-s4-e30", "ends-s2-e10")
    }
    assert f"effect of the map size has p {effect('ends-s2-e10'):.2f} before" in findings
    assert f"LayerNorm p {norm.pop('ends-s4-e10'):.2f} on the small maps and below 0.02 in" in findings
    assert max(norm.values()) < 0.02
    assert f"that of both factors p {effect('ends-s2-e30'):.3f}" in findings


def test_the_findings_say_which_epoch_is_the_best(findings: str) -> None:
    tables = [read_runs(folder) for folder in (ROADMAP, TUNED, LARGER, TWIN)]
    tables += [one.runs for folder in COMPARISONS for one in read_candidates(folder)]
    done = (run for table in tables for run in table if run.state is State.done)
    runs = list({(run.experiment, run.name, run.data, run.seed): run for run in done}.values())
    short, long = ([run for run in runs if (run.epochs > 10) is is_long] for is_long in (False, True))
    last = [sum(run.best_epoch == run.epochs for run in group) for group in (short, long)]
    above = max(run.best_top1 - run.top1 for run in long if run.best_top1 and run.top1)
    assert (
        f"the last one is the best in {last[0]} of {len(short)} runs; of 30 or 100 in {last[1]} of {len(long)}, "
        f"where the best is at most {above:.1f} points above it" in findings
    )


def spearman_text(agreement: Agreement) -> str:
    value, interval = agreement.spearman.value, agreement.spearman.interval
    return f"{value:.2f}" + (f" ({interval.low:.2f} to {interval.high:.2f})" if interval else "")


def steps_table(small: Sequence[Row], large: Sequence[Row]) -> list[str]:
    """Return a line for each step: the paper's change, then those of small and of large maps.

    These are mean and standard deviation, the change, and the effect of the choice in the last step, on small maps
    also in the first. What is significant with the pooled standard deviation is in bold.
    """
    lines: dict[str, list[str]] = {}
    for rows, places in ((small, ("in step 12", "in step 0")), (large, ("in step 12",))):
        effects = effects_of(rows)
        for one in compute_row_stats(rows, pooled_stds=pool_rows(rows)):
            if one.row.variant or one.estimate is None or one.row.paper is None:
                continue
            before = one.change.before.paper if one.change is not None else None
            papers = "" if before is None else f"{one.row.paper.top1 - before.top1:+.2f}"
            cells = lines.setdefault(one.row.step, [one.row.step, papers])
            spread = "one seed" if one.estimate.std is None else f"{one.estimate.std:.1f}"
            cells += [f"{one.estimate.mean:.1f} ({spread})", _change(one.change)]
            cells += [effects.get((place, one.row.step), "") for place in places]
    return ["".join(f"| {cell} " if cell else "| " for cell in cells) + "|" for cells in lines.values()]


def _change(change: Change | None) -> str:
    if change is None:
        return ""
    text = f"{change.difference.mean:+.1f}"
    return text if change.verdict == "not significant" else f"**{text}**"


def effects_of(rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """Return the effect of each step's choice by column and step, in bold if it is significant."""
    ablation = find_ablation(rows)
    steps = {choice.axis: choice.step for choice in rows[0].roadmap.choices}
    return {
        (column, steps[effect.name]): _effect(one, is_significant)
        for column, found in ablation.columns().items()
        for effect, one, is_significant in zip(ablation.effects, found, mark_significant(found), strict=True)
    }


def _effect(one: Difference | None, is_significant: bool) -> str:
    if one is None:
        return ""
    return f"**{one.mean:+z.1f}**" if is_significant else f"{one.mean:+z.1f}"
