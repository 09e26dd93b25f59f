"""Optuna's sweeper searches a recipe: each run returns its top-1, and a trial that fails ends the search."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.n_jobs=1", "recipe.lr=tag(log,interval(1e-4,1e-2))")
QUICK = ("recipe.epochs=1", "recipe.warmup_epochs=0", "recipe.total_batch=1024", "experiment='search-${recipe.lr}'")

pytestmark = [
    pytest.mark.system,  # processes of their own
    pytest.mark.skipif(
        importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper") is None,
        reason="pip install hydra-optuna-sweeper 'sqlalchemy<2'",
    ),
]


def search(output_dir: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    place = (f"output_dir={output_dir}", f"hydra.sweep.dir={output_dir}/search")
    return subprocess.run(
        [sys.executable, "train.py", "-m", *SEARCH, *QUICK, *place, *overrides],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_search_finds_the_best_of_its_runs(tmp_path: Path) -> None:
    done = search(tmp_path, "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=2", "+roadmap=step0_resnet")
    assert done.returncode == 0, done.stderr
    top1 = [json.loads(path.read_text())["top1"] for path in tmp_path.rglob("summary.json")]
    assert len(top1) == 2
    assert f"best_value: {max(top1)}" in (tmp_path / "search/optimization_results.yaml").read_text()


def test_a_trial_that_fails_ends_the_search_with_a_sentence(tmp_path: Path) -> None:
    done = search(tmp_path, "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=1", "init_from=none.pt")
    assert done.returncode == 1
    assert "error: there is no weights file " in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_search_for_the_worst_is_refused(tmp_path: Path) -> None:
    done = search(tmp_path, "hydra.sweeper.n_trials=1")
    assert done.returncode == 1
    assert "hydra.sweeper.direction=maximize" in done.stderr
