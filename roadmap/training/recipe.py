"""Functions of the recipe: learning rate, parameter groups, mixing, loss and moving average."""

import math
from collections.abc import Callable, Collection
from typing import Any

import torch
from timm.data import Mixup
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from roadmap.errors import ConfigError
from roadmap.training.spec import Optimizer, RecipeSpec, Schedule

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]


def learning_rate(recipe: RecipeSpec, update: int, updates_per_epoch: int) -> float:
    """Return the learning rate of an update, counted from 0: linear from 0, then cosine or steps (table 5)."""
    warmup = round(recipe.warmup_epochs * updates_per_epoch)
    total = recipe.epochs * updates_per_epoch
    if update < warmup:
        return recipe.lr * update / warmup
    if recipe.schedule is Schedule.step:
        return recipe.lr * 0.1 ** ((recipe.decays + 1) * update // total)
    progress = (update - warmup) / (total - warmup)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * progress)) / 2


def build_optimizer(
    model: nn.Module, recipe: RecipeSpec, fused: bool = False, capturable: bool = False
) -> torch.optim.Optimizer:
    """Build AdamW or SGD over the parameter groups.

    Args:
        capturable: for CUDA graphs: each group's learning rate is an fp32 tensor on the weights' device.
    """
    groups = _group_parameters(model, recipe)
    lr: float | Tensor = recipe.lr
    if capturable:
        lr = torch.tensor(recipe.lr, device=next(model.parameters()).device)
        groups = [{**group, "lr": lr.clone()} for group in groups]
    if recipe.optimizer is Optimizer.sgd:
        return torch.optim.SGD(groups, lr=lr, momentum=recipe.momentum, fused=fused)
    betas = (recipe.momentum, recipe.beta2)
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=1e-8, fused=fused, capturable=capturable)


def _group_parameters(model: nn.Module, recipe: RecipeSpec) -> list[dict[str, Any]]:
    """Group parameters by weight decay, and for layer-wise decay by timm's layers: the stem, each block, the head.

    Weight decay skips biases, 1-d parameters and the model's `no_weight_decay`, unless recipe.decay_all is set.
    timm's Swin lists its relative position biases there, as in the released code.
    """
    no_weight_decay: Callable[[], Collection[str]] = getattr(model, "no_weight_decay", tuple)
    excluded = () if recipe.decay_all else no_weight_decay()
    if recipe.layer_decay < 1:
        return param_groups_layer_decay(
            model,
            recipe.weight_decay,
            excluded,
            weight_decay_exclude_1d=not recipe.decay_all,
            layer_decay=recipe.layer_decay,
        )
    if recipe.decay_all:
        return [{"params": list(model.parameters()), "weight_decay": recipe.weight_decay}]
    return param_groups_weight_decay(model, recipe.weight_decay, no_weight_decay_list=excluded)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set each group's rate to lr times its lr_scale; in place for tensors, which CUDA graphs read."""
    for group in optimizer.param_groups:
        scaled = lr * group.get("lr_scale", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(scaled)
        else:
            group["lr"] = scaled


def build_mix(recipe: RecipeSpec, num_classes: int, batch_size: int) -> Mix:
    """Build Mixup or CutMix, drawn per batch, from labels (N,) to smoothed targets (N, classes); or the identity.

    Raises:
        ConfigError: the batch size is odd, which timm's Mixup does not support.
    """
    if recipe.mixup == recipe.cutmix == 0:
        return lambda images, labels: (images, labels)
    if batch_size % 2:
        raise ConfigError(
            f"Mixup and CutMix pair the images of a batch, so its size can't be odd: {batch_size} images. "
            "Choose an even recipe.total_batch and hardware.per_device_batch"
        )
    return Mixup(
        mixup_alpha=recipe.mixup,
        cutmix_alpha=recipe.cutmix,
        switch_prob=0.5,
        mode="batch",
        label_smoothing=recipe.label_smoothing,
        num_classes=num_classes,
    )


def build_loss(recipe: RecipeSpec) -> Loss:
    """Build the mean cross-entropy of logits (N, classes) with labels (N,), smoothed, or targets (N, classes)."""
    is_mixed = recipe.mixup > 0 or recipe.cutmix > 0  # then the targets are smoothed already
    return nn.CrossEntropyLoss(label_smoothing=0.0 if is_mixed else recipe.label_smoothing)


def build_ema(model: nn.Module, recipe: RecipeSpec) -> ModelEmaV3 | None:
    """Build the moving average of weights and BatchNorm statistics; None if the recipe has none.

    It starts from the initial weights, as in the released code. torch's AveragedModel would synchronize with the
    device in each update, to copy its count.
    """
    return None if recipe.ema_decay is None else ModelEmaV3(model, recipe.ema_decay)
