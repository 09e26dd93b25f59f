"""Memory: if it runs out, the same update with half the images at once, noted in the summary; and it is reused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import roadmap
from roadmap.cli import run as jobs
from roadmap.cli.run_folders import open_run_dir
from roadmap.config import plan_run
from roadmap.errors import TrainingError
from roadmap.runs.run_dir import RunDir

ROOT = Path(__file__).parents[2]
ROOM = 50 * 2**20  # bytes; an update of 512 images needs several times as many
# Limits the first attempt to ROOM more bytes of address space than it uses; the second one has no limit.
LIMITED = """
import os, resource, runpy
import torch
from roadmap.cli import run as jobs
train = jobs.Trainer.fit
def fit(*arguments):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(os.environ["ROOM"]), resource.RLIM_INFINITY))
    jobs.Trainer.fit = train
    try:
        return train(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
jobs.Trainer.fit = fit
runpy.run_path("train.py", run_name="__main__")
"""


def run(program: str, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, *words, "recipe.epochs=1", "recipe.warmup_epochs=0"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ROOM": str(ROOM)},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.system  # a separate process
def test_out_of_memory_halves_the_micro_batch(tmp_path: Path) -> None:
    words = (
        "+roadmap=step0_resnet",
        "data.image_size=32",
        "recipe.total_batch=512",
        "hardware.per_device_batch=512",
        f"output_dir={tmp_path}",
    )
    done = run(LIMITED, *words)
    assert "out of memory with 512 images at once" in " ".join(done.stderr.split())
    (path,) = tmp_path.rglob("summary.json")
    summary = json.loads(path.read_text())
    assert (summary["images_at_once"], summary["out_of_memory_with"], summary["updates"]) == (256, 512, 2)


# The second of two workers allocates 2 GiB.
HUNGRY = """
import runpy
from torch.utils.data import get_worker_info
from roadmap.data import worker_loader as batches
read, taken = batches.BatchDataset.__getitem__, []
def take(self, plan):
    if get_worker_info().id == 1:
        taken.append(bytearray(b"x") * 2**31)
    return read(self, plan)
batches.BatchDataset.__getitem__ = take
runpy.run_path("train.py", run_name="__main__")
"""


@pytest.mark.system  # a separate process
def test_killed_worker_halves_the_workers(
    tmp_path: Path, memory_group: Callable[[int], Callable[[], None]]
) -> None:
    words = ("+roadmap=step0_resnet", "hardware.resident=false", "hardware.workers=2", f"output_dir={tmp_path}")
    done = run(HUNGRY, *words, preexec_fn=memory_group(3 * 2**29))
    assert "a dataloader worker was killed for lack of memory. Fewer workers" in done.stderr
    assert "going on with hardware.workers=1 in place of 2" in done.stderr
    assert len(list(tmp_path.rglob("summary.json"))) == 1


def train_within(limit: int, folder: RunDir, config: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the micro-batch sizes of a run whose device has memory for `limit` images at once."""
    sizes = []

    def update(_learner: Any, micro_batches: Any, _lr: float) -> torch.Tensor:
        sizes.extend(len(batch.labels) for batch in micro_batches)
        if sizes[-1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return torch.zeros(())

    monkeypatch.setattr("roadmap.training.trainer.train_step", update)
    folder.claim()
    jobs.train(config, folder, jobs.Console(quiet=True), lambda text: None)
    return sizes


SMALL = ("recipe.epochs=1", "recipe.warmup_epochs=0", "data.image_size=32", "model.stem_stride=4")


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        (("+roadmap=step12_downsample", "recipe.mixup=0.8", "hardware.per_device_batch=60"), 30),
        (("+roadmap=step12_downsample", "recipe.mixup=0.8", "hardware.per_device_batch=6"), 2),  # half of 6 is odd
        (("+roadmap=step12_downsample", "hardware.per_device_batch=15"), 6),  # 15 has no half
    ],
)
def test_reduced_micro_batch_is_trainable(
    words: tuple[str, ...], taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan_run(roadmap.compose(*words, "recipe.total_batch=60", *SMALL, f"output_dir={tmp_path}"))
    folder = open_run_dir(planned)
    sizes = train_within(taken, folder, planned.config, monkeypatch)
    assert set(sizes[60 // planned.config.hardware.per_device_batch :]) == {taken}
    assert folder.summary()["images_at_once"] == taken


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("+roadmap=step12_downsample", "recipe.mixup=0.8"), "Mixup and CutMix pair"),
        (("+roadmap=step0_resnet",), "BatchNorm sees a 1x1 map"),
    ],
)
def test_out_of_memory_at_the_smallest_micro_batch_is_an_error(
    words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = ("recipe.total_batch=64", "hardware.per_device_batch=2")
    planned = plan_run(roadmap.compose(*words, *small, *SMALL, f"output_dir={tmp_path}"))
    with pytest.raises(TrainingError, match=rf"^out of memory with 2 images at once \(CUDA out of memory.*{told}"):
        train_within(1, open_run_dir(planned), planned.config, monkeypatch)


# Counts page faults of ten times an update's tensors, small and large, 256 MiB at once.
FAULTS = """
import resource
import torch
from roadmap.system.machine import keep_freed_memory
keep_freed_memory()
counts = []
for _ in range(11):
    [torch.ones(2**20) for _ in range(32)] + [torch.ones(2**25)]
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(counts[-1] - counts[0])
"""


@pytest.mark.system  # a program: 5 s
@pytest.mark.skipif(sys.platform != "linux", reason="of glibc's allocator")
def test_freed_memory_is_reused() -> None:
    """Otherwise each update has a page fault per 4 KiB: 650,000 here, unless glibc adapts by itself, as it may."""
    done = subprocess.run([sys.executable, "-c", FAULTS], cwd=ROOT, capture_output=True, check=True)
    assert int(done.stdout) < 100_000
