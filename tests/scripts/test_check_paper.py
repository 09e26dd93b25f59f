"""check_paper.py fails if a claimed reproduction fails, and claims nothing on other data."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from fixture_types import Call
from omegaconf import OmegaConf

from roadmap.config import Config, compose, plan_runs, read_config
from roadmap.config.paper import PaperRow
from roadmap.config.roadmap_files import load_roadmap
from roadmap.runs.config_hash import hash_setting


def write_result(
    folder: Path, paper: PaperRow, config: Config, top1: float, state: str = "done", seed: int = 0
) -> None:
    """Write the run of a published row, with this top-1 and these settings."""
    identity = {
        "step": paper.config,
        "step_index": paper.step,
        "label": paper.label,
        "variant": {},
        "reference": None,
        "experiment": folder.name,
        "seed": seed,
        "regime": "resnet50",
        "data": config.data.name,
        "recipe": config.recipe.name,
    }
    run = folder / paper.config / f"seed{seed}"
    run.mkdir(parents=True)
    (run / "state.json").write_text(json.dumps({"state": state, "error": None, "identity": identity}))
    numbers = {"top1": top1, "best_top1": top1 + 0.1, "gmacs": paper.gmacs or 4.0, "parameters": 25e6}
    setting = {"setting_hash": hash_setting(asdict(config))}
    (run / "summary.json").write_text(json.dumps(identity | numbers | setting))
    OmegaConf.save(OmegaConf.create(json.loads(json.dumps(asdict(config)))), run / "config.yaml")


def write_table(folder: Path, offset: float, *words: str, state: str = "done") -> None:
    """Write table 10's thirteen steps: the paper's top-1 plus `offset`, with the words' settings."""
    config = read_config(compose("setting=paper", *words))
    for paper in load_roadmap().published:
        if paper.regime == "resnet50" and paper.step is not None and paper.adopted:
            write_result(folder, paper, config, paper.top1 + offset, state)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 0, "13 of 13 rows within 0.3 points"),
        (["--tolerance", "0.1"], 1, "0 of 13 rows within 0.1 points"),
        (["--tolerance", "0.15", "--best"], 0, "best epoch, picked on the validation set"),
    ],
)
def test_each_row_passes_or_fails_within_the_tolerance(
    tmp_path: Path, call: Call, words: list[str], status: int, said: str
) -> None:
    write_table(tmp_path / "trial", -0.2)
    printed = call("check", "trial", "--output-dir", tmp_path, *words, status=status).out
    assert said in printed
    assert ("FAIL" in printed) == (status == 1)
    (line,) = [line for line in printed.splitlines() if line.startswith("step12_downsample")]
    assert line.split()[1] == "1"
    assert line.split()[3] == "81.97"


@pytest.mark.system  # composes a whole roadmap: 3 s
def test_the_steps_of_another_roadmap_are_checked_against_its_published_results(tmp_path: Path, call: Call) -> None:
    roadmap = load_roadmap("bag_of_tricks")
    for paper in roadmap.published:
        words = [f"+roadmap={roadmap.override(paper.config)}", "setting=paper", "data.root=x"]
        write_result(tmp_path / "trial", paper, plan_runs(words, False)[0].config, paper.top1 - 0.2)
    printed = call("check", "trial", "--output-dir", tmp_path).out
    assert "7 of 7 rows within 0.3 points" in printed
    assert "1812.01187" in printed


def test_on_other_data_only_the_order_is_compared(tmp_path: Path, call: Call) -> None:
    write_table(tmp_path / "trial", 15.0, "data.name=digits")
    printed = call("check", "trial", "--output-dir", tmp_path).out
    assert "accuracies can't be compared" in printed
    assert "Order of 13 steps against the paper's: Spearman 1.00, Kendall 1.00" in printed
    assert "FAIL" not in printed
    assert "pass" not in printed


@pytest.mark.parametrize(
    ("word", "difference"),
    [("recipe.epochs=100", "recipe.epochs: 300 -> 100"), ("data.holdout=50000", "data.holdout: 0 -> 50000")],
)
def test_a_recipe_that_is_called_paper_and_has_other_settings_claims_nothing(
    tmp_path: Path, call: Call, word: str, difference: str
) -> None:
    write_table(tmp_path / "trial", -5.0, word)
    printed = call("check", "trial", "--output-dir", tmp_path).out
    assert f"can't be compared with the paper, other settings ({difference}): step0_resnet, step1_" in printed
    assert "No run has the paper's data, size and settings" in printed
    assert "FAIL" not in printed


def test_other_settings_are_those_of_finished_runs(tmp_path: Path, call: Call) -> None:
    write_table(tmp_path / "trial", -5.0, "recipe.epochs=100")
    paper = next(one for one in load_roadmap().published if one.config == "step0_resnet")
    config = read_config(compose("setting=paper", "recipe.epochs=50"))
    shutil.rmtree(tmp_path / "trial/step0_resnet")
    write_result(tmp_path / "trial", paper, config, 50.0, state="failed")
    config = read_config(compose("setting=paper", "recipe.epochs=100"))
    write_result(tmp_path / "trial", paper, config, 70.0, seed=1)
    printed = call("check", "trial", "--output-dir", tmp_path).out
    assert "other settings (recipe.epochs: 300 -> 100): step0_resnet, step1_" in printed


def test_runs_that_do_not_tell_their_settings_claim_nothing(tmp_path: Path, call: Call) -> None:
    write_table(tmp_path / "trial", -5.0)
    for path in tmp_path.glob("trial/*/seed0/summary.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"setting_hash": None}))
        (path.parent / "config.yaml").unlink()
    printed = call("check", "trial", "--output-dir", tmp_path).out
    assert "can't be compared with the paper, its runs don't tell their settings: step0_resnet, " in printed


@pytest.mark.parametrize("state", ["failed", "pending"])
def test_nothing_to_check_is_no_success(tmp_path: Path, call: Call, state: str) -> None:
    write_table(tmp_path / "trial", 0.0, state=state)
    assert f"no finished run (13 {state})" in call("check", "trial", "--output-dir", tmp_path, status=2).err
