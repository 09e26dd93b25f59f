"""A command is composed once, in Hydra's own surroundings: what was planned is what each job is handed."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadmap.config import PlannedRun
from roadmap.runs.overrides import read_overrides

Train = Callable[..., Any]  # see conftest.py
STEP = """\
# @package _global_
defaults:
  - /roadmap/step12_downsample
  - override /model/kernel_size: "9"
  - _self_
step:
  name: step13_mine
  index: 13
  label: kernel 9 at the end
"""
EXPERIMENT = """\
# @package _global_
defaults:
  - config
  - roadmap: step13_mine
  - override /recipe: paper
  - _self_
experiment: exp1
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of configs of a user's own, outside this repository."""
    folder = tmp_path / "own configs"
    for name, content in {"roadmap/step13_mine": STEP, "exp1": EXPERIMENT}.items():
        file = folder / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


def places(runs: list[PlannedRun]) -> list[str]:
    return [f"{run.config.experiment}/{run.name}/seed{run.config.seed}" for run in runs]


@pytest.mark.parametrize("flags", [(), ("-m", "seed=0,1")])
def test_a_time_in_a_name_is_the_commands(train: Train, trained: list[PlannedRun], flags: tuple[str, ...]) -> None:
    outcome = train(*flags, "experiment='run-${now:%H-%M-%S-%f}'", "+roadmap=step0_resnet")
    assert (outcome.status, outcome.err) == (0, "")
    assert len({run.config.experiment for run in trained}) == 1
    assert len(trained) == (2 if flags else 1)


def test_a_name_may_be_of_what_hydra_knows(train: Train, trained: list[PlannedRun]) -> None:
    name = "experiment='${hydra:runtime.choices.recipe}-${hydra:job.num}-${hydra:job.override_dirname}'"
    without = "hydra.job.config.override_dirname.exclude_keys=[experiment,output_dir]"
    assert train("-m", name, without, "recipe=short,original", "seed=3").status == 0
    assert [run.config.experiment for run in trained] == [
        "short-0-recipe=short,seed=3",
        "original-1-recipe=original,seed=3",
    ]


@pytest.mark.parametrize("is_sweep", [False, True])
@pytest.mark.parametrize("way", ["--config-dir", "hydra.searchpath"])
def test_a_step_of_a_folder_of_ones_own_has_its_name(
    train: Train, trained: list[PlannedRun], own: Path, way: str, is_sweep: bool
) -> None:
    overrides = ["--config-dir", str(own)] if way == "--config-dir" else [f"hydra.searchpath=['file://{own}']"]
    steps = "step13_mine,step0_resnet" if is_sweep else "step13_mine"
    outcome = train(*(["-m"] if is_sweep else []), *overrides, f"+roadmap={steps}")
    assert (outcome.status, outcome.err) == (0, "")
    expected = ["micro-digits/step13_mine/seed0", "micro-digits/step0_resnet/seed0"]
    assert places(trained) == expected[: 2 if is_sweep else 1]
    assert trained[0].folders == (str(own),)


@pytest.mark.system
def test_a_sweep_of_the_roadmap_holds_the_steps_of_ones_own(
    train: Train, trained: list[PlannedRun], own: Path
) -> None:
    outcome = train("-m", "--config-dir", str(own), "+sweep=roadmap")
    assert outcome.status == 0
    assert len(trained) == 14
    assert "micro-digits/step13_mine/seed0" in places(trained)
    assert f"plan_roadmap.py -m --config-dir '{own}' +sweep=roadmap" in outcome.out


def test_another_primary_config_brings_its_choices(train: Train, trained: list[PlannedRun], own: Path) -> None:
    outcome = train("--config-dir", str(own), "--config-name", "exp1", "seed=4", "model/norm=batchnorm")
    assert (outcome.status, trained[0].config.recipe.name) == (0, "paper")
    assert places(trained) == ["exp1/step13_mine,norm=batchnorm/seed4"]


def test_a_config_may_sweep(train: Train, trained: list[PlannedRun], own: Path) -> None:
    sweep = "{mode: MULTIRUN, sweeper: {params: {seed: range(2), +roadmap: 'step13_mine,step0_resnet'}}}"
    (own / "exp2.yaml").write_text(f"# @package _global_\ndefaults: [config, _self_]\nhydra: {sweep}\n")
    assert train("--config-dir", str(own), "--config-name", "exp2").status == 0
    assert [place.removeprefix("micro-digits/") for place in places(trained)] == [
        "step13_mine/seed0",
        "step0_resnet/seed0",
        "step13_mine/seed1",
        "step0_resnet/seed1",
    ]


def test_a_step_without_a_name_of_its_own_is_a_variant_of_its_base(
    train: Train, trained: list[PlannedRun], own: Path
) -> None:
    words = ("+roadmap=step13_mine", "step.name=other", "model/norm=batchnorm")
    assert train("--config-dir", str(own), *words).status == 0
    assert places(trained) == ["micro-digits/other,norm=batchnorm/seed0"]


@pytest.mark.parametrize(
    ("name", "typed"),
    [("100", "100"), ("1e-3", "1e-3"), ("null", "'null'"), ("été", "été"), ("a,b (c)", "'a,b (c)'")],
)
def test_a_recipe_of_any_name(train: Train, trained: list[PlannedRun], own: Path, name: str, typed: str) -> None:
    (own / "recipe").mkdir()
    (own / f"recipe/{name}.yaml").write_text(f"defaults: [short]\nname: {json.dumps(name)}\nlr: 0.25\n")
    outcome = train("-m", "--config-dir", str(own), f"recipe={typed}")
    assert (outcome.status, outcome.err) == (0, "")
    assert (trained[-1].config.recipe.name, trained[-1].config.recipe.lr) == (name, 0.25)


def test_processes_are_as_many_as_gpus_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    from roadmap.cli import processes as isolation
    from roadmap.config import plan_command, prepare_overrides

    def count(*overrides: str) -> int:
        asked = plan_command(prepare_overrides(["hydra/launcher=processes", *overrides]), is_sweep=True)
        return int(asked.cfg.hydra.launcher.n_jobs)

    monkeypatch.setattr(isolation, "find_gpus", lambda: ["0", "1"])
    assert (count(), count("hydra.launcher.n_jobs=1")) == (2, 1)
    monkeypatch.setattr(isolation, "find_gpus", lambda: [])
    assert count() == 1


def test_a_run_records_the_configs_that_it_came_from(train: Train, trained: list[PlannedRun], own: Path) -> None:
    words = ("--config-dir", str(own), "+roadmap=step13_mine", "model/norm=batchnorm")
    assert train(*words, "hydra/launcher=basic").status == 0
    folder = Path(trained[0].config.output_dir) / "micro-digits/step13_mine,norm=batchnorm/seed0"
    recorded = read_overrides(folder)
    assert recorded is not None
    assert recorded[:3] == (f"--config-dir={own}", *words[2:])
    assert not any("hydra" in word for word in recorded)
    assert train(*recorded).status == 0
    assert len(trained) == 1  # of the same configuration, so it is done already; another one would be refused


def test_a_run_leaves_logging_as_it_was(train: Train, trained: list[PlannedRun]) -> None:
    logger = logging.getLogger("roadmap.analysis")
    before = (logging.getLogger().level, list(logging.getLogger().handlers), logger.disabled)
    assert train("+roadmap=step0_resnet").status == 0
    assert (logging.getLogger().level, list(logging.getLogger().handlers), logger.disabled) == before
    assert len(trained) == 1
    assert logger.isEnabledFor(logging.WARNING)
