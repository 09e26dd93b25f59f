"""check_paper.py fails if a claimed reproduction fails, and claims nothing on other data."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import pytest
from omegaconf import OmegaConf

from roadmap.config import compose, plan_runs, read_config
from roadmap.config.roadmap_files import load_roadmap
from roadmap.runs.config_hash import hash_setting

Load = Callable[[str], ModuleType]


def write_table(folder: Path, data: str, offset: float, state: str = "done", *words: str) -> None:
    """Write table 10's thirteen steps as run folders: the paper's top-1 plus `offset`, with the words' settings."""
    cfg = compose("setting=paper", *words)
    setting_hash = hash_setting(asdict(read_config(cfg)))
    for paper in load_roadmap().published:
        if paper.regime != "resnet50" or paper.step is None or not paper.adopted:
            continue
        identity = {
            "step": paper.config,
            "step_index": paper.step,
            "label": paper.label,
            "variant": {},
            "reference": None,
            "experiment": folder.name,
            "seed": 0,
            "regime": "resnet50",
            "data": data,
            "recipe": "paper",
        }
        run = folder / paper.config / "seed0"
        run.mkdir(parents=True)
        (run / "state.json").write_text(json.dumps({"state": state, "error": None, "identity": identity}))
        top1 = paper.top1 + offset
        numbers = {"top1": top1, "best_top1": top1 + 0.1, "gmacs": paper.gmacs, "parameters": 25e6}
        (run / "summary.json").write_text(json.dumps(identity | numbers | {"setting_hash": setting_hash}))
        OmegaConf.save(cfg, run / "config.yaml", resolve=True)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 0, "13 of 13 rows within 0.3 points"),
        (["--tolerance", "0.1"], 1, "0 of 13 rows within 0.1 points"),
        (["--tolerance", "0.15", "--best"], 0, "best epoch, picked on the validation set"),
    ],
)
def test_each_row_passes_or_fails_within_the_tolerance(
    tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str], words: list[str], status: int, said: str
) -> None:
    write_table(tmp_path / "trial", "imagenet", -0.2)
    assert load_script("check_paper").main(["trial", "--output-dir", str(tmp_path), *words]) == status
    printed = capsys.readouterr().out
    assert said in printed
    assert ("FAIL" in printed) == (status == 1)
    (line,) = [line for line in printed.splitlines() if line.startswith("step12_downsample")]
    assert line.split()[1] == "1"
    assert line.split()[3] == "81.97"


def test_the_steps_of_another_roadmap_are_checked_against_its_published_results(
    tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    roadmap = load_roadmap("bag_of_tricks")
    for paper in roadmap.published:
        (planned,) = plan_runs(
            [f"+roadmap={roadmap.override(paper.config)}", "setting=paper", "data.root=x"], False
        )
        config = planned.config
        identity = {
            "step": paper.config, "step_index": paper.step, "label": paper.label, "variant": {}, "reference": None,
            "experiment": "trial", "seed": 0, "regime": "resnet50", "data": "imagenet",
            "recipe": config.recipe.name,
        }  # fmt: skip
        run = tmp_path / "trial" / paper.config / "seed0"
        run.mkdir(parents=True)
        (run / "state.json").write_text(json.dumps({"state": "done", "error": None, "identity": identity}))
        top1 = paper.top1 - 0.2
        numbers: dict[str, object] = {"top1": top1, "best_top1": top1, "gmacs": 4.0, "parameters": 25e6}
        numbers["setting_hash"] = hash_setting(asdict(config))
        (run / "summary.json").write_text(json.dumps(identity | numbers))
    assert load_script("check_paper").main(["trial", "--output-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "7 of 7 rows within 0.3 points" in printed
    assert "1812.01187" in printed


def test_on_other_data_only_the_order_is_compared(
    tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "trial", "digits", 15.0)
    assert load_script("check_paper").main(["trial", "--output-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "accuracies can't be compared" in printed
    assert "Order of 13 steps against the paper's: Spearman 1.00 (no interval)" in printed
    assert "FAIL" not in printed
    assert "pass" not in printed


@pytest.mark.parametrize(
    ("word", "difference"),
    [("recipe.epochs=100", "recipe.epochs: 300 -> 100"), ("data.holdout=50000", "data.holdout: 0 -> 50000")],
)
def test_a_recipe_that_is_called_paper_and_has_other_settings_claims_nothing(
    tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str], word: str, difference: str
) -> None:
    write_table(tmp_path / "trial", "imagenet", -5.0, "done", word)
    assert load_script("check_paper").main(["trial", "--output-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"can't be compared with the paper, other settings ({difference}): step0_resnet, step1_" in printed
    assert "No run has the paper's data, size and settings" in printed
    assert "FAIL" not in printed


def test_runs_that_do_not_tell_their_settings_claim_nothing(
    tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "trial", "imagenet", -5.0)
    for path in tmp_path.glob("trial/*/seed0/summary.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"setting_hash": None}))
        (path.parent / "config.yaml").unlink()
    assert load_script("check_paper").main(["trial", "--output-dir", str(tmp_path)]) == 0
    assert "can't be compared with the paper, its runs don't tell their settings: step0_resnet, " in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("state", ["failed", "pending"])
def test_nothing_to_check_is_no_success(
    tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str], state: str
) -> None:
    write_table(tmp_path / "trial", "imagenet", 0.0, state)
    assert load_script("check_paper").main(["trial", "--output-dir", str(tmp_path)]) == 2
    assert f"no finished run (13 {state})" in capsys.readouterr().err


def test_a_tolerance_is_a_number_of_points(load_script: Load, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        load_script("check_paper").main(["trial", "--tolerance", "-1"])
    assert stop.value.code == 2
    assert "-1: points of top-1" in capsys.readouterr().err
