"""Time of a network's parts on this device: forward pass, update, evaluation, checkpoint and start.

A network is timed alone, on one synthetic batch that is already on the device, or as a run, which also reads and
augments its batches. Both use the trainer's update (`step.py`).
"""

import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from roadmap.data.sampler import Batch, MicroBatches
from roadmap.data.spec import OnError
from roadmap.errors import MeasurementError
from roadmap.training.checkpoint import save_checkpoint
from roadmap.training.measure.check_work import CORE_BYTES, CountedBatches, Work, check_work
from roadmap.training.measure.images import OpenData
from roadmap.training.measure.workload import NO_LR, Measured, Workload, wait
from roadmap.training.step import TrainState, evaluate, train_step

NETWORK_SECONDS = 0.2  # shortest timing of a network alone
RUN_SECONDS = 1.0  # shortest timing of a run's part: a loader's speed varies from batch to batch
FEWEST = 3  # least updates of a run, or evaluation batches, per timing
WAIT_EVERY = 20  # updates between synchronizations, without which the host would run ahead of the clock


def make_batch(workload: Workload, train_state: TrainState) -> Batch:
    """Return a synthetic batch on the device."""
    data = workload.spec.data
    images = torch.randn(workload.batch_size, 3, data.image_size, data.image_size)
    labels = torch.randint(data.num_classes, (workload.batch_size,))
    return train_state.to_device(images, labels)


def time_network(workload: Workload, result: Measured) -> None:
    """Time the forward pass in evaluation mode, and updates of one batch, without gradient accumulation.

    Raises:
        ConfigError: the batch size is impossible, or an image is too small for the network.
        MeasurementError: the network did not do its work.
    """
    workload = replace(workload, accumulation=1)
    train_state = workload.start()
    batch = make_batch(workload, train_state)
    train_state.model.eval()
    result.forward.append(_time_calls(lambda count: run_forward(workload, train_state, batch, count)))
    train_state.model.train()
    updates = itertools.repeat([batch])
    result.update.append(_time_calls(lambda count: run_updates(workload, train_state, updates, count)[1]))


def _time_calls(run: Callable[[int], float]) -> float:
    run(1)  # warm-up
    return _repeat_until_long(run, 1, NETWORK_SECONDS)


def time_run(workload: Workload, data: OpenData, folder: Path, result: Measured) -> None:
    """Time the parts that `trainer.py` repeats, on the run's own batches; `folder` is for checkpoints.

    Prefetched batches are dropped before the clock starts, since a queue that was filled between timings would look
    like a fast loader.

    Raises:
        MeasurementError: a part did not do its work.
    """
    started = time.perf_counter()
    train_state = workload.start()
    built = time.perf_counter() - started
    for micro_batches in itertools.islice(data.updates, data.prefetch_factor):
        list(micro_batches)

    def time_updates(count: int) -> float:
        return run_updates(workload, train_state, data.updates, count)[1]

    first = time_updates(1)
    time_updates(1)
    update = _repeat_until_long(time_updates, FEWEST, RUN_SECONDS)
    result.update.append(update)
    result.start.append(built + max(first - update, 0.0))
    result.evaluation.append(_time_evaluation(workload, train_state, data))
    result.checkpoint.append(_time_checkpoint(train_state, folder))


def _repeat_until_long(run: Callable[[int], float], fewest: int, shortest: float) -> float:
    """Return the seconds per call of `run`, from as many calls as take at least `shortest` seconds."""
    count = fewest
    while (seconds := run(count)) < shortest:
        count *= max(2, min(8, math.ceil(1.2 * shortest / seconds)))
    return seconds / count


def run_forward(workload: Workload, train_state: TrainState, batch: Batch, count: int) -> float:
    """Return the seconds of `count` forward passes."""
    wait(workload.device)
    started = time.perf_counter()
    for _ in range(count):
        logits = infer(train_state, batch)
    wait(workload.device)
    seconds = time.perf_counter() - started
    work = Work(len(logits), logits.float().abs().mean().item())
    bound = workload.find_bound(is_update=False)
    check_work(f"{workload.name}, forward pass", work, workload.batch_size, seconds / count, bound)
    return seconds


@torch.inference_mode()
def infer(train_state: TrainState, batch: Batch) -> Tensor:
    with train_state.autocast():
        logits: Tensor = train_state.model(batch.images)
    return logits


def run_updates(
    workload: Workload,
    train_state: TrainState,
    updates: Iterator[Sequence[Batch] | MicroBatches],
    count: int,
    at_least: float = 0.0,
) -> tuple[int, float]:
    """Make `count` updates as the trainer does, and more until `at_least` seconds have passed.

    Returns:
        The number of updates, and their seconds.

    Raises:
        MeasurementError: they did not do their work.
    """
    losses: list[Tensor] = []
    images = 0
    wait(workload.device)
    started = time.perf_counter()
    while len(losses) < count or time.perf_counter() - started < at_least:
        batches = CountedBatches(next(updates))
        losses.append(train_step(train_state, batches, NO_LR))
        images += batches.images
        if at_least and len(losses) % WAIT_EVERY == 0:
            wait(workload.device)
    wait(workload.device)
    seconds = time.perf_counter() - started
    loss = torch.stack(losses)
    work = Work(images, loss.mean().item() if loss.all() else 0.0)
    expected = len(losses) * workload.batch_size * workload.accumulation
    if workload.spec.data.on_error is OnError.skip:  # batches may lack skipped images
        expected = min(expected, max(images, 1))
    check_work(f"{workload.name}, updates", work, expected, seconds, workload.find_bound(is_update=True))
    return len(losses), seconds


def _time_evaluation(workload: Workload, train_state: TrainState, data: OpenData) -> float:
    """Return the seconds of a pass over all validation images, extrapolated from some batches."""
    images = 0

    def take(count: int) -> Iterator[Batch]:
        nonlocal images
        for batch in itertools.islice(data.val_batches, count):
            images += len(batch.labels)
            yield batch

    def run(count: int) -> float:
        nonlocal images
        images, started = 0, time.perf_counter()
        found = evaluate(train_state.model, take(count), train_state)
        seconds = time.perf_counter() - started
        bound = workload.find_bound(is_update=False)
        check_work(f"{workload.name}, evaluation", Work(found.images, found.loss), images, seconds, bound)
        return seconds

    run(1 + data.prefetch_factor)
    count = FEWEST
    while (seconds := run(count)) < RUN_SECONDS and images < data.val_images:
        count *= 2
    return seconds * data.val_images / images


def _time_checkpoint(train_state: TrainState, folder: Path) -> float:
    """Return the seconds of a save, including the check of all weights before it."""
    weights = list(train_state.model.parameters())
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path, previous = Path(temporary) / "checkpoint.pt", Path(temporary) / "previous.pt"
        started = time.perf_counter()
        assert all(bool(tensor.isfinite().all()) for tensor in weights)
        content = {
            "model": train_state.model.state_dict(),
            "optimizer": train_state.optimizer.state_dict(),
            "ema": train_state.ema.state_dict() if train_state.ema is not None else None,
        }
        save_checkpoint(path, previous, content)
        seconds = time.perf_counter() - started
        size = path.stat().st_size if path.exists() else 0
    least = sum(tensor.numel() * tensor.element_size() for tensor in weights)
    if size < least or size > seconds * CORE_BYTES:
        raise MeasurementError(
            f"checkpoint: {size:,} bytes in {seconds:.2g} s, but the weights alone are {least:,}: it was not saved"
        )
    return seconds
