"""Batches of resident images on the device: several at once, and ahead of their use."""

import gc
import time
import weakref
from dataclasses import replace
from itertools import chain, islice
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

import roadmap
from roadmap.config import read_config
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.device_loader import DeviceDataset, DeviceTrainLoader, count_images_at_once
from roadmap.data.sampler import Batch, EpochSampler
from roadmap.data.sources import ArrayDataset
from roadmap.data.spec import OnError

CONFIG = read_config(roadmap.compose())
DATA = replace(CONFIG.data, image_size=16)


def make_resident(n: int) -> DeviceDataset:
    """Make images on the CPU, with their indices as labels."""
    pixels = np.random.default_rng(0).integers(256, size=(n, 16, 16, 3), dtype=np.uint8)
    images = CheckedDataset(ArrayDataset(pixels, np.arange(n)), OnError.stop)
    return DeviceDataset(images, DATA, torch.device("cpu"))


@pytest.mark.parametrize("recipe", ["paper", "short"])
def test_group_size_does_not_change_batches(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, so training does not depend on how many are made at once."""
    augment = read_config(roadmap.compose(f"recipe={recipe}")).recipe.augment
    resident = make_resident(90)

    def batches(at_once: int) -> list[Batch]:
        monkeypatch.setattr("roadmap.data.device_loader.PIXELS_AT_ONCE", at_once * 20 * 16 * 16)
        updates = DeviceTrainLoader(resident, DATA, augment, EpochSampler(90, 20, 1, 3)).epoch(2)
        return [batch for update in updates for batch in update]

    alone = batches(1)
    assert len(alone) == 4
    for at_once in (3, 100):
        for one, other in zip(alone, batches(at_once), strict=True):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels)
            assert one.seed == other.seed
            assert other.images.is_contiguous(memory_format=torch.channels_last)


def test_resumed_epoch_has_the_same_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    resident = make_resident(230)
    monkeypatch.setattr("roadmap.data.device_loader.PIXELS_AT_ONCE", 4 * 10 * 16 * 16)
    batches = DeviceTrainLoader(resident, DATA, CONFIG.recipe.augment, EpochSampler(230, 10, 2, 3))
    draw, groups = batches.augment.draw, []
    monkeypatch.setattr(
        batches.augment, "draw", lambda n, size, seeds: groups.append(seeds) or draw(n, size, seeds)
    )
    whole = [list(update) for update in batches.epoch(0)]
    made = groups.copy()
    for start in range(len(whole)):
        groups.clear()
        for update, expected in zip(batches.epoch(0, start), whole[start:], strict=True):
            assert all(torch.equal(one.images, other.images) for one, other in zip(update, expected, strict=True))
        assert groups == made[start // 2 :]  # 4 batches at once are 2 updates


def test_prefetching_does_not_change_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """In consecutive epochs, from the middle of one, after one that was left early, and out of order."""
    resident = make_resident(230)
    monkeypatch.setattr("roadmap.data.device_loader.PIXELS_AT_ONCE", 3 * 20 * 16 * 16)

    def images(batches: DeviceTrainLoader) -> list[torch.Tensor]:
        visits = ((0, 0, 99), (1, 0, 99), (1, 7, 99), (2, 0, 4), (3, 0, 99), (0, 0, 99))
        updates = (islice(batches.epoch(epoch, start), count) for epoch, start, count in visits)
        return [batch.images for update in chain(*updates) for batch in update]

    order = EpochSampler(230, 20, 1, 3)
    plain = images(DeviceTrainLoader(resident, DATA, CONFIG.recipe.augment, order))
    monkeypatch.setattr("roadmap.data.device_loader.can_prefetch", lambda device: True)
    ahead = images(DeviceTrainLoader(resident, DATA, CONFIG.recipe.augment, order))
    assert all(torch.equal(one, other) for one, other in zip(plain, ahead, strict=True))


def test_images_are_freed_with_their_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Python's garbage collector, since the next network of a sweep needs the device's memory."""
    monkeypatch.setattr("roadmap.data.device_loader.can_prefetch", lambda device: True)
    resident = make_resident(40)
    kept = weakref.ref(resident.pixels)
    batches = DeviceTrainLoader(resident, DATA, CONFIG.recipe.augment, EpochSampler(40, 20, 1, 3))
    assert sum(len(update) for update in batches.epoch(0)) == 2
    assert batches._next_epoch is not None
    gc.disable()
    try:
        del resident, batches
        end = time.monotonic() + 10
        while kept() is not None and time.monotonic() < end:  # a thread refers to them until it has drawn
            time.sleep(0.01)
        assert kept() is None
    finally:
        gc.enable()


def test_images_augmented_at_once_grow_with_gpu_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(size: int, gigabytes: int) -> int:
        monkeypatch.setattr("roadmap.data.device_loader._total_memory", lambda device: gigabytes * 10**9)
        pixels = SimpleNamespace(device=torch.device("cuda"), shape=(60_000, 3, size, size))
        return count_images_at_once(cast(torch.Tensor, pixels))

    assert count(64, 80) == 8192
    assert count(32, 80) == count(16, 80) == 32_768
    assert count(64, 8) == 8 * 10**9 // 32 // 50 // 64**2
    assert count_images_at_once(torch.empty(1, 3, 64, 64)) == 512
