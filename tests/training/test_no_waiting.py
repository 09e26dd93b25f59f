"""From the start of an epoch to its end nothing asks the device for a value, so a GPU never waits for the host.

On torch's meta device tensors have no values. So any operation that waits for one (`item`, `nonzero`, indexing by a
mask, a copy back) raises, and so does an operation with a tensor that is still on the host. A copy to the device
does not raise, but it waits too if its source is not pinned: those are counted.
"""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import roadmap
from roadmap.config import Config, read_config
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.loaders import LoaderSpec, open_eval_loader, open_train_loader
from roadmap.data.sources import ArrayDataset
from roadmap.data.spec import OnError
from roadmap.training.build_state import build_train_state
from roadmap.training.step import TrainState, evaluate, train_step

META = torch.device("meta")
SETTINGS = {
    "resident": ("recipe=paper", "hardware.resident=true", "recipe.ema_decay=0.99", "recipe.clip_grad=1.0"),
    "padded crop": ("recipe=cifar10", "hardware.resident=true", "recipe.augment.crop=padded"),
    "by workers": ("recipe=paper", "hardware.resident=false", "hardware.workers=0"),
}


@pytest.fixture(autouse=True)
def meta_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace what the meta device lacks: generators, and autocast even if it is off."""
    make = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": make())
    monkeypatch.setattr(TrainState, "autocast", lambda _: nullcontext())


class SentToDevice(TorchDispatchMode):
    """Counts copies from the host."""

    def __init__(self) -> None:
        super().__init__()
        self.copies = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        is_copy = function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
        source = args[-1] if function is torch.ops.aten.copy_.default else args[0] if is_copy else None
        self.copies += is_copy and source.device.type == "cpu" and result.device == META
        return result


def prepare(step: str, *settings: str) -> tuple[Config, TrainState, LoaderSpec]:
    small = ("regime.depths.resnet=[1,1,1,1]", "regime.depths.modern=[1,1,1,1]")
    words = ("data=cifar10", *settings, *small, "recipe.total_batch=32", "hardware.per_device_batch=16")
    cfg = roadmap.compose(f"+roadmap={step}", *words)
    config = read_config(cfg)
    hardware = config.hardware
    train_state = build_train_state(roadmap.build_model(cfg), config.data, config.recipe, hardware, META, 16)
    return config, train_state, LoaderSpec(16, 2, 0, META, hardware.workers, hardware.resident)


def make_images(count: int) -> CheckedDataset:
    rng = np.random.default_rng(count)
    pixels = rng.integers(256, size=(count, 32, 32, 3), dtype=np.uint8)
    return CheckedDataset(ArrayDataset(pixels, rng.integers(10, size=count)), OnError.stop)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("step", ["step0_resnet", "step12_downsample"])
def test_epoch_does_not_synchronize(step: str, settings: tuple[str, ...]) -> None:
    config, train_state, load = prepare(step, *settings)
    updates = 0
    sent = SentToDevice()
    for micro_batches in open_train_loader(make_images(64), config.data, config.recipe.augment, load).epoch(0):
        made = list(micro_batches)
        assert [batch.images.device for batch in made] == [META, META]
        with sent:
            assert train_step(train_state, made, 1e-3).device == META
        updates += 1
    assert (updates, sent.copies) == (2, 0)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_evaluation_does_not_synchronize_before_its_sums(
    settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a partial last batch."""
    config, train_state, load = prepare("step12_downsample", *settings)
    asked = []
    sums = torch.tensor([2.0, 20.0, 40.0, 40.0])
    monkeypatch.setattr(
        type(train_state.group), "all_reduce_sum", lambda _, tensor: asked.append(tensor.device) or sums
    )
    batches = list(open_eval_loader(make_images(40), config.data, config.recipe.augment, load))
    with SentToDevice() as sent:
        assert evaluate(train_state.model, batches, train_state).images == 40
    assert (asked, sent.copies) == ([META], 0)


def test_synchronization_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    config, train_state, load = prepare("step12_downsample", *SETTINGS["resident"])
    batches = open_train_loader(make_images(64), config.data, config.recipe.augment, load).epoch(0)
    monkeypatch.setattr(train_state, "loss", lambda logits, _: logits.mean() * logits.sum().item())
    with pytest.raises(RuntimeError, match="item"):
        train_step(train_state, list(next(batches)), 1e-3)
    monkeypatch.setattr(train_state, "loss", lambda logits, _: (logits * torch.ones(10)).mean())
    with pytest.raises(RuntimeError, match="device"):
        train_step(train_state, list(next(batches)), 1e-3)
