"""Concurrent runs: a launcher with processes changes neither the records nor the exit status."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

import roadmap

JOBLIB = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
VARIANT = "+roadmap='step12_downsample,norm=batchnorm',step0_resnet"  # as a sweep names a variant
Start = Callable[..., subprocess.Popen[str]]  # see conftest.py, as Run
Run = Callable[..., Any]

pytestmark = pytest.mark.system  # separate processes: 20 s each


def test_a_failed_run_is_told_by_the_exit_status(run: Run, tmp_path: Path) -> None:
    weights = tmp_path / "step0.pt"
    torch.save(roadmap.build_model(roadmap.compose("+roadmap=step0_resnet")).state_dict(), weights)
    overrides = ("recipe.epochs=1", "recipe.warmup_epochs=0", f"init_from={weights}", f"output_dir={tmp_path}")
    done = run(*JOBLIB, VARIANT, *overrides)
    assert done.status == 1
    assert "1 of 2 runs are not done" in done.out
    assert (tmp_path / "micro-digits/step0_resnet/seed0/summary.json").exists()
    assert run(*JOBLIB, "+roadmap=step0_resnet", *overrides).status == 0


def test_a_failed_evaluation_is_told_by_the_exit_status(run: Run, tmp_path: Path) -> None:
    done = run(*JOBLIB, "mode=eval", "init_from=none.pt", "seed=0,1", f"output_dir={tmp_path}")
    assert done.status == 1
    assert done.err.count("there is no weights file") == 2


@pytest.mark.parametrize(
    ("sent", "state", "error", "more"),
    [
        (signal.SIGSEGV, "failed", "its process was ended by SIGSEGV", ("retry_failed=true",)),
        (
            signal.SIGKILL,
            "interrupted",
            "its process was ended by SIGKILL, from outside; the same command resumes it",
            (),
        ),  # as by `kill -9`
    ],
)
def test_a_run_whose_process_dies_leaves_the_others_alone(
    start: Start, run: Run, sent: signal.Signals, state: str, error: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    quick = ("recipe.epochs=3", "recipe.warmup_epochs=0", "recipe.total_batch=128")
    words = ("-m", VARIANT, "hydra/launcher=processes", *quick, f"output_dir={tmp_path}")
    sweep = start(*words, stderr=subprocess.PIPE)
    folder = tmp_path / "micro-digits/step12_downsample,norm=batchnorm/seed0"
    while not (folder / "checkpoint.pt").exists():
        assert sweep.poll() is None, sweep.communicate()
        time.sleep(0.01)
    pid = json.loads((folder / "state.json").read_text())["pid"]
    assert pid != sweep.pid
    os.kill(pid, sent)
    output, errors = sweep.communicate()
    assert sweep.returncode == 1
    assert error in " ".join(errors.split())
    left = json.loads((folder / "state.json").read_text())
    assert (left["state"], left["error"]) == (state, error)
    assert (tmp_path / "micro-digits/step0_resnet/seed0/summary.json").exists()
    assert "1 of 2 runs are not done" in output
    assert errors.count("warning: recipe.lr=0.004 is the short recipe's for recipe.total_batch=64") == 1

    assert run(*words, *more).status == 0


@pytest.mark.parametrize(
    ("launcher", "sent", "send", "status"),
    [
        ("joblib", signal.SIGKILL, os.kill, -signal.SIGKILL),
        ("joblib", signal.SIGINT, os.killpg, 130),  # Ctrl-C in a terminal, which goes to all processes
        ("joblib", signal.SIGTERM, os.killpg, 143),  # sent by `timeout`
        ("processes", signal.SIGTERM, os.kill, 143),
        ("processes", signal.SIGTERM, os.killpg, 143),
        ("processes", signal.SIGINT, os.killpg, 130),
        ("processes", signal.SIGHUP, os.killpg, 129),  # a closed terminal
    ],
)
def test_runs_save_and_none_starts_once_their_sweep_is_to_stop_or_gone(
    start: Start, launcher: str, sent: signal.Signals, send: Callable[[int, int], None], status: int, tmp_path: Path
) -> None:
    words = ("+roadmap=step12_downsample", "seed=0,1,2,3", "recipe.epochs=100", f"output_dir={tmp_path}")
    with (tmp_path / "out.txt").open("w") as out:
        sweep = start(*JOBLIB, f"hydra/launcher={launcher}", *words, stdout=out, stderr=out)

    def states() -> list[str]:
        return sorted(json.loads(path.read_text())["state"] for path in tmp_path.rglob("state.json"))

    def wait_for(seen: Callable[[], bool]) -> None:
        end = time.monotonic() + 120
        while not seen():
            assert time.monotonic() < end, (states(), (tmp_path / "out.txt").read_text())
            time.sleep(0.1)

    try:
        wait_for(lambda: len(list(tmp_path.rglob("checkpoint.pt"))) == 2)
        send(sweep.pid, sent)
        assert sweep.wait() == status
        wait_for(lambda: "running" not in states())
        if sent is signal.SIGKILL:
            time.sleep(10)  # a start takes less time
        assert states() == ["interrupted", "interrupted", "pending", "pending"]
        if sent is not signal.SIGKILL:
            # A signal to all processes reaches the runs as soon as the command, which counts those that still run.
            answer = r"saving 2 runs \.\.\." if send is os.kill else r"(saving [12] runs?|stopping) \.\.\."
            assert re.search(answer, (tmp_path / "out.txt").read_text())
            reason = "interrupted by Ctrl-C" if sent is signal.SIGINT else f"stopped by {sent.name}"
            errors = {json.loads(path.read_text())["error"] for path in tmp_path.rglob("state.json")}
            assert errors == {reason, None}
    finally:
        with suppress(ProcessLookupError):  # processes left by a failure
            os.killpg(sweep.pid, signal.SIGKILL)
