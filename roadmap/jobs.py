"""One run from its configuration to its summary: the place where the rooms meet."""

import platform
from dataclasses import asdict
from typing import Any

import timm
import torch
from rich.console import Console
from torch import nn

from roadmap.config import Config
from roadmap.data.open import LoadSpec, open_eval
from roadmap.data.sources import open_validation
from roadmap.model.build import build
from roadmap.model.cost import measure_cost
from roadmap.model.weights import load_weights
from roadmap.paper import match_paper_row
from roadmap.runs.folder import Identity, RunFolder
from roadmap.runs.loggers import open_logger
from roadmap.training.hardware import pick_device, seed_everything
from roadmap.training.progress import ProgressDisplay
from roadmap.training.trainer import Trainer, build_learner
from roadmap.training.update import Evaluation, evaluate


def train(config: Config, folder: RunFolder, console: Console) -> dict[str, Any]:
    """Trains in a claimed folder, from its checkpoint if there is one; returns the summary.

    Raises:
        RoadmapError: data, weights, batch or device can't be used, or the loss is not finite.
    """
    device = pick_device(config.hardware)
    network = build_network(config)
    facts = collect_facts(config, folder.identity)
    trainer = Trainer(network, config.data, config.recipe, config.hardware, device, config.seed)
    title = f"{folder.identity.name} seed {config.seed}"
    progress = ProgressDisplay(title, config.recipe.epochs, trainer.train_batches.updates, console)
    logger = open_logger(config.logger, folder.identity, asdict(config), facts, folder.path)
    try:
        results = trainer.fit(folder, logger, progress)
    except BaseException:  # Ctrl-C too: the dashboard should show how the run ended
        logger.finish(None)
        raise
    summary = folder.finish({**facts, **results, "device": describe_device(device), "versions": find_versions()})
    logger.finish(summary)
    return summary


def evaluate_weights(config: Config) -> Evaluation:
    """Accuracy of the weights that `init_from` names on the validation images, without training.

    Raises:
        RoadmapError: data, weights or device can't be used.
    """
    device = pick_device(config.hardware)
    network = build_network(config)
    batch_size = config.hardware.per_device_batch
    load = LoadSpec(batch_size, 1, config.seed, device, config.hardware.workers, config.hardware.resident)
    batches = open_eval(open_validation(config.data), config.data, config.recipe.augment, load)
    learner = build_learner(network, config.data, config.recipe, config.hardware, device, batch_size)
    return evaluate(network, batches, learner)


def build_network(config: Config) -> nn.Module:
    """The network on the CPU, so that a seed gives the same weights on any device."""
    seed_everything(config.seed)
    network = build(config.model, config.regime, config.reference, config.data.image_size)
    if config.init_from is not None:
        load_weights(network, config.init_from)
    return network


def collect_facts(config: Config, identity: Identity) -> dict[str, Any]:
    """What is known before training: the network's cost on these images, and the paper's figures for it."""
    cost = measure_cost(
        lambda: build(config.model, config.regime, config.reference, config.data.image_size),
        config.data.image_size,
    )
    row = match_paper_row(identity.regime, identity.step, identity.variant)
    return {
        "gmacs": cost.gmacs,
        "parameters": cost.parameters,
        "activations": cost.activations,
        "paper_top1": row.top1 if row else None,
        "paper_gflops": row.gflops if row else None,
    }


def describe_device(device: torch.device) -> str:
    """Its name and, for a CPU, the number of threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type} {platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"


def find_versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "timm": timm.__version__}
