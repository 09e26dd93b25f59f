"""Several ranks that train one network, compared with a single process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import roadmap
from roadmap.cli.run import evaluate_weights
from roadmap.config import read_config
from roadmap.data.sampler import EpochSampler, Shard

ROOT = Path(__file__).parents[2]
Results = Callable[[Path], Any]  # see tests/conftest.py
STEP12, STEP0 = "+roadmap=step12_downsample", "+roadmap=step0_resnet"
WORDS = (
    "recipe.epochs=2",
    "recipe.warmup_epochs=0",
    "recipe.total_batch=256",
    "recipe.mixup=0.8",
    "recipe.drop_path=0.1",
    "regime.width.modern=8",
    "regime.width.resnet=8",
    "hardware.per_device_batch=64",
)

TRAIN_AND_LIST_THREADS = f"""
import os
import runpy
from pathlib import Path

try:
    runpy.run_path("{ROOT / "train.py"}", run_name="__main__")
finally:
    others = [path for path in Path("/proc/self/task").iterdir() if path.name != str(os.getpid())]
    print("OTHER THREADS", [(path / "comm").read_text() for path in others], flush=True)
"""

pytestmark = pytest.mark.system  # separate processes, several at once


def start(
    output_dir: Path,
    *words: str,
    processes: int = 2,
    restarts: int = 0,
    script: Path = ROOT / "train.py",
    meeting: tuple[str, ...] = ("--standalone",),
) -> subprocess.Popen[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", *meeting]
    group = [f"--nproc_per_node={processes}", f"--max-restarts={restarts}"]
    return subprocess.Popen(
        [*torchrun, *group, str(script), *WORDS, *words, f"output_dir={output_dir}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def train(output_dir: Path, *words: str) -> Path:
    """Train with two ranks, and return the run's folder."""
    process = start(output_dir, *words)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert output.count("epoch 2/2") <= 1  # only rank 0 prints
    (summary,) = output_dir.rglob("summary.json")
    return summary.parent


def train_alone(output_dir: Path, *words: str) -> Path:
    """Train in this process, and return the run's folder."""
    return roadmap.train(*WORDS, *words, output_dir=output_dir, progress=False).path


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["model"]


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_alone(tmp_path_factory.mktemp("alone"), STEP12)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("pair"), STEP12)


def test_two_ranks_equal_one_process(alone: Path, pair: Path) -> None:
    """Micro-batches of 64: four in a row, or two in each of two ranks, with the same mixing and drop path."""
    assert json.loads((pair / "summary.json").read_text())["processes"] == 2
    for one, two in zip(metrics(alone), metrics(pair), strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-3)
        assert two["lr"] == one["lr"]
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert abs(two["top1"] - one["top1"]) < 1


def test_two_ranks_equal_one_process_with_batchnorm(tmp_path: Path) -> None:
    """One update of 16 micro-batches: the weights are equal to a hundredth of the learning rate of 4e-3.

    The gradients differ by rounding, and AdamW's first update divides each by its own size, so that a gradient near
    zero shows it most. BatchNorm's running statistics are rank 0's, as in DistributedDataParallel: each rank has
    its own until an evaluation, which is of the saved weights.
    """
    words = (STEP0, "recipe.epochs=1", "recipe.total_batch=1024")
    folder = train(tmp_path / "pair", *words)
    pair = read_weights(folder)
    for name, one in read_weights(train_alone(tmp_path / "alone", *words)).items():
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            assert (pair[name] - one).abs().max() < 4e-5, name
    (reported,) = metrics(folder)
    config = read_config(roadmap.compose(*WORDS, *words, f"init_from={folder / 'checkpoint.pt'}"))
    (found,) = evaluate_weights(config, print).values()
    assert (found.top1, found.top5) == (reported["top1"], reported["top5"])
    assert found.loss == pytest.approx(reported["loss"], rel=1e-5)


