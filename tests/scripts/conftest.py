"""Fixtures: commands in this process, since a new one takes seconds to start; run folders without training."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from fixture_types import Call, Write
from omegaconf import OmegaConf

from roadmap.config import compose
from roadmap.runs.config_hash import hash_setting
from roadmap.runs.naming import network_name
from roadmap.runs.overrides import write_overrides
from roadmap.runs.read_files import read_yaml


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command, check its exit status, and return what it printed."""

    def call(command: str, *words: object, status: int = 0) -> Any:
        found = importlib.import_module(f"roadmap.cli.{command}").main([str(word) for word in words])
        printed = capsys.readouterr()
        assert found == status, printed.err
        return printed

    return call


@pytest.fixture
def own_roadmap(tmp_path: Path) -> Path:
    """A folder of a user's own configs, with the roadmap `mine`: of one step, and a published result."""
    folder = tmp_path / "own"
    place = folder / "roadmap/mine"
    place.mkdir(parents=True)
    (place / "roadmap.toml").write_text('title = "Mine"\n[[sections]]\nlabel = "All"\nsteps = ["step0_start"]\n')
    (place / "step0_start.yaml").write_text(
        "# @package _global_\nstep: {name: step0_start, index: 0, label: start, roadmap: mine}\n"
    )
    (place / "published.csv").write_text(
        "regime,step,config,label,paper_top1,paper_top1_std,paper_gflops,gmacs,adopted\n"
        "resnet50,0,step0_start,start,70.0,,1.5,,yes\n"
    )
    return folder


@pytest.fixture(scope="session")
def write_run() -> Write:
    def write(
        folder: Path, step: str, *words: str, seed: int = 0, top1: float = 90.0, epochs: int = 3, **changes: Any
    ) -> Path:
        """Write a run folder as train.py does, for the configuration that the words compose."""
        overrides = [f"+{changes.get('group', 'roadmap')}={step}", *words, f"experiment={folder.name}"]
        cfg = compose(*overrides)
        cfg.seed = seed
        variant = {
            word[6:].partition("=")[0]: word.partition("=")[2] for word in words if word.startswith("model/")
        }
        identity = {
            "step": step,
            "step_index": cfg.step.index,
            "label": changes.get("label", cfg.step.label),
            "variant": changes.get("variant", variant),
            "reference": cfg.reference,
            "experiment": folder.name,
            "seed": seed,
            "regime": cfg.regime.name,
            "data": cfg.data.name,
            "recipe": cfg.recipe.name,
        }
        run = folder / network_name(step, variant) / f"seed{seed}"
        run.mkdir(parents=True)
        OmegaConf.save(cfg, run / "config.yaml", resolve=True)
        write_overrides(run, [*overrides, f"seed={seed}"] if changes.get("recorded", True) else None)
        state = {"state": changes.get("state", "done"), "error": changes.get("error"), "identity": identity}
        (run / "state.json").write_text(json.dumps(state))
        lines = [
            {"epoch": n, "top1": top1 * n / epochs, "loss": 2 / n, "train_loss": 2.5 / n}
            for n in range(1, epochs + 1)
        ]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if state["state"] == "done":
            numbers = {
                "top1": top1,
                "best_top1": top1 + 0.5,
                "gmacs": 0.002,
                "parameters": 5e5,
                "images_per_s": 900.0,
            }
            known = {"device": "a processor", "setting_hash": hash_setting(read_yaml(run / "config.yaml"))}
            (run / "summary.json").write_text(json.dumps(identity | numbers | known))
        return run

    return write
