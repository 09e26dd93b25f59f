"""One update of the weights, and one evaluation."""

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from roadmap.data.sampler import Batch, MicroBatches
from roadmap.errors import DataError
from roadmap.training.device import reseed
from roadmap.training.distributed import ProcessGroup
from roadmap.training.recipe import Loss, Mix, set_learning_rate
from roadmap.training.spec import Precision

DTYPES = {
    Precision.fp32: torch.float32,
    Precision.tf32: torch.float32,
    Precision.bf16: torch.bfloat16,
    Precision.fp16: torch.float16,
}


class MicroStep(NamedTuple):
    """Index of a micro-batch in its update."""

    number: int  # from 0
    total: int  # micro-batches of the update


@dataclass
class TrainState:
    """Everything that an update needs, and the state that it changes."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler  # active only in fp16
    ema: ModelEmaV3 | None
    mix: Mix
    loss: Loss
    device: torch.device
    precision: Precision
    memory_format: torch.memory_format
    clip_grad: float | None
    group: ProcessGroup  # process group that trains this network
    execution: "Execution"

    def autocast(self) -> Any:
        dtype = DTYPES[self.precision]
        return torch.autocast(self.device.type, dtype, enabled=dtype is not torch.float32)

    def no_sync(self, hold: bool) -> AbstractContextManager[Any]:
        """Skip the gradients' synchronization between ranks while an update accumulates."""
        is_shared = isinstance(self.model, DistributedDataParallel)
        return self.model.no_sync() if is_shared and hold else nullcontext()  # type: ignore[operator]

    def to_device(self, images: Tensor, labels: Tensor, seed: int | None = None) -> Batch:
        """Move the batch to the device without waiting for it."""
        images = images.to(self.device, memory_format=self.memory_format, non_blocking=True)
        return Batch(images, labels.to(self.device, non_blocking=True), seed)


def train_step(train_state: TrainState, micro_batches: Sequence[Batch] | MicroBatches, lr: float) -> Tensor:
    """Do one optimizer step over the micro-batches of images (N, 3, S, S) and labels (N,).

    Returns this rank's mean loss as a scalar on the device, without synchronization.
    """
    execution, count = train_state.execution, len(micro_batches)
    set_learning_rate(train_state.optimizer, lr)
    mean_loss = torch.zeros((), device=train_state.device)
    for number, batch in enumerate(micro_batches):
        images, labels, seed = train_state.to_device(*batch)
        if seed is not None:
            reseed(seed, train_state.device)
        images, targets = train_state.mix(images, labels)
        with train_state.no_sync(number + 1 < count):
            mean_loss += execution.forward_backward(train_state, images, targets, MicroStep(number, count))
    execution.apply_gradients(train_state)
    return mean_loss


class Execution:
    """Runs the parts of updates and evaluations; GraphExecution (graphs.py) replays them as CUDA graphs."""

    def forward_backward(self, train_state: TrainState, images: Tensor, targets: Tensor, step: MicroStep) -> Tensor:
        """Accumulate the gradients of a micro-batch; return its part of the update's mean loss."""
        with train_state.autocast():
            logits = train_state.model(images)
            # In fp32, since CUDA's autocast would leave cross_entropy in the logits' dtype.
            loss = train_state.loss(logits.float(), targets) / step.total
        train_state.scaler.scale(loss).backward()
        return loss.detach()

    def apply_gradients(self, train_state: TrainState) -> None:
        """Clip the gradients, update the weights and their moving average, and free the gradients."""
        if train_state.clip_grad is not None:
            train_state.scaler.unscale_(train_state.optimizer)
            nn.utils.clip_grad_norm_(train_state.model.parameters(), train_state.clip_grad)
        train_state.scaler.step(train_state.optimizer)
        train_state.scaler.update()
        train_state.optimizer.zero_grad(set_to_none=True)
        if train_state.ema is not None:
            train_state.ema.update(train_state.model)

    def score(self, train_state: TrainState, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Return the sums over a batch of its loss, top-1 and top-5, as (3,)."""
        with train_state.autocast():
            logits = model(images).float()
        best = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]  # (N, 5)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        return torch.stack([loss, best[:, 0].sum(), best.sum()])


@dataclass(frozen=True)
class Evaluation:
    loss: float  # mean cross-entropy
    top1: float  # percent of the images
    top5: float  # percent; 100 for at most five classes
    images: int

    @property
    def is_finite(self) -> bool:
        """Return False if a logit was NaN or infinite, so that the accuracies mean nothing: NaN has no order."""
        return math.isfinite(self.loss)


@torch.inference_mode()
def evaluate(model: nn.Module, batches: Iterable[Batch], train_state: TrainState) -> Evaluation:
    """Return loss and accuracy over all batches of all ranks, each image counted once; summed on the device.

    All ranks use rank 0's buffers, which are saved.
    """
    train_state.group.broadcast_buffers(model)
    model.eval()
    dtype = torch.float32 if train_state.device.type == "mps" else torch.float64
    sums = torch.zeros(4, device=train_state.device, dtype=dtype)  # loss, top-1, top-5, images
    images_seen = 0
    for batch in batches:
        images, labels, _ = train_state.to_device(*batch)
        sums[:3] += train_state.execution.score(train_state, model, images, labels)
        images_seen += len(labels)
    sums[3].fill_(images_seen)
    model.train()
    loss, top1, top5, count = train_state.group.all_reduce_sum(sums).tolist()
    if not count:
        raise DataError("no validation image can be read: all were skipped (data.on_error=skip)")
    return Evaluation(loss / count, 100 * top1 / count, 100 * top5 / count, round(count))
