"""A network on its device, with the optimizer and everything else that an update of it needs."""

import warnings

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from roadmap.data.spec import DataSpec
from roadmap.training.group import ALONE, Group
from roadmap.training.hardware import choose_algorithms
from roadmap.training.recipe import build_ema, build_loss, build_mix, build_optimizer
from roadmap.training.spec import HardwareSpec, Precision, RecipeSpec
from roadmap.training.update import Learner


def build_learner(
    network: nn.Module,
    data: DataSpec,
    recipe: RecipeSpec,
    hardware: HardwareSpec,
    device: torch.device,
    batch_size: int,
    group: Group = ALONE,
) -> Learner:
    """The network on its device, compiled if asked for, with the optimizer and all else that an update needs.

    What the process computes from here on takes the algorithms that `hardware` asks for.
    """
    choose_algorithms(hardware, device)
    memory_format = torch.channels_last if hardware.channels_last else torch.contiguous_format
    network.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]
    if hardware.compile:
        compile_alone(network)
    ema = build_ema(network, recipe)
    if hardware.compile and ema is not None:
        ema.module.compile()  # which a copy is not by itself
    return Learner(
        model=_share_gradients(network, device, group),
        optimizer=build_optimizer(network, recipe, fused=device.type in ("cpu", "cuda")),
        scaler=torch.amp.GradScaler(device.type, enabled=hardware.precision is Precision.fp16),
        ema=ema,
        mix=build_mix(recipe, data.num_classes, batch_size),
        loss=build_loss(recipe),
        device=device,
        precision=hardware.precision,
        memory_format=memory_format,
        clip_grad=recipe.clip_grad,
        group=group,
    )


def compile_alone(network: nn.Module) -> None:
    """Compiles the network when it first runs, and forgets those before.

    torch compiles a function in at most `recompile_limit` forms (8; timm raises it to 256) and then runs it
    uncompiled. A network takes up to three, for training, evaluation and a last batch that is not full, so the last
    networks of a long sweep would run as if nothing had been asked for.

    Whole, as the compiler's own cache on disk then serves the next seed soonest: step 12 of resnet50, first update
    and evaluation, 135 s and afterwards 13 s; block by block 94 s and 16 s; by stages it fails on the last batch
    (n = 1, 2 cores of an Intel Xeon of 2.5 GHz, torch 2.14.1, 2026-11-26).
    """
    torch.compiler.reset()
    network.compile()


def _share_gradients(network: nn.Module, device: torch.device, group: Group) -> nn.Module:
    if group.place.size == 1:
        return network
    # The strides of a 1x1 weight can be written in two ways, and its gradient has the other; both are copied alike.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)
