"""The results in this repository are what their runs say: every table is made again from the rows of runs."""

from pathlib import Path

import pytest

from roadmap.analysis.comparison import make_table, read_candidates, to_markdown
from roadmap.analysis.folders import read_runs
from roadmap.analysis.results import aggregate
from roadmap.analysis.run import DONE
from roadmap.analysis.table import markdown_notes, markdown_table, write_csv

RESULTS = Path(__file__).parents[2] / "results"
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
    write_csv(rows, tmp_path / "roadmap.csv")
    assert (folder / "figures/roadmap.csv").read_text() == (tmp_path / "roadmap.csv").read_text()


@pytest.mark.parametrize("folder", COMPARISONS, ids=lambda folder: folder.name)
def test_a_comparison_says_what_its_runs_say(folder: Path) -> None:
    candidates = read_candidates(folder / "comparison.csv")
    table = to_markdown(make_table(candidates))
    assert (folder / "comparison.md").read_text() == table + "\n"
    assert table in (folder / "README.md").read_text()
