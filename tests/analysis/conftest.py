"""Fixtures that write run folders as a training does, without training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadmap.config.roadmap_files import load_roadmap

WriteRun = Callable[..., Path]


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """Write one run folder under tmp_path and return it; any key of identity or summary can be given."""

    def write(step: str = "step0_resnet", seed: int = 0, top1: float = 90.0, **changes: Any) -> Path:
        identity = {
            "step": step,
            "step_index": step_index(step),
            "label": f"label of {step}",
            "variant": {},
            "reference": None,
            "experiment": "trial",
            "seed": seed,
            "regime": "micro",
            "data": "digits",
            "recipe": "short",
        }
        summary = {
            "top1": top1,
            "best_top1": min(top1 + 0.5, 100.0),
            "gmacs": 0.25,
            "parameters": 312000,
            "images_per_s": 1000.0,
            "device": "a processor",
            "setting_hash": None,
            "data_fingerprint": None,
        }
        state = {"state": "done", "error": None}
        for part in (identity, summary, state):
            part |= {key: value for key, value in changes.items() if key in part}
        summary |= {key: value for key, value in changes.items() if key == "ema_top1"}
        name = ",".join([step, *(f"{key}={value}" for key, value in identity["variant"].items())])
        folder = tmp_path / identity["experiment"] / name / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps(state | {"identity": identity}))
        if state["state"] == "done":
            (folder / "config.yaml").write_text("seed: 0")
            for file in ("metrics.jsonl", "checkpoint.pt"):
                (folder / file).touch()
            (folder / "summary.json").write_text(json.dumps(identity | summary))
        return folder

    return write


@pytest.fixture
def write_paper_runs(write_run: WriteRun) -> Callable[..., None]:
    """Write table 10 as runs: 17 rows and Swin-T, with the paper's top-1 plus `offset` points."""

    def write(offset: float = -0.5, seeds: int = 1, **changes: Any) -> None:
        for paper in load_roadmap().published:
            if paper.regime != "resnet50":
                continue
            reference = paper.config == "reference"
            for seed in range(seeds):
                write_run(
                    "swin_tiny" if reference else paper.config,
                    seed,
                    paper.top1 + offset + 0.1 * seed,
                    label="kernel size 7" if paper.variant else paper.label,
                    variant=dict(paper.variant),
                    reference="swin_tiny_patch4_window7_224" if reference else None,
                    gmacs=paper.gmacs or paper.gflops,
                    **{"regime": "resnet50", "data": "imagenet", "recipe": "paper"} | changes,
                )

    return write


@pytest.fixture
def write_roadmap(tmp_path: Path) -> Callable[..., Path]:
    """Write a roadmap `mine` below tmp_path/own: its steps in order, each with the design that it overrides."""

    def write(steps: dict[str, str], about: str = "") -> Path:
        place = tmp_path / "own/roadmap/mine"
        place.mkdir(parents=True)
        text = f'title = "Mine"\n{about}\n[[sections]]\nlabel = "All"\nsteps = {list(steps)}\n'
        (place / "roadmap.toml").write_text(text)
        before = None
        for index, (step, override) in enumerate(steps.items()):
            defaults = f"/roadmap/mine/{before}, override /model/{override}, _self_" if before else "_self_"
            own = f"step: {{name: {step}, index: {index}, label: {step}, roadmap: mine}}"
            (place / f"{step}.yaml").write_text(f"# @package _global_\ndefaults: [{defaults}]\n{own}\n")
            before = step
        return place

    return write


def step_index(step: str) -> int | None:
    """Return the number in a step's name."""
    number = step.partition("_")[0].removeprefix("step")
    return int(number) if number.isdecimal() else None
