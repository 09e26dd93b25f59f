"""An experiment is published with all that shows it, nothing that is heavy, and can be drawn again from that."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from roadmap.analysis.folders import read_runs
from roadmap.analysis.results import aggregate
from roadmap.analysis.table import markdown_table
from roadmap.setups import _keep_shared

Load = Callable[[str], ModuleType]
ROOT = Path(__file__).parents[2]
SMALL = ("recipe.epochs=1", "recipe.warmup_epochs=0", "recipe.total_batch=256", "regime.width.modern=8")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel ablation that was really trained."""
    folder = tmp_path_factory.mktemp("outputs")
    words = ("+roadmap=step7_kernel", "model/kernel_size=3,7", "seed=0,1", f"data.root={folder}", *SMALL)
    command = [sys.executable, "train.py", "-m", *words, "experiment=trial", f"output_dir={folder}"]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return folder / "trial"


@pytest.mark.system  # a sweep of four runs: 15 s
def test_what_is_published_says_all_without_the_runs(
    tmp_path: Path, experiment: Path, load_script: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "results/trial"
    assert load_script("publish").main([str(experiment), "--to", str(target)]) == 0
    named = {Path(line) for line in capsys.readouterr().out.splitlines()}
    assert named == {path for path in target.rglob("*") if path.is_file()}
    assert not list(target.rglob("*.pt"))
    rows = aggregate(read_runs(target))
    assert rows == aggregate(read_runs(experiment))
    page = (target / "README.md").read_text()
    assert markdown_table(rows) in page
    assert "+roadmap=step7_kernel model/kernel_size=3 regime=micro data=digits" in page
    recipe = yaml.safe_load((target / "recipe.yaml").read_text())
    assert (recipe["recipe"]["total_batch"], recipe["recipe"]["epochs"]) == (256, 1)
    assert not {"seed", "model", "output_dir"} & recipe.keys()
    assert "root" not in recipe["data"]
    report = (target / "report.html").read_text()
    assert f"python scripts/plot_roadmap.py {target}" in report
    assert str(experiment.parent) not in report + page  # nor where the images lay
    (target / "README.md").write_text(page + "What I saw.\n")
    assert load_script("publish").main([str(experiment), "--to", str(target)]) == 0
    assert (target / "README.md").read_text() == page + "What I saw.\n"


def test_settings_that_runs_do_not_share_are_no_part_of_the_recipe() -> None:
    one = {"recipe": {"lr": 1, "epochs": 3}, "data": {"name": "a"}, "hardware": 1}
    assert _keep_shared(one, {"recipe": {"lr": 2, "epochs": 3}, "data": {"name": "a"}}) == {
        "recipe": {"epochs": 3},
        "data": {"name": "a"},
    }


@pytest.mark.system  # of the same sweep
def test_what_was_published_is_not_published_again(
    tmp_path: Path, experiment: Path, load_script: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    publish = load_script("publish")
    assert publish.main([str(experiment), "--to", str(tmp_path / "first")]) == 0
    assert publish.main([str(tmp_path / "first"), "--to", str(tmp_path / "second")]) == 1
    assert "this is what was published" in capsys.readouterr().err
    assert publish.main([str(tmp_path / "nothing")]) == 1
    assert not (tmp_path / "second").exists()
