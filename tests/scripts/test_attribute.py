"""attribute.py says what choices are worth, from the runs of an experiment."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from omegaconf import OmegaConf

from roadmap.config import compose

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


def test_a_factorial_is_read_under_any_name(
    tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "trial"
    for seed in range(2):
        write_step(folder, "step12_downsample", seed, 92.0 + seed)
        write_step(folder, "step12_downsample", seed, 90.0 + seed, "model/norm=batchnorm")
        write_step(folder, "step12_downsample", seed, 91.0 + seed, "model/downsample=block")  # step 11's network
    options = [str(folder), "--axes", "norm,downsample"]
    assert load_script("attribute").main(options) == 1
    error = capsys.readouterr().err
    assert "on step12_downsample: 1 of its 4 networks have no result: step10_fewer_norms; " in error
    assert "python train.py -m +sweep=factorial sweep.axes=norm,downsample sweep.step=step12_downsample" in error

    for seed in range(2):
        write_step(folder, "step10_fewer_norms", seed, 90.5 + seed)
    assert load_script("attribute").main(options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:5] for line in lines[1:5]] == [
        ["norm", "batchnorm", "90.75", "ResNet's"],
        ["norm", "layernorm", "92.00", "4", "+1.25"],
        ["downsample", "block", "91.25", "ResNet's"],
        ["downsample", "separate", "91.50", "4", "+0.25"],
    ]
    assert lines[-1].startswith("norm=layernorm and downsample=separate together: +1.50 beyond the sum of each")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--axes", "norm,stm"], "--axes=stm: there is no stm. Did you mean stem?"),
        (["--axes", "norm", "--step", "step12"], "--step=step12: there is no step12. Allowed: step0_resnet, "),
    ],
)
def test_a_typo_is_one_message(
    tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str], words: list[str], part: str
) -> None:
    write_step(tmp_path / "trial", "step12_downsample", 0, 92.0)
    assert load_script("attribute").main([str(tmp_path / "trial"), *words]) == 1
    assert part in capsys.readouterr().err


def test_no_experiment_is_one_message(
    tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_script("attribute").main([str(tmp_path / "nowhere")]) == 1
    assert "no such folder" in capsys.readouterr().err
