"""The loop: epochs of updates, an evaluation after each, metrics and a checkpoint as it goes."""

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from roadmap.data.open import LoadSpec, open_eval, open_train
from roadmap.data.sources import Images, open_images
from roadmap.data.spec import DataSpec
from roadmap.errors import ConfigError, TrainingError
from roadmap.runs.folder import RunFolder
from roadmap.runs.loggers import RunLogger
from roadmap.training.checkpoint import load_checkpoint, save_checkpoint
from roadmap.training.hardware import make_deterministic
from roadmap.training.progress import ProgressDisplay
from roadmap.training.recipe import build_ema, build_loss, build_mix, build_optimizer, learning_rate
from roadmap.training.spec import HardwareSpec, Precision, RecipeSpec, plan_accumulation
from roadmap.training.update import Learner, evaluate, train_update

FINITE_CHECK_EVERY = 100  # updates; each check waits for the device


class Trainer:
    """Trains one network by one recipe. All randomness follows from (seed, update) and (seed, epoch, batch).

    Raises:
        ConfigError: the batch can't be made, or is larger than the data.
        DataError: the images are missing or not as configured.
    """

    def __init__(
        self,
        network: nn.Module,
        data: DataSpec,
        recipe: RecipeSpec,
        hardware: HardwareSpec,
        device: torch.device,
        seed: int,
    ):
        self.recipe = recipe
        self.seed = seed
        batch_size, accumulation = plan_accumulation(recipe.total_batch, hardware.per_device_batch)
        if hardware.deterministic:
            make_deterministic(device)
        train_images, val_images = open_images(data)
        _check_updates(train_images, recipe)
        load = LoadSpec(batch_size, accumulation, seed, device, hardware.workers, hardware.resident)
        self.train_batches = open_train(train_images, data, recipe.augment, load)
        self.val_batches = open_eval(val_images, data, recipe.augment, load)
        self.network = network
        self.learner = build_learner(network, data, recipe, hardware, device, batch_size)

    def fit(self, run: RunFolder, logger: RunLogger, progress: ProgressDisplay) -> dict[str, Any]:
        """Trains from the run's checkpoint, or from the start, to the last epoch; returns the results.

        Raises:
            TrainingError: the loss is not finite; names the epoch and the update.
        """
        history = self._resume(run)
        with progress:
            for epoch in range(len(history), self.recipe.epochs):
                metrics = self._train_epoch(epoch, progress)
                run.log(metrics)
                logger.log(metrics)
                progress.epoch(metrics)
                history.append(metrics)
                save_checkpoint(run.checkpoint, self._checkpoint(epoch + 1))
        return summarize(history)

    def _train_epoch(self, epoch: int, progress: ProgressDisplay) -> dict[str, Any]:
        updates = self.train_batches.updates
        losses = torch.zeros(updates, device=self.learner.device)
        started = time.perf_counter()
        for index, micro_batches in enumerate(self.train_batches.epoch(epoch)):
            update = epoch * updates + index
            lr = learning_rate(self.recipe, update, updates)
            losses[index] = train_update(self.learner, micro_batches, lr)
            if (index + 1) % FINITE_CHECK_EVERY == 0:
                self._check_finite(losses, epoch)
            progress.update(update + 1, losses[index], lr)
        self._check_finite(losses, epoch)
        seconds = time.perf_counter() - started
        validation = evaluate(self.network, self.val_batches, self.learner)
        metrics = {
            "epoch": epoch + 1,
            "update": (epoch + 1) * updates,
            "lr": lr,
            "train_loss": losses.mean().item(),
            "loss": validation.loss,
            "top1": validation.top1,
            "top5": validation.top5,
            "images_per_s": updates * self.recipe.total_batch / seconds,
            "seconds": time.perf_counter() - started,
        }
        if self.learner.ema is not None:
            metrics["ema_top1"] = evaluate(self.learner.ema, self.val_batches, self.learner).top1
        return metrics

    def _check_finite(self, losses: Tensor, epoch: int) -> None:
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            update = epoch * len(losses) + int(bad[0])
            lr = learning_rate(self.recipe, update, len(losses))
            raise TrainingError(
                f"the loss is not finite: {losses[bad[0]].item()} in epoch {epoch + 1}, update {update + 1}, "
                f"at learning rate {lr:.2e}. A lower recipe.lr, a longer recipe.warmup_epochs or "
                "recipe.clip_grad=1.0 may help"
            )

    def _checkpoint(self, epochs: int) -> dict[str, Any]:
        learner = self.learner
        return {
            "epochs": epochs,
            "model": self.network.state_dict(),
            "optimizer": learner.optimizer.state_dict(),
            "scaler": learner.scaler.state_dict(),
            "ema": learner.ema.state_dict() if learner.ema is not None else None,
        }

    def _resume(self, run: RunFolder) -> list[dict[str, Any]]:
        """The metrics of the epochs that the run's checkpoint has behind it."""
        checkpoint = load_checkpoint(run.checkpoint)
        if checkpoint is None:
            return run.keep_metrics(0)
        self.network.load_state_dict(checkpoint["model"])
        self.learner.optimizer.load_state_dict(checkpoint["optimizer"])
        self.learner.scaler.load_state_dict(checkpoint["scaler"])
        if self.learner.ema is not None:
            self.learner.ema.load_state_dict(checkpoint["ema"])
        return run.keep_metrics(checkpoint["epochs"])


def build_learner(
    network: nn.Module,
    data: DataSpec,
    recipe: RecipeSpec,
    hardware: HardwareSpec,
    device: torch.device,
    batch_size: int,
) -> Learner:
    """The network on its device, with the optimizer and everything else that an update needs."""
    memory_format = torch.channels_last if hardware.channels_last else torch.contiguous_format
    network.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]
    if hardware.compile:
        network.compile()
    return Learner(
        model=network,
        optimizer=build_optimizer(network, recipe, fused=device.type in ("cpu", "cuda")),
        scaler=torch.amp.GradScaler(device.type, enabled=hardware.precision is Precision.fp16),
        ema=build_ema(network, recipe),
        mix=build_mix(recipe, data.num_classes, batch_size),
        loss=build_loss(recipe),
        device=device,
        precision=hardware.precision,
        memory_format=memory_format,
        clip_grad=recipe.clip_grad,
    )


def summarize(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The results of a run from its epochs: the last, and the best as picked on the validation images."""
    last = history[-1]
    best = max(history, key=lambda metrics: metrics["top1"])
    keys = ("top1", "top5", "loss", "train_loss", "ema_top1")
    return {
        "epochs": last["epoch"],
        "updates": last["update"],
        **{key: last[key] for key in keys if key in last},
        "best_top1": best["top1"],
        "best_epoch": best["epoch"],
        "images_per_s": float(np.median([metrics["images_per_s"] for metrics in history])),
        "seconds": sum(metrics["seconds"] for metrics in history),
    }


def _check_updates(images: Images, recipe: RecipeSpec) -> None:
    if len(images) < recipe.total_batch:
        raise ConfigError(
            f"recipe.total_batch={recipe.total_batch} is more than the {len(images)} training images: "
            "an epoch would have no update. Lower it"
        )
