"""The results in this repository match their runs: every table is computed again from the runs' rows."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

import pytest

from roadmap.analysis.ablation import mark_significant
from roadmap.analysis.ablation_table import find_ablation, markdown_effects
from roadmap.analysis.comparison import make_table, read_candidates, to_markdown
from roadmap.analysis.configurations import read_setup, read_values, read_words
from roadmap.analysis.curves import runs_of
from roadmap.analysis.network_gap import by_seed, find_gaps, gap_notes, gap_table, pool_experiments
from roadmap.analysis.read_runs import read_runs
from roadmap.analysis.report.commands import training_commands
from roadmap.analysis.reproduction import Agreement, find_agreement
from roadmap.analysis.results import Row, aggregate
from roadmap.analysis.significance import compute_row_stats, interval_text, pool_rows
from roadmap.analysis.stats import Difference, compare_differences, correct_by_holm
from roadmap.analysis.table import markdown_notes, markdown_table, write_csv
from roadmap.config import plan_runs
from roadmap.runs.config_hash import NEUTRAL_VALUES, hash_config
from roadmap.runs.read_run import State

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
ROADMAP = RESULTS / "cifar10-stride4"
TUNED = RESULTS / "cifar10-stride4-tuned"
EXPERIMENTS = sorted(path.parent for path in RESULTS.glob("*/runs.csv"))
COMPARISONS = sorted(path.parent for path in RESULTS.glob("*/comparison.csv"))


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_tables_say_what_the_runs_say(folder: Path, tmp_path: Path) -> None:
    runs = read_runs(folder)
    assert all(run.commit and run.config_hash for run in runs if run.state is State.done)
    rows = aggregate(runs)
    page = (folder / "README.md").read_text()
    assert markdown_table(rows) in page
    assert markdown_notes(rows) in page
    ablation = find_ablation(rows)
    assert (markdown_effects(ablation) in page) == ablation.leaves_path
    write_csv(rows, tmp_path / "roadmap.csv")
    assert (folder / "figures/roadmap.csv").read_text() == (tmp_path / "roadmap.csv").read_text()


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_every_run_recorded_the_values_of_its_hash_and_its_command(folder: Path) -> None:
    page = (folder / "README.md").read_text()
    runs = read_runs(folder)
    for run in runs:
        values = read_values(run)
        assert values is not None
        assert hash_config(values) == run.config_hash
        setup = read_setup(run)
        assert setup is not None
        assert setup.problem is None
    commands, note = training_commands(run for row in aggregate(runs) for run in runs_of(row, runs))
    assert note == ""
    assert "```bash\n" + "\n".join(commands) + "\n```" in page


def commands_of_networks() -> dict[str, tuple[str, str | None]]:
    """Return a published run's words and its hash for each design and setting.

    Composition takes a third of a second, so of the runs that differ only in the seed, the first stands for all.
    """
    tables = [run for folder in EXPERIMENTS for run in read_runs(folder)]
    tables += [run for folder in COMPARISONS for one in read_candidates(folder) for run in one.runs]
    found: dict[str, tuple[str, str | None]] = {}
    for run in tables:
        words = read_words(run)
        assert words is not None
        network = " ".join(word for word in words if not word.startswith(("seed=", "experiment=")))
        found.setdefault(network, (shlex.join(words), run.config_hash))
    return found


@pytest.mark.parametrize("every", [40, pytest.param(1, marks=pytest.mark.system)])  # all: 38 compositions, 20 s
def test_a_recorded_command_composes_to_its_recorded_hash(every: int) -> None:
    for words, config_hash in list(commands_of_networks().values())[::every]:
        (run,) = plan_runs(shlex.split(words), is_sweep=False)
        assert hash_config(asdict(run.config)) == config_hash, words


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_an_added_key_changes_no_published_hash(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEUTRAL_VALUES, "model.newer_axis", "none")
    for run in read_runs(folder):
        values = read_values(run)
        assert values is not None
        assert values["model"]["newer_axis"] == "none"
        assert hash_config(values) == run.config_hash
        values["model"]["newer_axis"] = "global"
        assert hash_config(values) != run.config_hash


def test_the_findings_say_what_the_runs_say() -> None:
    """Every number in their tables, and the number of agreeing signs in the README."""
    rows = aggregate(read_runs(ROADMAP))
    findings, readme = ((ROOT / name).read_text() for name in ("docs/findings.md", "README.md"))
    for line in [*steps_table(rows), *effects_table(rows)]:
        assert line in findings
    (pooled,) = pool_rows(rows).values()
    assert f"{pooled.std:.2f} points, {pooled.dof} dof" in findings
    for agreement in find_agreement(rows):
        assert f"Spearman {spearman_text(agreement)}." in findings
        if agreement.same_sign is not None:
            assert f"{agreement.same_sign} of the {agreement.n} changes" in readme


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


def test_the_findings_say_what_the_ends_say() -> None:
    """A line for each cell of the protocol, with its standard deviation."""
    candidates = read_candidates(RESULTS / "ends")
    first, last = "step1_stage_ratio", "step12_downsample"
    batchnorm, stem = f"{last},norm=batchnorm", f"{last},stem=resnet"
    pooled = pool_experiments(candidates)
    written = (RESULTS / "ends/gaps.md").read_text()
    for pair in ((first, last), (first, stem), (first, batchnorm), (batchnorm, last)):
        found = find_gaps(candidates, *pair, pooled)
        assert f"{to_markdown(gap_table(found))}\n\n{gap_notes(*pair, found, pooled)}\n" in written
    gaps = find_gaps(candidates, first, last, pooled)
    findings = (ROOT / "docs/findings.md").read_text()
    for candidate, gap in zip(candidates, gaps, strict=True):
        assert gap.difference.interval is not None
        low, high = gap.difference.interval.low, gap.difference.interval.high
        top1 = [by_seed(candidate, name).values() for name in (first, last, batchnorm, stem)]
        means = [f"{fmean(values):.1f}" if values else "" for values in top1]
        cells = [str(gap.difference.n[0]), *means[:2]]
        cells += [f"{gap.difference.mean:+.2f} ({low:+.2f} to {high:+.2f})", *means[2:]]
        assert f"| {' | '.join(cells)} |" in findings


def test_the_findings_say_which_effects_of_the_ends_are_significant() -> None:
    """P-values are corrected over the effects of all factors, and those of the ResNet's stem over its cells."""
    candidates = read_candidates(RESULTS / "ends")
    pooled = pool_experiments(candidates)
    first, last = "step1_stage_ratio", "step12_downsample"
    gaps = find_gaps(candidates, first, last, pooled)
    norm = find_gaps(candidates, f"{last},norm=batchnorm", last, pooled)
    effects = {one.experiment: one.effect for one in gaps if one.effect is not None}
    effects |= {f"norm {one.experiment}": one.difference for one in norm}
    corrected = dict(zip(effects, correct_by_holm([one.p for one in effects.values()]), strict=True))
    findings = " ".join((ROOT / "docs/findings.md").read_text().split())
    assert f"corrected over the {['six', 'seven', 'eight'][len(effects) - 6]} effects" in findings
    for name in ("ends-s2-e10", "ends-s4-e30", "ends-s2-e30"):
        assert f"{effects[name].mean:.2f} points nearer" in findings
        assert interval_text(effects[name].interval) in findings
    for name, digits in (("ends-s2-e10", 3), ("ends-s4-e30", 2), ("norm ends-s4-e10", 3), ("norm ends-s4-e30", 3)):
        assert f"p {corrected[name]:.{digits}f}" in findings
    for one in norm:
        assert one.difference.interval is not None
        low, high = -one.difference.interval.high, -one.difference.interval.low
        assert re.search(rf"{-one.difference.mean:.2f}.{{,40}} \({low:.2f} to {high:.2f}; p", findings)
    stem = find_gaps(candidates, first, f"{last},stem=resnet", pooled)
    assert (
        f"p {correct_by_holm([one.difference.p for one in stem])[0]:.2f}, corrected over the five cells" in findings
    )
    shorter, longer = (
        next(one for one in gaps if one.experiment == name) for name in ("ends-s2-e10", "ends-s2-e30")
    )
    more = compare_differences(shorter.difference, longer.difference, pooled)
    assert f"{more.mean:.2f} points ({interval_text(more.interval)}) more than larger maps alone" in findings


