"""The results in this repository match their runs: every table is computed again from the runs' rows."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pytest

from roadmap.analysis.ablation import mark_significant
from roadmap.analysis.ablation_table import find_ablation, markdown_effects
from roadmap.analysis.comparison import make_table, read_candidates, to_markdown
from roadmap.analysis.curves import runs_of
from roadmap.analysis.read_runs import read_runs
from roadmap.analysis.report.commands import training_commands
from roadmap.analysis.reproduction import find_agreement
from roadmap.analysis.results import Row, aggregate
from roadmap.analysis.run_table import DONE
from roadmap.analysis.significance import compute_row_stats, pool_rows
from roadmap.analysis.stats import Difference
from roadmap.analysis.table import markdown_notes, markdown_table, write_csv
from roadmap.cli.run_setups import read_setup_anywhere

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
ROADMAP = RESULTS / "cifar10-stride4"
TUNED = RESULTS / "cifar10-stride4-tuned"
EXPERIMENTS = sorted(path.parent for path in RESULTS.glob("*/runs.csv"))
COMPARISONS = sorted(path.parent for path in RESULTS.glob("*/comparison.csv"))


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_tables_say_what_the_runs_say(folder: Path, tmp_path: Path) -> None:
    runs = read_runs(folder)
    assert all(run.commit and run.config_hash for run in runs if run.state == DONE)
    rows = aggregate(runs)
    page = (folder / "README.md").read_text()
    assert markdown_table(rows) in page
    assert markdown_notes(rows) in page
    ablation = find_ablation(rows)
    assert (markdown_effects(ablation) in page) == ablation.leaves_path
    write_csv(rows, tmp_path / "roadmap.csv")
    assert (folder / "figures/roadmap.csv").read_text() == (tmp_path / "roadmap.csv").read_text()


@pytest.mark.parametrize("folder", EXPERIMENTS, ids=lambda folder: folder.name)
def test_todays_configs_give_what_was_trained(folder: Path) -> None:
    """By each run's configuration hash, so that the commands on its page train the same again."""
    page = (folder / "README.md").read_text()
    runs = read_runs(folder)
    rows = aggregate(runs)
    setups = [read_setup_anywhere(runs_of(row, runs)[0]) for row in rows]
    assert [setup.problem for setup in setups if setup] == [None] * len(rows)
    for command in training_commands(rows, setups):
        assert f"{command}\n" in page


def test_the_findings_say_what_the_runs_say() -> None:
    """Every number in their tables, and the number of agreeing signs in the README."""
    rows = aggregate(read_runs(ROADMAP))
    findings, readme = ((ROOT / name).read_text() for name in ("docs/findings.md", "README.md"))
    for line in [*steps_table(rows), *effects_table(rows)]:
        assert line in findings
    (pooled,) = pool_rows(rows).values()
    assert f"{pooled.std:.2f} points, {pooled.dof} dof" in findings
    for agreement in find_agreement(rows):
        value, interval = agreement.spearman.value, agreement.spearman.interval
        assert interval is not None
        said = f"{value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
        assert said in findings
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
    assert (
        f"the ten steps move by {min(moved):+.1f} to {max(moved):+.1f} points, on average by {fmean(moved):+.1f}"
        in findings
    )
    (changes,) = [found for found in find_agreement(list(tuned.values())) if found.same_sign is not None]
    spearman = changes.spearman
    assert spearman.interval is not None
    said = f"{spearman.value:.2f} ({spearman.interval.low:.2f} to {spearman.interval.high:.2f})"
    assert f"{changes.same_sign} of {changes.n} changes have the paper's sign, Spearman {said}" in findings


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
    axes = [one.axis for one in ablation.effects]
    return [f"| {' | '.join(line)} |" for line in zip(axes, *columns, strict=True)]


def _effect(one: Difference | None, is_significant: bool) -> str:
    if one is None:
        return ""
    return f"**{one.mean:+z.1f}**" if is_significant else f"{one.mean:+z.1f}"


@pytest.mark.parametrize("folder", COMPARISONS, ids=lambda folder: folder.name)
def test_a_comparison_says_what_its_runs_say(folder: Path) -> None:
    candidates = read_candidates(folder / "comparison.csv")
    table = to_markdown(make_table(candidates))
    assert (folder / "comparison.md").read_text() == table + "\n"
    assert table in (folder / "README.md").read_text()
