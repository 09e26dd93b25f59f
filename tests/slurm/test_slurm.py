"""A real SLURM of one node: a sweep as a job array, requeued while training, and a job of two tasks.

`start.sh` starts it, as root on a Debian with slurm-wlm and munge.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Results = Callable[[Path], Any]  # see tests/conftest.py
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SMALL = (
    "recipe.epochs=3",
    "recipe.warmup_epochs=0",
    "regime.width.modern=8",
    "regime.width.resnet=8",
    "hardware.checkpoint_minutes=0",
)
SLURM = ("hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1")
STEPS = ("step0_resnet", "step6_move_up", "step12_downsample")
PATIENCE = 600  # seconds, on a busy machine

# Minutes, mostly in the queue; in one process of pytest, since the cluster is one.
pytestmark = [pytest.mark.system, pytest.mark.xdist_group("slurm")]


@pytest.fixture(scope="module", autouse=True)
def slurm() -> None:
    if shutil.which("sbatch") is None:
        pytest.skip("there is no sbatch: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("a SLURM is started by root only")
    subprocess.run(["bash", Path(__file__).parent / "start.sh"], check=True)


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "train.py", *words],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        queue = subprocess.run(["scontrol", "show", "job"], capture_output=True, text=True, check=False).stdout
        subprocess.run(["scancel", "--user=root"], check=False)
        process.kill()
        pytest.fail(f"not done after {PATIENCE} seconds:\n{queue}")
    assert process.returncode == 0, output
    return output


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.01)


def test_jobs_that_are_requeued_end_as_if_they_were_not(tmp_path: Path, read_results: Results) -> None:
    """One by the cluster, as for a job of higher priority; one by the signal that precedes the time limit."""
    experiment = tmp_path / "cluster/micro-digits"
    sweep = start("-m", f"+roadmap={','.join(STEPS)}", *SMALL, *SLURM, f"output_dir={tmp_path / 'cluster'}")
    for number, command in ((0, ["scontrol", "requeue"]), (1, ["scancel", "--signal=USR2"])):
        wait_for(experiment / STEPS[number] / "seed0/checkpoint.previous.pt", sweep)
        (job,) = (path.name for path in (experiment / ".sweep/.submitit").glob(f"*_{number}"))
        subprocess.run([*command, job], check=True)
        wait_for_state(experiment / STEPS[number] / "seed0/state.json", "interrupted")
    output = finish(sweep)
    assert "3 runs are with hydra/launcher=slurm" in output

    finish(start("-m", f"+roadmap={','.join(STEPS)}", *SMALL, f"output_dir={tmp_path / 'here'}"))
    for step in STEPS:
        here, there = tmp_path / "here/micro-digits" / step / "seed0", experiment / step / "seed0"
        assert read_results(there) == read_results(here)


def wait_for_state(path: Path, state: str) -> None:
    end = time.monotonic() + PATIENCE
    while (found := json.loads(path.read_text())["state"]) != state:
        assert found == "running"
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_job_of_two_tasks_trains_one_network_and_goes_on_where_it_was_requeued(tmp_path: Path) -> None:
    """The signal goes to all of a job's processes, including dataloader workers."""
    words = ("+roadmap=step12_downsample", *SMALL, "hardware.per_device_batch=32")
    words += ("hardware.workers=1", "hardware.resident=false")
    job = start("-m", *words, *SLURM, "hydra.launcher.tasks_per_node=2", f"output_dir={tmp_path / 'two'}")
    folder = tmp_path / "two/micro-digits/step12_downsample/seed0"
    wait_for(folder / "checkpoint.previous.pt", job)
    (name,) = (path.name for path in (folder.parents[1] / ".sweep/.submitit").glob("[0-9]*"))
    subprocess.run(["scancel", "--signal=USR2", name], check=True)
    wait_for_state(folder / "state.json", "interrupted")
    finish(start(*words, f"output_dir={tmp_path / 'one'}"))
    finish(job)
    (two,), (one,) = ((tmp_path / name).rglob("summary.json") for name in ("two", "one"))
    assert json.loads(two.read_text())["processes"] == 2
    for a, b in zip(read_losses(one.parent), read_losses(two.parent), strict=True):
        assert b == pytest.approx(a, rel=1e-3)


def read_losses(folder: Path) -> list[float]:
    return [json.loads(line)["train_loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
