"""attribute.py plans the runs that are missing, in the experiment's own setting, and then reads them."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from omegaconf import OmegaConf

from roadmap.config import compose, plan_runs

Load = Callable[[str], ModuleType]


def write_step(folder: Path, step: str, seed: int, top1: float, *words: str) -> None:
    """A finished run of a step, or of a step with designs switched, as train.py leaves it."""
    cfg = compose(f"+roadmap={step}", "recipe.epochs=3", f"experiment={folder.name}", *words)
    variant = {word[6:].partition("=")[0]: word.partition("=")[2] for word in words}
    identity = {"step": step, "step_index": cfg.step.index, "label": cfg.step.label, "variant": variant}
    identity |= {"reference": None, "experiment": folder.name, "seed": seed}
    identity |= {"regime": cfg.regime.name, "data": cfg.data.name, "recipe": cfg.recipe.name}
    run = folder / ",".join([step, *(f"{key}={value}" for key, value in variant.items())]) / f"seed{seed}"
    run.mkdir(parents=True)
    OmegaConf.save(cfg, run / "config.yaml", resolve=True)
    numbers = {"top1": top1, "best_top1": top1, "gmacs": 0.002, "parameters": 5e5, "seconds": 36.0}
    (run / "state.json").write_text(json.dumps({"state": "done", "error": None, "identity": identity}))
    (run / "summary.json").write_text(json.dumps(identity | numbers))


def test_a_plan_leaves_out_what_ran_and_says_the_cost(
    tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "trial"
    for seed in range(2):
        write_step(folder, "step11_layernorm", seed, 90.0)
        write_step(folder, "step12_downsample", seed, 91.0)
    write_step(folder, "step12_downsample", 0, 91.0, "model/norm=batchnorm")  # one seed of two
    assert load_script("attribute").main([str(folder), "--plan", "leave-one-out"]) == 0
    printed = capsys.readouterr()
    assert "13 distinct networks, 2 have a result; 22 runs to train" in printed.err
    assert "about 13 minutes" in printed.err
    commands = [shlex.split(line) for line in printed.out.splitlines()]
    assert len(commands) == 11
    for command in commands[::5]:  # composing takes its time
        assert command[:3] == ["python", "train.py", "-m"]
        planned = plan_runs(command[3:], is_sweep=True)
        assert [run.config.seed for run in planned] == [0, 1]
        assert {(run.config.recipe.epochs, run.config.experiment) for run in planned} == {(3, "trial")}
        assert {run.config.output_dir for run in planned} == {str(tmp_path)}


def test_the_effects_are_printed(tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "trial"
    for seed in range(2):
        write_step(folder, "step11_layernorm", seed, 90.0 + seed)
        write_step(folder, "step12_downsample", seed, 91.0 + seed)
        write_step(folder, "step12_downsample", seed, 90.5 + 1.1 * seed, "model/norm=batchnorm")
    assert load_script("attribute").main([str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (norm,) = [line for line in lines if line.startswith("norm ")]
    (downsample,) = [line for line in lines if line.startswith("downsample ")]
    assert "+0.45 (-0.19 to +1.09)" in norm
    assert downsample.count("+1.00") == 2  # on the path and taken back are the same two networks


def test_no_finished_step_is_one_message(
    tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_script("attribute").main([str(tmp_path / "nowhere"), "--plan", "shapley"]) == 1
    assert "no such folder" in capsys.readouterr().err