def spearman_text(agreement: Agreement) -> str:
    value, interval = agreement.spearman.value, agreement.spearman.interval
    return f"{value:.2f}" + (f" ({interval.low:.2f} to {interval.high:.2f})" if interval else "")


def steps_table(rows: Sequence[Row]) -> list[str]:
    """Return lines of step, mean and standard deviation, change, the paper's change, and the pooled verdict."""
    lines = []
    for one in compute_row_stats(rows, pooled_stds=pool_rows(rows)):
        if one.row.variant or one.estimate is None or one.row.paper is None:
            continue
        ours = f"{one.estimate.mean:.1f} ({one.estimate.std:.1f})"
        if one.change is None:
            lines.append(f"| {one.row.step} | {ours} | | | |")
            continue
        assert one.change.before.paper is not None
        change, papers = one.change.difference.mean, one.row.paper.top1 - one.change.before.paper.top1
        lines.append(f"| {one.row.step} | {ours} | {change:+.1f} | {papers:+.2f} | {one.change.verdict} |")
    return lines


def effects_table(rows: Sequence[Row]) -> list[str]:
    """Return lines of a choice and its effects, in bold if they are significant."""
    ablation = find_ablation(rows)
    columns = [
        [_effect(one, is_significant) for one, is_significant in zip(found, mark_significant(found), strict=True)]
        for found in ablation.columns().values()
    ]
    axes = [one.name for one in ablation.effects]
    return [f"| {' | '.join(line)} |" for line in zip(axes, *columns, strict=True)]


def _effect(one: Difference | None, is_significant: bool) -> str:
    if one is None:
        return ""
    return f"**{one.mean:+z.1f}**" if is_significant else f"{one.mean:+z.1f}"


@pytest.mark.parametrize("folder", COMPARISONS, ids=lambda folder: folder.name)
def test_a_comparison_says_what_its_runs_say(folder: Path) -> None:
    candidates = read_candidates(folder)
    table = to_markdown(make_table(candidates))
    assert (folder / "comparison.md").read_text() == table + "\n"
    assert table in (folder / "README.md").read_text()