def test_killed_and_stopped_group_resumes_exactly_and_leaves_no_threads(
    tmp_path: Path, pair: Path, read_results: Results
) -> None:
    """A thread that frees a tensor while Python exits aborts a process that has finished its work."""
    script = tmp_path / "train_and_list_threads.py"
    script.write_text(TRAIN_AND_LIST_THREADS)
    words = (STEP12, "hardware.checkpoint_minutes=0")
    process = start(tmp_path, *words, restarts=1, script=script)
    state = wait_for_checkpoints(tmp_path, process)
    killed = json.loads(state.read_text())["pid"]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: json.loads(state.read_text())["pid"] != killed, process)  # torchrun restarts both ranks
    previous = state.with_name("checkpoint.previous.pt")
    saved = previous.stat().st_mtime_ns
    wait_until(lambda: previous.stat().st_mtime_ns != saved, process)
    process.send_signal(signal.SIGTERM)
    outputs = [process.communicate()[0]]
    assert json.loads(state.read_text())["state"] == "interrupted", outputs
    process = start(tmp_path, *words, script=script)
    outputs.append(process.communicate()[0])
    assert process.returncode == 0, outputs
    assert read_results(state.parent) == read_results(pair)
    for output in outputs:  # the last two lines are of ranks that ended by themselves
        assert re.findall(r"OTHER THREADS (.*)", output)[-2:] == ["[]", "[]"], output


def test_two_nodes_restart_after_a_killed_process(tmp_path: Path, pair: Path, read_results: Results) -> None:
    """Two torchruns of one rank each, as on two machines."""
    words = (STEP12, "hardware.checkpoint_minutes=0")
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    meeting = ("--nnodes=2", "--rdzv_id=trial", "--rdzv_backend=c10d", f"--rdzv_endpoint=localhost:{port}")
    nodes = [start(tmp_path, *words, processes=1, restarts=1, meeting=meeting) for _ in range(2)]
    state = wait_for_checkpoints(tmp_path, nodes[0])
    os.kill(json.loads(state.read_text())["pid"], signal.SIGKILL)
    outputs = [node.communicate()[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    assert read_results(state.parent) == read_results(pair)


def wait_for_checkpoints(output_dir: Path, process: subprocess.Popen[str]) -> Path:
    """Wait until a group has saved twice, and return rank 0's state.json."""
    wait_until(lambda: bool(list(output_dir.rglob("checkpoint.previous.pt"))), process)
    (state,) = output_dir.rglob("state.json")
    return state


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not is_so():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("rank", [0, 1])
def test_rank_0_reports_another_ranks_error(rank: int, tmp_path: Path) -> None:
    damaged = damage_an_image(tmp_path, rank)
    process = start(tmp_path / "out", *words_for(tmp_path))
    output, _ = process.communicate()
    assert process.returncode == 1
    (path,) = (tmp_path / "out").rglob("state.json")
    state = json.loads(path.read_text())
    assert state["state"] == "failed"
    assert str(damaged) in state["error"]
    assert f"{damaged} can't be read" in output


def test_rank_0_reports_all_skipped_images(tmp_path: Path) -> None:
    damaged = damage_an_image(tmp_path, rank=1)
    process = start(tmp_path / "out", *words_for(tmp_path), "data.on_error=skip")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert output.count(f"1 of 64 images were skipped: {damaged}") == 1


def damage_an_image(folder: Path, rank: int) -> Path:
    """Write 64 training images and 8 others, one of them damaged, which only one of two ranks reads."""
    for split, count in (("train", 64), ("val", 8)):
        for number in range(count):
            path = folder / split / f"class{number % 2}" / f"{number:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), (number, 3 * number, 255 - number)).save(path)
    files = sorted((folder / "train").rglob("*.jpg"))
    last = EpochSampler(64, 16, 1, 0, Shard(rank, 2)).plans(0)[-1]
    damaged = files[int(last.indices[0])]
    damaged.write_bytes(damaged.read_bytes()[:200])
    return damaged


def words_for(folder: Path) -> tuple[str, ...]:
    """Return the overrides that train step 12 on such images, in batches of 16."""
    words = ("data=imagefolder", f"data.root={folder}", "data.num_classes=2", "data.image_size=32")
    batches = ("recipe.total_batch=32", "hardware.per_device_batch=16", "recipe.mixup=0", "recipe.epochs=1")
    return (STEP12, *words, *batches, "hardware.resident=false")


def test_ranks_share_an_evaluation_and_an_error(alone: Path) -> None:
    output_dir = alone.parents[2]
    process = start(output_dir, STEP12, "mode=eval", f"init_from={alone / 'checkpoint.pt'}")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    (line,) = (alone.parent / "evaluations.jsonl").read_text().splitlines()
    assert json.loads(line)["images"] == 364
    assert json.loads(line)["top1"] == pytest.approx(metrics(alone)[-1]["top1"])

    process = start(output_dir, STEP12, "recipe.lr=0.5")
    output, _ = process.communicate()
    assert process.returncode == 1
    assert output.count("holds a run (done) of another configuration") == 1
