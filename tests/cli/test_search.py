"""Optuna's sweeper searches a recipe: each run returns its top-1, and a trial that fails ends the search."""

import importlib.util
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "recipe.lr=tag(log,interval(1e-4,1e-2))")
QUICK = ("recipe.epochs=1", "recipe.warmup_epochs=0", "recipe.total_batch=1024", "experiment='search-${recipe.lr}'")

pytestmark = [
    pytest.mark.system,  # processes of their own
    pytest.mark.skipif(
        importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper") is None,
        reason="pip install hydra-optuna-sweeper 'sqlalchemy<2'",
    ),
]


@pytest.fixture
def search(run: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    place = (f"output_dir={tmp_path}", f"hydra.sweep.dir={tmp_path}/search")
    return partial(run, "-m", *SEARCH, *QUICK, *place)


def test_a_search_finds_the_best_of_its_runs(search: Callable[..., Any], tmp_path: Path) -> None:
    done = search("hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=2", "+roadmap=step0_resnet")
    assert done.status == 0, done.err
    top1 = [json.loads(path.read_text())["top1"] for path in tmp_path.rglob("summary.json")]
    assert len(top1) == 2
    assert f"best_value: {max(top1)}" in (tmp_path / "search/optimization_results.yaml").read_text()


def test_a_trial_that_fails_ends_the_search_with_a_sentence(search: Callable[..., Any]) -> None:
    done = search("hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=1", "init_from=none.pt")
    assert done.status == 1
    assert "error: there is no weights file " in done.err
    assert "Traceback" not in done.err


def test_a_search_for_the_worst_is_refused(search: Callable[..., Any]) -> None:
    done = search("hydra.sweeper.n_trials=1")
    assert done.status == 1
    assert "hydra.sweeper.direction=maximize" in done.err
