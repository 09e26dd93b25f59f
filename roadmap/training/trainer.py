"""Training loop: epochs of updates, each followed by an evaluation, with metrics and checkpoints."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from roadmap.data.classes import Classes
from roadmap.data.fingerprint import DataRecord, describe_changes, describe_replaced, record_data
from roadmap.data.loaders import LoaderSpec, open_eval_loader, open_train_loader
from roadmap.data.sampler import Batch, Shard
from roadmap.data.sources import open_images
from roadmap.data.worker_errors import explain_worker_errors
from roadmap.errors import ChangedDataError, ConfigError, DataError, TrainingError
from roadmap.runs.loggers import RunLogger
from roadmap.runs.run_dir import RunDir
from roadmap.training.build_state import build_train_state
from roadmap.training.checkpoint import MismatchError, load_checkpoint, save_checkpoint, set_aside
from roadmap.training.distributed import SINGLE_PROCESS, ProcessGroup
from roadmap.training.progress import ProgressDisplay
from roadmap.training.recipe import learning_rate
from roadmap.training.resume import EpochClock, Progress, check_content, collect, restore
from roadmap.training.signals import StopSignals
from roadmap.training.spec import RecipeSpec, TrainingSpec, plan_accumulation
from roadmap.training.step import Evaluation, evaluate, train_step

FINITE_CHECK_EVERY = 100  # updates; each check waits for the device


class Trainer:
    """Trains one network by one recipe. All randomness follows from (seed, epoch, batch).

    Call `resume` first, then `fit`.

    Args:
        classes: those that the initial weights were trained on; the images get their indices if the names are
        equal.

    Raises:
        ConfigError: the batch size cannot be divided.
        DataError: the images are missing or not as configured.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: TrainingSpec,
        device: torch.device,
        group: ProcessGroup = SINGLE_PROCESS,
        classes: Classes | None = None,
    ):
        self.data, self.recipe, hardware = spec.data, spec.recipe, spec.hardware
        self.group = group
        self.save_every = 60 * hardware.checkpoint_minutes  # seconds
        dist_info = group.dist_info
        batch_size, accumulation = plan_accumulation(
            self.recipe.total_batch, hardware.per_device_batch, dist_info.world_size
        )
        shard = Shard(dist_info.rank, dist_info.world_size)
        self.load = LoaderSpec(
            batch_size, accumulation, spec.seed, device, hardware.workers, hardware.resident, shard
        )
        self._open_images()
        if classes is not None:
            self._match_classes(classes)
        self.network = network
        self.init_weights: str | None = None  # hash of the weights that the training started from
        self.train_state = build_train_state(network, self.data, self.recipe, hardware, device, batch_size, group)

    def _open_images(self, classes: Classes | None = None) -> None:
        self.images = train, val = open_images(self.data, recorded=classes)
        self.train_batches = open_train_loader(train, self.data, self.recipe.augment, self.load)
        self.val_batches = open_eval_loader(val, self.data, self.recipe.augment, self.load)
        self.record = record_data(train, val, (self.train_batches.total, self.val_batches.total))

    def _match_classes(self, classes: Classes) -> None:
        """Use the class indices of `classes` if they have the same names in another order."""
        if self.record.classes != list(classes.names) and sorted(self.record.classes) == sorted(classes.names):
            self._open_images(classes)

    def fit(
        self,
        run: RunDir,
        logger: RunLogger,
        display: ProgressDisplay,
        signals: StopSignals,
        warn: Callable[[str], None],
    ) -> dict[str, Any]:
        """Train to the last epoch from where `resume` left off; return the results.

        Raises:
            TrainingError: a loss or a weight is not finite; names the epoch and the update.
            Interrupted: a signal arrived; everything is saved up to the last update.
        """
        progress = self.progress
        with display, signals.held(), explain_worker_errors():
            while progress.epoch < self.recipe.epochs:
                updates = self.train_batches.updates
                clock = EpochClock(progress)
                for micro_batches in self.train_batches.epoch(progress.epoch, progress.update):
                    number = progress.epoch * updates + progress.update
                    lr = learning_rate(self.recipe, number, updates)
                    progress.losses[progress.update] = loss = train_step(self.train_state, micro_batches, lr)
                    clock.count_update()
                    display.update(number + 1, loss, lr)
                    self._close_update(progress, run, signals, clock)
                self._check_finite(progress)
                clock.stop()
                metrics = self._close_epoch(progress, run, signals)
                if self.group.dist_info.is_main_process:
                    run.log(metrics)
                    logger.log(metrics)
                    display.epoch(metrics)
                progress = Progress([*progress.history, metrics], torch.zeros_like(progress.losses))
                self._save(progress, run)
                if self.group.any_rank([signals.received is not None])[0]:
                    raise signals.stop()
        for images in self.images:
            if skipped := images.describe_skipped(self.group.all_reduce_max):
                warn(skipped)
        return summarize(progress.history)

    def _close_update(self, progress: Progress, run: RunDir, signals: StopSignals, clock: EpochClock) -> None:
        """Check the losses and save a checkpoint when due; stop after a signal."""
        if progress.update % FINITE_CHECK_EVERY == 0:
            self._check_finite(progress)
        is_due = clock.since_save() >= self.save_every and progress.update < self.train_batches.updates
        is_due, is_stopped = self.group.any_rank([is_due, signals.received is not None])
        if is_due or is_stopped:
            self._save(progress, run)
            clock.mark_saved()
        if is_stopped:
            raise signals.stop()

    def _close_epoch(self, progress: Progress, run: RunDir, signals: StopSignals) -> dict[str, Any]:
        """Evaluate an epoch whose updates are done, and return its metrics. Raises TrainingError for a NaN."""
        started = time.perf_counter()

        def score(model: nn.Module, which: str = "") -> Evaluation:
            found = evaluate(model, self._read_validation(progress, run, signals), self.train_state)
            if not found.is_finite:
                what = f"the validation loss{which} is not finite: {found.loss}"
                self._raise_not_finite(
                    what if _is_finite(model) else "a weight is not finite", progress, progress.update - 1
                )
            return found

        validation, ema = score(self.network), self.train_state.ema
        ema_top1 = {} if ema is None else {"ema_top1": score(ema, " of the averaged weights").top1}
        updates = len(progress.losses)
        number = (progress.epoch + 1) * updates
        return {
            "epoch": progress.epoch + 1,
            "update": number,
            "lr": learning_rate(self.recipe, number - 1, updates),
            "train_loss": self.group.all_reduce_mean(progress.losses).mean().item(),
            "loss": validation.loss,
            "top1": validation.top1,
            "top5": validation.top5,
            **ema_top1,
            "images_per_s": updates * self.recipe.total_batch / progress.seconds,
            "seconds": progress.seconds + time.perf_counter() - started,
        }

    def _read_validation(self, progress: Progress, run: RunDir, signals: StopSignals) -> Iterator[Batch]:
        """Yield the validation batches; save and stop if a signal arrived. Several ranks finish the evaluation."""
        for batch in self.val_batches:
            if signals.received is not None and self.group.dist_info.world_size == 1:
                self._save(progress, run)
                raise signals.stop()
            yield batch

    def _check_finite(self, progress: Progress) -> None:
        losses = self.group.all_reduce_mean(progress.losses)
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            self._raise_not_finite(f"the loss is not finite: {losses[bad[0]].item()}", progress, int(bad[0]))

    def _raise_not_finite(self, what: str, progress: Progress, update: int) -> None:
        updates = len(progress.losses)
        number = progress.epoch * updates + update
        lr = learning_rate(self.recipe, number, updates)
        raise TrainingError(
            f"{what} in epoch {number // updates + 1}, update {number + 1}, at learning rate {lr:.2e}. A lower "
            "recipe.lr, a longer recipe.warmup_epochs or recipe.clip_grad=1.0 may help. Last good checkpoint: "
            f"{self._last_saved}"
        )

    def _save(self, progress: Progress, run: RunDir) -> None:
        """Write the checkpoint. Raises TrainingError if a weight is not finite."""
        losses = self.group.all_reduce_mean(progress.losses)[: progress.update].cpu()
        if not all(map(_is_finite, (self.network, self.train_state.ema))):
            self._raise_not_finite("a weight is not finite", progress, progress.update - 1)
        self._last_saved = _describe_progress(progress, run)
        if not self.group.dist_info.is_main_process:
            return
        run.check_held()
        content = {
            "config_hash": run.config_hash,
            **self.record.to_checkpoint(),
            "init_weights": self.init_weights,
            **collect(progress, losses, self.network, self.train_state),
        }
        save_checkpoint(run.checkpoint, run.previous_checkpoint, content)

    def resume(self, run: RunDir, warn: Callable[[str], None]) -> None:
        """Load the run's checkpoint; without one, start from the first epoch.

        Raises:
            ChangedDataError: the checkpoint was trained on other images.
            ConfigError: an update has more images than there are.
            RunError: there are checkpoints, but none is usable.
        """
        if self.group.broadcast(self.record) != self.record:
            raise DataError(f"rank {self.group.dist_info.rank} finds other images in {self.data.root} than rank 0")
        progress = Progress([], torch.zeros(self.train_batches.updates, device=self.train_state.device))
        checkpoint, warning = load_checkpoint(
            run.checkpoint,
            run.previous_checkpoint,
            run.config_hash,
            lambda content: self._check_content(content, progress, run, warn),
        )
        _check_updates(self.train_batches.total, self.recipe)
        if warning:
            warn(warning)
        if checkpoint is not None:
            restore(checkpoint, progress, self.network, self.train_state)
        self._last_saved = _describe_progress(progress, run)
        self.group.broadcast(None)  # a barrier: all ranks have read before rank 0 writes
        if self.group.dist_info.is_main_process:
            if warning:
                set_aside(run.checkpoint, run.damaged_checkpoint)
            run.restore_metrics(progress.history)
        self.progress = progress

    def _check_content(
        self, content: dict[str, Any], progress: Progress, run: RunDir, warn: Callable[[str], None]
    ) -> None:
        try:
            record = DataRecord.from_checkpoint(content)
        except (KeyError, TypeError) as error:
            raise MismatchError("its record of the data is damaged") from error
        if record is not None:
            self._check_data(record, run, warn)
        _check_updates(self.train_batches.total, self.recipe)
        self.init_weights = content.get("init_weights")
        check_content(content, progress, self.recipe.epochs, self.network, self.train_state)

    def _check_data(self, record: DataRecord, run: RunDir, warn: Callable[[str], None]) -> None:
        self._match_classes(Classes(record.classes, str(run.checkpoint)))
        if changes := describe_changes(record, self.record):
            raise ChangedDataError(
                f"{run.path} was trained on other data than data.root={self.data.root} has now: "
                f"{'; '.join(changes)}. Restore the data to resume the run, or train on the new data from "
                "the start under another name, as in experiment=NAME"
            )
        for text in describe_replaced(record, self.record):
            warn(text)


def _describe_progress(progress: Progress, run: RunDir) -> str:
    if progress.epoch == progress.update == 0:
        return "none: nothing was saved yet"
    within = f" and {progress.update} updates" if progress.update else ""
    return f"{run.checkpoint}, after {progress.epoch} epochs{within}"


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


def _check_updates(count: int, recipe: RecipeSpec) -> None:
    if count < recipe.total_batch:
        raise ConfigError(
            f"recipe.total_batch={recipe.total_batch} is more than the {count} training images: "
            "an epoch would have no update. Lower it"
        )
