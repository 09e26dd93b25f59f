"""One update of the weights, and one evaluation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from roadmap.data.order import Batch
from roadmap.training.hardware import seed_everything
from roadmap.training.recipe import Loss, Mix
from roadmap.training.spec import Precision

DTYPES = {Precision.fp32: torch.float32, Precision.bf16: torch.bfloat16, Precision.fp16: torch.float16}


@dataclass
class Learner:
    """What an update changes, and what it needs for that."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler  # does nothing but in fp16
    ema: AveragedModel | None
    mix: Mix
    loss: Loss
    device: torch.device
    precision: Precision
    memory_format: torch.memory_format
    clip_grad: float | None

    def autocast(self) -> Any:
        dtype = DTYPES[self.precision]
        return torch.autocast(self.device.type, dtype, enabled=self.precision is not Precision.fp32)

    def place(self, images: Tensor, labels: Tensor, seed: int | None = None) -> Batch:
        """The batch on the device, without waiting for it."""
        images = images.to(self.device, memory_format=self.memory_format, non_blocking=True)
        return Batch(images, labels.to(self.device, non_blocking=True), seed)


def train_update(learner: Learner, micro_batches: Sequence[Batch], lr: float) -> Tensor:
    """One step of the optimizer over the micro-batches of images (N, 3, S, S) and labels (N,).

    Returns their mean loss as a scalar on the device, so that nobody waits for it here.
    """
    for group in learner.optimizer.param_groups:
        group["lr"] = lr
    mean_loss = torch.zeros((), device=learner.device)
    for batch in micro_batches:
        images, labels, seed = learner.place(*batch)
        if seed is not None:
            seed_everything(seed)
        images, targets = learner.mix(images, labels)
        with learner.autocast():
            logits = learner.model(images)
            loss = learner.loss(logits, targets) / len(micro_batches)
        learner.scaler.scale(loss).backward()
        mean_loss += loss.detach()
    if learner.clip_grad is not None:
        learner.scaler.unscale_(learner.optimizer)
        nn.utils.clip_grad_norm_(learner.model.parameters(), learner.clip_grad)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.optimizer.zero_grad(set_to_none=True)
    if learner.ema is not None:
        learner.ema.update_parameters(learner.model)
    return mean_loss


@dataclass(frozen=True)
class Evaluation:
    loss: float  # mean cross-entropy
    top1: float  # percent of the images
    top5: float  # percent; 100 where there are at most five classes
    images: int


@torch.inference_mode()
def evaluate(model: nn.Module, batches: Iterable[Batch], learner: Learner) -> Evaluation:
    """Loss and accuracy over all batches, each image counted once; summed on the device."""
    model.eval()
    sums = torch.zeros(3, device=learner.device, dtype=torch.float64 if learner.device.type != "mps" else None)
    count = 0
    for batch in batches:
        images, labels, _ = learner.place(*batch)
        with learner.autocast():
            logits = model(images).float()
        best = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]  # (N, 5)
        sums += torch.stack([F.cross_entropy(logits, labels, reduction="sum"), best[:, 0].sum(), best.sum()])
        count += len(labels)
    model.train()
    loss, top1, top5 = (sums / count).tolist()
    return Evaluation(loss, 100 * top1, 100 * top5, count)
