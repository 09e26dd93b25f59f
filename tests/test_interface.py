"""The public Python interface: the examples of its docstrings, and the tables that it returns."""

import doctest
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import roadmap
from roadmap.analysis.results import aggregate, read_runs
from roadmap.analysis.significance import compute_row_stats

PUBLISHED = Path("results/cifar10-stride4")


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(roadmap.__file__).parents[1])


@pytest.mark.parametrize(
    "example", doctest.DocTestFinder().find(roadmap, extraglobs={"roadmap": roadmap}), ids=lambda one: one.name
)
def test_the_examples_of_the_docstrings(example: doctest.DocTest) -> None:
    assert doctest.DocTestRunner().run(example).failed == 0


def test_every_public_function_has_an_example() -> None:
    functions = [getattr(roadmap, name) for name in roadmap.__all__ if not name.startswith("__")]
    assert [one.__name__ for one in functions if ">>>" not in (one.__doc__ or "")] == ["compose"]  # in the module's


def test_the_tables_are_those_of_the_analysis() -> None:
    runs = read_runs(PUBLISHED)
    results = roadmap.load_results(PUBLISHED)
    assert list(results.network) == [run.name for run in runs]
    assert list(results.top1) == [run.top1 for run in runs]
    stats = [one for one in compute_row_stats(aggregate(runs)) if one.estimate is not None]
    changes = roadmap.changes(results)
    assert list(changes.label) == [one.row.label for one in stats]
    expected = [one.change.difference.mean for one in stats if one.change]
    assert changes.change.dropna().tolist() == pytest.approx(expected)
    assert changes.set_index("network").paper_change["step7"] == 0.65


def test_rows_that_are_left_out_do_not_count() -> None:
    results = roadmap.load_results(PUBLISHED)
    some = results[
        results.step.isin(["step0_resnet", "step1_stage_ratio"]) & (results.seed < 2) & (results.variant == "")
    ]
    changes = roadmap.changes(some)
    assert changes.network.tolist() == ["step0", "step1"]
    assert changes.seeds.tolist() == [2, 2]
    assert roadmap.effects(some).place.tolist() == ["on the path", "in step 0"]  # which is one comparison
    assert roadmap.effects(some.head(1)).empty


def test_unfinished_runs_have_no_results(tmp_path: Path) -> None:
    results = roadmap.load_results(PUBLISHED).astype({"state": "str"})
    results.loc[0, ["state", "top1"]] = "failed", pd.NA
    assert roadmap.changes(results).seeds[0] == 2


def test_the_interface_is_imported_without_torch_and_pandas() -> None:
    code = "import sys, roadmap; roadmap.list_axes(); print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
