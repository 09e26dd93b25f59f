"""An intact checkpoint with another network's content, or none, is detected before it is used."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import roadmap
from roadmap.config import read_config
from roadmap.training.build_state import build_train_state
from roadmap.training.checkpoint import MismatchError
from roadmap.training.resume import METRICS, Progress, check_content, collect, restore
from roadmap.training.step import TrainState, train_step

Change = Callable[[dict[str, Any]], Any]
EPOCHS = 2


def build(*words: str) -> tuple[nn.Module, TrainState]:
    config = read_config(roadmap.compose("recipe.ema_decay=0.9", *words))
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.group_matcher = lambda coarse: {"stem": "0"}
    return network, build_train_state(network, config.data, config.recipe, config.hardware, torch.device("cpu"), 8)


def start() -> Progress:
    return Progress([], torch.zeros(5))


@pytest.fixture(params=[("adamw", 0.5), ("sgd", 1.0)], ids=["adamw", "sgd"])
def trained(request: pytest.FixtureRequest) -> tuple[nn.Module, TrainState, dict[str, Any]]:
    """A network at its start, and the content of its checkpoint after an epoch and three updates."""
    optimizer, layer_decay = request.param
    words = (
        f"recipe.optimizer={optimizer}",
        f"recipe.layer_decay={layer_decay}",
        "recipe.mixup=0",
        "recipe.cutmix=0",
    )
    network, train_state = build(*words)
    train_step(train_state, [train_state.to_device(torch.randn(8, 3, 4, 4), torch.arange(8) % 4)], 0.1)
    progress = Progress([dict.fromkeys(METRICS, 1.0)], torch.zeros(5), update=3, seconds=2.0)
    content = collect(progress, torch.ones(3), network, train_state)
    return *build(*words), copy.deepcopy(content)


def test_collected_state_is_restored(trained: tuple[nn.Module, TrainState, dict[str, Any]]) -> None:
    network, train_state, content = trained
    progress = start()
    check_content(content, progress, EPOCHS, network, train_state)
    restore(content, progress, network, train_state)
    assert (progress.epoch, progress.update, progress.seconds) == (1, 3, 2.0)
    again = collect(progress, progress.losses[:3], network, train_state)
    for name in ("model", "ema"):
        assert all(torch.equal(value, again[name][key]) for key, value in content[name].items())
    groups = again["optimizer"]["param_groups"]
    assert groups == content["optimizer"]["param_groups"]
    assert {group["lr"] for group in groups} <= {0.1, 0.05}


CHANGES: dict[str, tuple[Change, str]] = {
    "no weights": (lambda c: c.pop("model"), "it has no model"),
    "no losses": (lambda c: c.pop("losses"), "it has no losses"),
    "a number in place of weights": (lambda c: c.update(model=3), "model is int"),
    "a missing weight": (lambda c: c["model"].pop("0.bias"), "it has no model.0.bias"),
    "a weight too many": (lambda c: c["model"].update(x=torch.ones(1)), "it has model.x"),
    "another shape": (lambda c: c["model"].update({"0.bias": torch.ones(1)}), "model.0.bias is (1,)"),
    "another type": (lambda c: c["model"].update({"0.bias": torch.ones(4).half()}), "expected (4,) of float32"),
    "no tensor": (lambda c: c["model"].update({"0.bias": "x"}), "model.0.bias is str"),
    "no average": (lambda c: c.update(ema=None), "ema is NoneType"),
    "another average": (lambda c: c["ema"].pop("module.0.bias"), "it has no ema.module.0.bias"),
    "no metrics": (lambda c: c["history"][0].pop("top1"), "it has no history[0].top1"),
    "metrics that are words": (lambda c: c["history"][0].update(top1="x"), "history[0].top1 is str"),
    "another number of epochs": (lambda c: c.update(epochs=2), "it has 2 epochs and the metrics of 1"),
    "more epochs than the run": (lambda c: c.update(epochs=3, history=3 * c["history"]), "it has 3 epochs"),
    "more updates than an epoch": (lambda c: c.update(losses=torch.ones(6)), "losses is (6,)"),
    "time as a word": (lambda c: c.update(seconds="x"), "seconds is str"),
    "no groups": (lambda c: c["optimizer"].pop("param_groups"), "it has no optimizer.param_groups"),
    "groups of another network": (lambda c: c["optimizer"]["param_groups"].pop(), "param_groups differ from this"),
    "a rate that is a word": (lambda c: c["optimizer"]["param_groups"][0].update(lr="x"), "param_groups.lr is str"),
    "a moment too few": (lambda c: c["optimizer"]["state"].update({0: {}}), "it has no optimizer.state[0]."),
    "moments of another network": (
        lambda c: [c["optimizer"]["state"][0].update({k: torch.ones(7)}) for k in c["optimizer"]["state"][0]],
        "is (7,) of float32",
    ),
    "a parameter too many": (lambda c: c["optimizer"]["state"].update({9: {}}), "it has optimizer.state[9]"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_misfit_of_a_checkpoint_is_named(name: str, trained: tuple[nn.Module, TrainState, dict[str, Any]]) -> None:
    network, train_state, content = trained
    change, told = CHANGES[name]
    change(content)
    with pytest.raises(MismatchError) as caught:
        check_content(content, start(), EPOCHS, network, train_state)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
