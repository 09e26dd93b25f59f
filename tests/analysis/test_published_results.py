"""The results in this repository match their runs: every table is computed again from the runs' rows."""

import shlex
from dataclasses import asdict
from pathlib import Path

import pytest

from roadmap.analysis.ablation_table import find_ablation, markdown_effects
from roadmap.analysis.comparison import make_table, read_candidates, to_markdown
from roadmap.analysis.configurations import read_setup, read_values, read_words
from roadmap.analysis.curves import runs_of
from roadmap.analysis.read_runs import read_runs
from roadmap.analysis.report.commands import training_commands
from roadmap.analysis.results import aggregate
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
    rows = aggregate(runs)
    commands, note = training_commands((run for row in rows for run in runs_of(row, runs)), rows[0].roadmap)
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


@pytest.mark.parametrize("folder", COMPARISONS, ids=lambda folder: folder.name)
def test_a_comparison_says_what_its_runs_say(folder: Path) -> None:
    candidates = read_candidates(folder)
    table = to_markdown(make_table(candidates))
    assert (folder / "comparison.md").read_text() == table + "\n"
    page = (folder / "README.md").read_text()
    assert table in page or "](comparison.md)" in page  # a wide one is a page of its own
