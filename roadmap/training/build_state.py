"""Builds a TrainState: the network on its device, its optimizer, and everything else that a train step needs."""

import warnings

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from roadmap.data.spec import DataSpec
from roadmap.training.device import select_algorithms
from roadmap.training.distributed import SINGLE_PROCESS, ProcessGroup
from roadmap.training.graphs import GraphExecution, open_backend
from roadmap.training.recipe import build_ema, build_loss, build_mix, build_optimizer
from roadmap.training.spec import HardwareSpec, Precision, RecipeSpec
from roadmap.training.step import Execution, TrainState


def build_train_state(
    network: nn.Module,
    data: DataSpec,
    recipe: RecipeSpec,
    hardware: HardwareSpec,
    device: torch.device,
    batch_size: int,
    group: ProcessGroup = SINGLE_PROCESS,
) -> TrainState:
    """Build the train state, with the network on its device, compiled if requested.

    Also selects the algorithms that `hardware` requests, for this whole process.
    """
    select_algorithms(hardware, device)
    memory_format = torch.channels_last if hardware.channels_last else torch.contiguous_format
    network.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]
    if hardware.compile:
        compile_network(network)
    backend = open_backend(network, hardware, device, group)
    ema = build_ema(network, recipe)
    if hardware.compile and ema is not None:
        ema.module.compile()  # a copy is not compiled by default
    return TrainState(
        model=_wrap_ddp(network, device, group),
        optimizer=build_optimizer(network, recipe, device.type in ("cpu", "cuda"), capturable=backend is not None),
        scaler=torch.amp.GradScaler(device.type, enabled=hardware.precision is Precision.fp16),
        ema=ema,
        mix=build_mix(recipe, data.num_classes, batch_size),
        loss=build_loss(recipe),
        device=device,
        precision=hardware.precision,
        memory_format=memory_format,
        clip_grad=recipe.clip_grad,
        group=group,
        execution=Execution() if backend is None else GraphExecution(backend),
    )


def compile_network(network: nn.Module) -> None:
    """Compile the network at its first call, and free earlier compiled networks.

    torch compiles at most `recompile_limit` variants of a function (8; timm raises it to 256) and then runs it
    uncompiled. A network needs up to three, for training, evaluation and a partial last batch, so the last networks
    of a long sweep would silently run uncompiled.

    The whole network is compiled, not block by block, since the next seed then profits most from the compiler's
    disk cache.
    """
    torch.compiler.reset()
    network.compile()


def _wrap_ddp(network: nn.Module, device: torch.device, group: ProcessGroup) -> nn.Module:
    if group.dist_info.world_size == 1:
        return network
    # A 1x1 weight has two equivalent strides, and its gradient may have the other; the copy is the same.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)
