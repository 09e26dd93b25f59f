"""Training loop: epochs of updates, each followed by an evaluation, with metrics and checkpoints."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from roadmap.data.classes import Classes
from roadmap.data.open import LoadSpec, open_eval, open_train
from roadmap.data.order import Batch, Share
from roadmap.data.reading import Images
from roadmap.data.record import DataRecord, describe_changes, describe_replaced, record_data
from roadmap.data.sources import open_images
from roadmap.data.spec import DataSpec
from roadmap.data.worker_ends import explain_worker_ends
from roadmap.errors import ChangedDataError, ConfigError, DataError, TrainingError
from roadmap.runs.folder import RunFolder
from roadmap.runs.loggers import RunLogger
from roadmap.training.checkpoint import load_checkpoint, save_checkpoint, set_aside
from roadmap.training.group import ALONE, Group
from roadmap.training.learner import build_learner
from roadmap.training.progress import ProgressDisplay
from roadmap.training.recipe import learning_rate
from roadmap.training.resume import Position, collect, find_misfit, restore
from roadmap.training.spec import HardwareSpec, RecipeSpec, plan_accumulation
from roadmap.training.stop import StopSignals
from roadmap.training.update import evaluate, train_update

FINITE_CHECK_EVERY = 100  # updates; each check waits for the device


class Trainer:
    """Trains one network by one recipe. All randomness follows from (seed, epoch, batch).

    Call `resume` first, then `fit`.

    Args:
        classes: those that the network's weights were trained on, if recorded. Equal names keep their indices.

    Raises:
        ConfigError: the batch is impossible.
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
        group: Group = ALONE,
        classes: Classes | None = None,
    ):
        self.data = data
        self.recipe = recipe
        self.group = group
        self.save_every = 60 * hardware.checkpoint_minutes  # seconds
        place = group.place
        batch_size, accumulation = plan_accumulation(recipe.total_batch, hardware.per_device_batch, place.size)
        share = Share(place.rank, place.size)
        self.load = LoadSpec(batch_size, accumulation, seed, device, hardware.workers, hardware.resident, share)
        self._open_images()
        if classes is not None:
            self._follow(classes)
        self.network = network
        self._last_saved = "is none: nothing was saved yet"
        self.learner = build_learner(network, data, recipe, hardware, device, batch_size, group)

    def _open_images(self, classes: Classes | None = None) -> None:
        self.images = train, val = open_images(self.data, recorded=classes)
        self.train_batches = open_train(train, self.data, self.recipe.augment, self.load)
        self.val_batches = open_eval(val, self.data, self.recipe.augment, self.load)
        self.record = record_data(train, val, (self.train_batches.total, self.val_batches.total))

    def _follow(self, classes: Classes) -> None:
        """Renumber the images as in other classes, if these have the same names."""
        if self.record.classes != list(classes.names) and sorted(self.record.classes) == sorted(classes.names):
            self._open_images(classes)

    def fit(
        self,
        run: RunFolder,
        logger: RunLogger,
        progress: ProgressDisplay,
        signals: StopSignals,
        warn: Callable[[str], None],
    ) -> dict[str, Any]:
        """Train from the position that `resume` set to the last epoch; return the results.

        Raises:
            TrainingError: a loss or a weight is not finite; names the epoch and the update.
            Interrupted: a signal requested it; everything is saved up to the last update.
        """
        position = self.position
        with progress, signals.held(), explain_worker_ends():
            while position.epoch < self.recipe.epochs:
                self._train_epoch(position, run, signals, progress)
                metrics = self._close_epoch(position, run, signals)
                if self.group.place.is_first:
                    run.log(metrics)
                    logger.log(metrics)
                    progress.epoch(metrics)
                position = Position([*position.history, metrics], torch.zeros_like(position.losses))
                self._save(position, run)
                if self.group.any([signals.received is not None])[0]:
                    raise signals.stop()
        for skipped in (images.skipped(self.group.highest) for images in self.images):
            if skipped.names:
                warn(str(skipped))
        return summarize(position.history)

    def _train_epoch(
        self, position: Position, run: RunFolder, signals: StopSignals, progress: ProgressDisplay
    ) -> None:
        updates, epoch = self.train_batches.updates, position.epoch
        before, saved = position.seconds, time.perf_counter()
        started = saved
        for micro_batches in self.train_batches.epoch(epoch, position.update):
            number = epoch * updates + position.update
            lr = learning_rate(self.recipe, number, updates)
            position.losses[position.update] = loss = train_update(self.learner, micro_batches, lr)
            position.update += 1
            position.seconds = before + time.perf_counter() - started
            if position.update % FINITE_CHECK_EVERY == 0:
                self._check_finite(position)
            progress.update(number + 1, loss, lr)
            is_due = time.perf_counter() - saved >= self.save_every and position.update < updates
            is_due, is_asked = self.group.any([is_due, signals.received is not None])
            if is_due or is_asked:
                self._save(position, run)
                saved = time.perf_counter()
            if is_asked:
                raise signals.stop()
        self._check_finite(position)
        position.seconds = before + time.perf_counter() - started

    def _close_epoch(self, position: Position, run: RunFolder, signals: StopSignals) -> dict[str, Any]:
        """Evaluate an epoch whose updates are done, and return its metrics."""
        started = time.perf_counter()
        batches = StoppableBatches(self.val_batches, lambda: self._stop(position, run, signals))
        validation = evaluate(self.network, batches, self.learner)
        ema = self.learner.ema
        ema_top1 = {} if ema is None else {"ema_top1": evaluate(ema, batches, self.learner).top1}
        updates = len(position.losses)
        number = (position.epoch + 1) * updates
        return {
            "epoch": position.epoch + 1,
            "update": number,
            "lr": learning_rate(self.recipe, number - 1, updates),
            "train_loss": self.group.mean(position.losses).mean().item(),
            "loss": validation.loss,
            "top1": validation.top1,
            "top5": validation.top5,
            **ema_top1,
            "images_per_s": updates * self.recipe.total_batch / position.seconds,
            "seconds": position.seconds + time.perf_counter() - started,
        }

    def _stop(self, position: Position, run: RunFolder, signals: StopSignals) -> None:
        """Stop an evaluation if a signal arrived; ranks of a group evaluate to the end, together."""
        if signals.received is not None and self.group.place.size == 1:
            self._save(position, run)
            raise signals.stop()

    def _check_finite(self, position: Position) -> None:
        losses = self.group.mean(position.losses)
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            self._raise_not_finite(f"the loss is not finite: {losses[bad[0]].item()}", position, int(bad[0]))

    def _raise_not_finite(self, what: str, position: Position, update: int) -> None:
        updates = len(position.losses)
        number = position.epoch * updates + update
        lr = learning_rate(self.recipe, number, updates)
        raise TrainingError(
            f"{what} in epoch {number // updates + 1}, update {number + 1}, at learning rate {lr:.2e}. A lower "
            "recipe.lr, a longer recipe.warmup_epochs or recipe.clip_grad=1.0 may help. The last good checkpoint "
            f"{self._last_saved}"
        )

    def _save(self, position: Position, run: RunFolder) -> None:
        """Write the checkpoint. Raises TrainingError if a weight is not finite."""
        losses = self.group.mean(position.losses)[: position.update].cpu()
        if not all(map(_is_finite, (self.network, self.learner.ema))):
            self._raise_not_finite("a weight is not finite", position, position.update - 1)
        self._last_saved = _describe_position(position, run)
        if not self.group.place.is_first:
            return
        run.check_held()
        content = {
            "config_hash": run.config_hash,
            **self.record.to_content(),
            **collect(position, losses, self.network, self.learner),
        }
        save_checkpoint(run.checkpoint, run.previous_checkpoint, content)

    def resume(self, run: RunFolder, warn: Callable[[str], None]) -> None:
        """Set the training to the run's checkpoint, or to the start if there is none.

        Raises:
            ChangedDataError: the checkpoint is of a training on other images.
            ConfigError: an update has more images than there are.
            RunError: there are checkpoints, but none is usable.
        """
        if self.group.first(self.record) != self.record:
            raise DataError(
                f"process {self.group.place.rank} finds other images in {self.data.root} than the first"
            )
        position = Position([], torch.zeros(self.train_batches.updates, device=self.learner.device))
        checkpoint, warning = load_checkpoint(
            run.checkpoint,
            run.previous_checkpoint,
            run.config_hash,
            lambda content: self._find_misfit(content, position, run, warn),
        )
        _check_updates(self.images[0], self.recipe)
        if warning:
            warn(warning)
        if checkpoint is not None:
            restore(checkpoint, position, self.network, self.learner)
        self._last_saved = _describe_position(position, run)
        self.group.first(None)  # so that nobody writes before all ranks have read
        if self.group.place.is_first:
            if warning:
                set_aside(run.checkpoint, run.damaged_checkpoint)
            run.restore_metrics(position.history)
        self.position = position

    def _find_misfit(
        self, content: dict[str, Any], position: Position, run: RunFolder, warn: Callable[[str], None]
    ) -> str | None:
        try:
            record = DataRecord.from_content(content)
        except (KeyError, TypeError):
            return "its record of the data is damaged"
        if record is not None:
            self._check_data(record, run, warn)
        _check_updates(self.images[0], self.recipe)
        return find_misfit(content, position, self.recipe.epochs, self.network, self.learner)

    def _check_data(self, record: DataRecord, run: RunFolder, warn: Callable[[str], None]) -> None:
        self._follow(Classes(record.classes, str(run.checkpoint)))
        if changes := describe_changes(record, self.record):
            raise ChangedDataError(
                f"{run.path} was trained on other data than data.root={self.data.root} has now: "
                f"{'; '.join(changes)}. Restore the data to resume it, or train on these from the start in a place "
                "of their own, as in experiment=NAME"
            )
        for text in describe_replaced(record, self.record):
            warn(text)


class StoppableBatches:
    """Batches, with a check before each whether to stop."""

    def __init__(self, batches: Iterable[Batch], look: Callable[[], None]):
        self.batches = batches
        self.look = look

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            self.look()
            yield batch


def _describe_position(position: Position, run: RunFolder) -> str:
    if position.epoch == position.update == 0:
        return "is none: nothing was saved yet"
    within = f" and {position.update} updates" if position.update else ""
    return f"{run.checkpoint} has {position.epoch} epochs{within} behind it"


def _is_finite(network: nn.Module | None) -> bool:
    """Return True if all weights and running statistics are finite."""
    values = () if network is None else network.state_dict().values()
    return all(bool(value.isfinite().all()) for value in values)


def summarize(history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a run's results from its epochs: the last one, and the best one, chosen on the validation images."""
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
