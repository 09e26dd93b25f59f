"""Dashboards mirror a run: W&B without a network, and none at all without its library."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOWN = ("step", "step_index", "gmacs", "parameters", "top1", "best_top1", "top5", "images_per_s", "paper_top1")
WITHOUT_WANDB = """
import runpy, sys
sys.modules["wandb"] = None  # an import of it fails
runpy.run_path("train.py", run_name="__main__")
"""


def run_python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.system  # a process of its own and W&B's service: 20 s
def test_wandb_offline_shows_the_run(tmp_path: Path) -> None:
    words = ("+roadmap=step7_kernel", "model/kernel_size=5", "recipe.epochs=2", "seed=3", "logger=wandb")
    run_python("train.py", *words, f"output_dir={tmp_path}", WANDB_MODE="offline")
    (folder,) = tmp_path.glob("micro-digits/step7_kernel,kernel_size=5/seed3")
    (log,) = folder.glob("wandb/offline-run-*/*.wandb")
    shown = json.loads(run_python("-m", "wandb", "leet", "inspect", "--summary", "--json", str(log)).stdout)

    summary = json.loads((folder / "summary.json").read_text())
    assert {key: shown["summary"][key] for key in SHOWN} == pytest.approx({key: summary[key] for key in SHOWN})
    assert (summary["step"], summary["step_index"], summary["paper_top1"]) == ("step7_kernel", 7, 80.35)
    assert (shown["state"], shown["exit_code"]) == ("finished", 0)
    assert (shown["name"], shown["project"]) == ("step7_kernel,kernel_size=5-seed3", "roadmap")
    assert shown["tags"] == ["micro", "digits", "short"]
    assert shown["summary"]["epoch"] == 2
    assert shown["config"]["model"]["kernel_size"] == 5
    assert shown["config"]["recipe"]["epochs"] == 2


@pytest.mark.system  # a process of its own: 10 s
def test_without_a_dashboard_its_library_is_not_needed(tmp_path: Path) -> None:
    words = ("+roadmap=step0_resnet", "recipe.epochs=1", "recipe.warmup_epochs=0", f"output_dir={tmp_path}")
    done = run_python("-c", WITHOUT_WANDB, *words)
    assert done.stderr == ""
    assert "step0_resnet seed 0: top-1 " in done.stdout
    assert not list(tmp_path.glob("**/wandb"))
