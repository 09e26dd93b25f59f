"""Dataloader workers: their shared memory, and their end."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from roadmap.data import shared_memory as shared_batches
from roadmap.data.shared_memory import SLOTS, SharedMemoryBatches

ROOT = Path(__file__).parents[2]
# A program that keeps its batches, with prefetching workers, and exits. torch's cleanup, which waits for a while
# and sends one more signal, is disabled, since the two signals may arrive as one.
KEPT = """
import torch
from torch.utils.data import dataloader
dataloader._MultiProcessingDataLoaderIter._clean_up_worker = staticmethod(lambda worker: None)
import roadmap
from roadmap.config import read_config
from roadmap.data.loaders import LoaderSpec, open_train_loader
from roadmap.data.sources import open_images
config = read_config(roadmap.compose())
images, _ = open_images(config.data)
load = LoaderSpec(16, 1, 0, torch.device("cpu"), workers=2, resident=False)
updates = open_train_loader(images, config.data, config.recipe.augment, load).epoch(0)
print(len(next(iter(next(updates))).labels))
"""


def test_shared_memory_is_reused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_batches, "get_worker_info", lambda: "a worker")
    images = [torch.full((4, 4, 3), number, dtype=torch.uint8) for number in range(40)]
    shared = SharedMemoryBatches()
    made = [shared.stack(images[3 * number : 3 * number + 3]) for number in range(SLOTS + 1)]
    assert all(batch.is_shared() for batch in made)
    for number, batch in enumerate(made[1:], start=1):
        assert torch.equal(batch, torch.stack(images[3 * number : 3 * number + 3]))
    assert made[0].data_ptr() == made[-1].data_ptr()
    assert len({batch.data_ptr() for batch in made}) == SLOTS
    last = shared.stack(images[30:32])  # of an evaluation, with fewer images
    assert (len(last), last.data_ptr()) == (2, made[1].data_ptr())
    assert torch.equal(shared.stack(images[30:40]), torch.stack(images[30:40]))


def test_memory_is_not_reused_without_workers() -> None:
    shared, images = SharedMemoryBatches(), [torch.zeros(2, 2, 3)] * 2
    batches = [shared.stack(images) for _ in range(SLOTS + 1)]
    assert len({batch.data_ptr() for batch in batches}) == SLOTS + 1
    assert not any(batch.is_shared() for batch in batches)


# The same in a process of multiprocessing, which exits differently.
KEPT_BY_A_PROCESS = f"""
import multiprocessing
multiprocessing.get_context("fork").Process(target=exec, args=({KEPT!r}, {{}})).start()
"""


@pytest.mark.system  # two programs: 8 s each
@pytest.mark.parametrize("program", [KEPT, KEPT_BY_A_PROCESS])
def test_program_exits_with_live_workers(program: str) -> None:
    """Workers ignore the signal that multiprocessing then sends, unless they know that the program is ending."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "16\n", "")
