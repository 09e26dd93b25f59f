"""scripts/wandb_sweep.yaml, expanded by W&B's own agent, gives commands that train.py accepts, one per run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb import wandb_agent

from roadmap.config import plan_runs, prepare_overrides
from roadmap.config.roadmap_files import load_roadmap

ROOT = Path(__file__).parents[2]
SWEEP: dict[str, Any] = yaml.safe_load((ROOT / "scripts/wandb_sweep.yaml").read_text())


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> wandb_agent.Agent:
    """An agent that knows the sweep's command, as sent by the server; it writes to tmp_path."""
    for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.setenv(name, "")  # the agent sets them; monkeypatch restores them
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(ROOT)
    agent = wandb_agent.Agent(api=None, queue=None, sweep_id="sweep1")
    agent._sweep_command = [*SWEEP["command"]]
    return agent


def start(agent: wandb_agent.Agent, values: dict[str, Any], run_id: str = "run1") -> None:
    """Do what an agent does on the server's command `run`."""
    arguments = {name: {"value": value} for name, value in values.items()}
    agent._command_run({"run_id": run_id, "program": SWEEP["program"], "args": arguments})


@pytest.mark.system  # two trainings by an agent: 6 s
def test_each_step_is_a_run(agent: wandb_agent.Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(wandb_agent, "AgentProcess", lambda command, **_: commands.append(command) or agent)
    parameters = {name: parameter["values"] for name, parameter in SWEEP["parameters"].items()}
    steps = list(load_roadmap().steps)
    assert parameters == {"seed": [0, 1, 2], "+roadmap": steps}
    assert SWEEP["method"] == "grid"
    for step in steps:
        start(agent, {"seed": 2, "+roadmap": step})

    runs = []
    for _, interpreter, program, *words in commands:
        assert (interpreter, program) == ("python", "train.py")
        (planned,) = plan_runs(prepare_overrides(words), is_sweep=False)
        assert (planned.config.logger.name, planned.config.logger.mode) == ("wandb", "online")
        assert planned.config.logger.project == SWEEP["project"]
        runs.append((planned.config.step.name, planned.config.seed))
    assert runs == [(step, 2) for step in steps]


@pytest.mark.system  # a separate process and W&B's service: 15 s
def test_an_agent_trains_a_step(agent: wandb_agent.Agent, tmp_path: Path) -> None:
    agent._sweep_command += [
        "logger.mode=offline",
        "recipe.epochs=1",
        "recipe.warmup_epochs=0",
        f"output_dir={tmp_path}",
    ]
    start(agent, {"seed": 2, "+roadmap": "step1_stage_ratio"}, run_id="abcd1234")
    assert agent._run_processes["abcd1234"].wait() == 0
    folder = tmp_path / "micro-digits/step1_stage_ratio/seed2"
    (log,) = folder.glob("wandb/offline-run-*-abcd1234/*.wandb")
    leet = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(log)]
    shown = json.loads(subprocess.run(leet, capture_output=True, text=True, check=True).stdout)
    assert (shown["state"], shown["name"]) == ("finished", "step1_stage_ratio-seed2")
    assert SWEEP["metric"]["name"] in shown["summary"]
    assert shown["config"]["+roadmap"] == "step1_stage_ratio"
