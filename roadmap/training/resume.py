"""Content of a checkpoint: collect it, check that it fits a training, and restore it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from roadmap.training.checkpoint import MismatchError
from roadmap.training.recipe import set_learning_rate
from roadmap.training.step import TrainState

METRICS = ("epoch", "update", "train_loss", "loss", "top1", "top5", "images_per_s", "seconds")  # of an epoch
HARDWARE_OPTIONS = ("lr", "fused", "capturable")  # of an optimizer, with the type of its rate


@dataclass
class Progress:
    """Progress of a training: the metrics of its finished epochs, and the state of the current epoch."""

    history: list[dict[str, Any]]
    losses: Tensor  # of this rank, (updates per epoch,); zero from `update` on
    update: int = 0  # index of the next update in the epoch
    seconds: float = 0.0  # time spent on the epoch's updates

    @property
    def epoch(self) -> int:
        """Index of the current epoch, from 0."""
        return len(self.history)


class EpochClock:
    """Measures the time of an epoch's updates, in `progress.seconds`, and the time since the last checkpoint."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self._resumed_seconds = progress.seconds
        self._started = self._saved = time.perf_counter()

    def count_update(self) -> None:
        self._progress.update += 1
        self.stop()

    def stop(self) -> None:
        self._progress.seconds = self._resumed_seconds + time.perf_counter() - self._started

    def since_save(self) -> float:
        return time.perf_counter() - self._saved

    def mark_saved(self) -> None:
        self._saved = time.perf_counter()


def collect(progress: Progress, losses: Tensor, network: nn.Module, train_state: TrainState) -> dict[str, Any]:
    """Return the content of a checkpoint.

    Args:
        losses: of the current epoch's finished updates, averaged over the ranks, on the CPU.
    """
    return {
        "epochs": progress.epoch,
        "history": progress.history,
        "losses": losses,
        "seconds": progress.seconds,
        "model": network.state_dict(),
        "optimizer": _describe_optimizer(train_state.optimizer),
        "scaler": train_state.scaler.state_dict(),
        "ema": train_state.ema.state_dict() if train_state.ema is not None else None,
    }


def restore(content: dict[str, Any], progress: Progress, network: nn.Module, train_state: TrainState) -> None:
    """Load a content without a mismatch into a new training."""
    network.load_state_dict(content["model"])
    _restore_optimizer(content["optimizer"], train_state.optimizer)
    if content["scaler"]:  # empty if the run did not use fp16 before
        train_state.scaler.load_state_dict(content["scaler"])
    if train_state.ema is not None:
        train_state.ema.load_state_dict(content["ema"])
    progress.history = content["history"]
    progress.update = len(content["losses"])
    progress.losses[: progress.update] = content["losses"].to(progress.losses.device)
    progress.seconds = content["seconds"]


def _describe_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimizer's state, with learning rates as numbers even if they are tensors."""
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        group["lr"] = float(group["lr"])
    return state


def _restore_optimizer(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Load a state, but keep the options that depend on the hardware, which may have changed."""
    options_by_group = [
        {key: group[key] for key in HARDWARE_OPTIONS if key in group} for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, options in zip(optimizer.param_groups, options_by_group, strict=True):
        group.update(options)
    first = state["param_groups"][0]
    set_learning_rate(optimizer, float(first["lr"]) / first.get("lr_scale", 1.0))


def check_content(
    content: Mapping[str, Any], progress: Progress, epochs: int, network: nn.Module, train_state: TrainState
) -> None:
    """Check that a content can be restored.

    Otherwise torch would fail with a traceback after loading part of the state, or at the next update.

    Raises:
        MismatchError: names the first wrong key.
    """
    for name, kind in {"epochs": int, "history": list, "losses": Tensor, "seconds": Real, "scaler": dict}.items():
        _check_kind(content, name, kind)
    for number, metrics in enumerate(content["history"]):
        for name in METRICS:
            _check_kind(metrics, name, Real, f"history[{number}].")
    done, losses = content["epochs"], content["losses"]
    if not 0 <= done <= epochs or done != len(content["history"]):
        raise MismatchError(f"it has {done} epochs and the metrics of {len(content['history'])}, of {epochs}")
    updates = len(progress.losses)
    if losses.ndim != 1 or len(losses) > updates or not losses.is_floating_point():
        raise MismatchError(f"losses is {_describe(losses)}, expected those of at most {updates} updates")
    _check_state(content, "model", network.state_dict())
    if train_state.ema is None and content.get("ema") is not None:
        raise MismatchError("it has averaged weights")
    if train_state.ema is not None:
        _check_state(content, "ema", train_state.ema.state_dict())
    _check_optimizer(content, train_state.optimizer)
    for name in train_state.scaler.state_dict() if content["scaler"] else ():
        _check_kind(content["scaler"], name, Real, "scaler.")


def _check_kind(content: Any, name: str, kind: Any, prefix: str = "") -> None:
    if not isinstance(content, Mapping) or name not in content:
        raise MismatchError(f"it has no {prefix}{name}")
    if not isinstance(content[name], kind):
        raise MismatchError(f"{prefix}{name} is {_describe(content[name])}, expected {kind.__name__}")


def _check_state(content: Mapping[str, Any], name: str, expected: Mapping[str, Tensor]) -> None:
    """Check that weights and buffers have the network's names, shapes and types."""
    _check_kind(content, name, Mapping)
    if unexpected := [key for key in content[name] if key not in expected]:
        raise MismatchError(f"it has {name}.{unexpected[0]}, which this network lacks")
    for key in expected:
        _check_kind(content[name], key, Tensor, f"{name}.")
        found = content[name][key]
        if (found.shape, found.dtype) != (expected[key].shape, expected[key].dtype):
            raise MismatchError(f"{name}.{key} is {_describe(found)}, expected {_describe(expected[key])}")


def _check_optimizer(content: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Check that the parameter groups match, and that each parameter has this optimizer's state in its shape."""
    _check_kind(content, "optimizer", dict)
    saved, expected = content["optimizer"], _describe_optimizer(optimizer)
    _check_kind(saved, "state", dict, "optimizer.")
    _check_kind(saved, "param_groups", list, "optimizer.")
    if len(saved["param_groups"]) != len(expected["param_groups"]):
        raise MismatchError("optimizer.param_groups differ from this optimizer's")
    for found, group in zip(saved["param_groups"], expected["param_groups"], strict=True):
        _check_kind(found, "params", list, "optimizer.param_groups.")
        for name, value in group.items():
            if value is not None and name in found:  # torch adds options that are newer than the file
                kind = Real if isinstance(value, float | int) else type(value)
                _check_kind(found, name, kind, "optimizer.param_groups.")
        if found["params"] != group["params"]:
            raise MismatchError("optimizer.param_groups differ from this optimizer's")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = ("momentum_buffer",) if isinstance(optimizer, torch.optim.SGD) else ("step", "exp_avg", "exp_avg_sq")
    for number, state in saved["state"].items():
        prefix = f"optimizer.state[{number}]."
        if number not in range(len(parameters)):
            raise MismatchError(f"it has {prefix[:-1]}, of {len(parameters)} parameters")
        for name in names:
            _check_kind(state, name, Tensor, prefix)
            shape = () if name == "step" else parameters[number].shape
            if state[name].shape != shape:
                raise MismatchError(f"{prefix}{name} is {_describe(state[name])}, expected {tuple(shape)}")


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__
