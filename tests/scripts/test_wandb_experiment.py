"""The project and group that an experiment is logged to: those of its runs, or else the default."""

from pathlib import Path

import pytest
from fixture_types import Write

from roadmap.analysis.read_runs import read_runs


@pytest.mark.parametrize("first", ["", "logger:\n", "logger: {name: none}\n"])
def test_the_project_is_that_of_a_run_that_has_one(write_run: Write, tmp_path: Path, first: str) -> None:
    wandb_experiment = pytest.importorskip("roadmap.cli.wandb_experiment")
    runs = [write_run(tmp_path / "trial", "step0_resnet", seed=seed) for seed in (0, 1)]
    (runs[0] / "config.yaml").write_text(f"seed: 0\n{first}")
    assert wandb_experiment.find_project(read_runs(tmp_path / "trial")) == ("roadmap", None)
    (runs[1] / "config.yaml").write_text("seed: 1\nlogger: {name: wandb, project: mine, entity: lab}\n")
    assert wandb_experiment.find_project(read_runs(tmp_path / "trial")) == ("mine", "lab")


def test_the_group_is_that_of_the_runs_also_after_their_folder_was_renamed(
    write_run: Write, tmp_path: Path
) -> None:
    wandb_experiment = pytest.importorskip("roadmap.cli.wandb_experiment")
    write_run(tmp_path / "trial", "step0_resnet")
    (tmp_path / "trial").rename(tmp_path / "first")
    assert wandb_experiment.find_group(read_runs(tmp_path / "first")) == "trial"
