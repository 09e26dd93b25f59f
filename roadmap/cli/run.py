"""One run from its configuration to its summary, which connects all packages."""

import platform
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import timm
import torch
from torch import nn

from roadmap.cli.retry_out_of_memory import MemoryRetry
from roadmap.cli.weight_origin import check_origin
from roadmap.config import Config, list_length_warnings
from roadmap.config.roadmap_files import load_roadmap
from roadmap.data.classes import Classes, list_names
from roadmap.data.loaders import LoaderSpec, open_eval_loader
from roadmap.data.sampler import Shard
from roadmap.data.sources import open_validation
from roadmap.data.worker_errors import explain_worker_errors
from roadmap.errors import TrainingError
from roadmap.model.build import build
from roadmap.model.cost import Cost, measure_cost
from roadmap.model.spec import ModelSpec, RegimeSpec
from roadmap.model.weight_files import Kind
from roadmap.model.weight_sources import find_file, hash_source, read_source, split_source
from roadmap.model.weights import import_weights, load_weights
from roadmap.runs.loggers import finished_on_error, open_logger
from roadmap.runs.loggers.none import Logger as NoLogger
from roadmap.runs.run_dir import Identity, RunDir
from roadmap.system.console import Console
from roadmap.training.build_state import build_train_state
from roadmap.training.checkpoint import read_classes
from roadmap.training.device import pick_device, seed_everything
from roadmap.training.distributed import ProcessGroup, join_group
from roadmap.training.progress import ProgressDisplay
from roadmap.training.signals import StopSignals
from roadmap.training.spec import TrainingSpec
from roadmap.training.step import Evaluation, evaluate
from roadmap.training.trainer import Trainer


def train(config: Config, folder: RunDir, console: Console, warn: Callable[[str], None]) -> dict[str, Any]:
    """Train in a claimed folder, from its checkpoint if there is one; return the summary.

    Args:
        console: shows the progress.
        warn: called with settings that have no effect or harm in a run of this length, and with nonfatal problems.

    Raises:
        RoadmapError: data, weights, batch or device are unusable, or a loss or weight is not finite.
        Interrupted: a signal requested it; everything is saved up to the last update.
    """
    trainer: Trainer | None = None
    with StopSignals() as signals:
        group = join_group()
        retry = MemoryRetry(config, group.dist_info.world_size, warn)
        while True:
            with retry:
                trainer = build_trainer(retry.config, folder, group, warn)
                trainer.resume(folder, warn)
                updates = trainer.train_batches.updates
                for text in list_length_warnings(config, config.recipe.epochs * updates):
                    warn(text)
                title = f"{folder.identity.name} seed {config.seed}"
                progress = ProgressDisplay(title, config.recipe.epochs, updates, console)
                if not group.dist_info.is_main_process:
                    return trainer.fit(folder, NoLogger(), progress, signals, warn)
                facts = {**collect_facts(config, folder.identity), **retry.facts(), **trainer.record.facts()}
                if trainer.init_weights is not None:
                    facts["init_weights"] = trainer.init_weights
                logger = open_logger(config.logger, folder, facts, warn)
                with signals.held():
                    with finished_on_error(logger):
                        results = trainer.fit(folder, logger, progress, signals, warn)
                    summary = folder.finish({**facts, **results, **describe_machine(trainer)})
                    logger.finish(summary)
                if signals.received is not None:  # the run is done, but a sweep must stop
                    raise signals.stop()
                return summary
            trainer = None  # so that the next attempt has its memory


def build_trainer(config: Config, folder: RunDir, group: ProcessGroup, warn: Callable[[str], None]) -> Trainer:
    """Build the network, load the weights that it starts from unless it resumes, and open the images."""
    device = pick_device(config.hardware, group.dist_info.local_rank)
    network = build_network(config)
    source = None if folder.has_checkpoint() else config.init_from
    if source is not None:
        if note := load_weights(network, source, new_head=True):
            warn(note)
        check_origin(network, config, warn)
    classes = find_classes(config, folder)
    spec = TrainingSpec(config.data, config.recipe, config.hardware, config.seed)
    trainer = Trainer(network, spec, device, group, classes)
    trainer.init_weights = None if source is None else hash_source(source)
    if classes is not None:
        warn_of_other_classes(classes, trainer.record.classes, warn)
    return trainer


def evaluate_weights(config: Config, warn: Callable[[str], None]) -> dict[Kind, Evaluation]:
    """Return the accuracy of the weights that `init_from` names on the validation images, without training.

    If a file holds raw and averaged weights and `init_from` chooses neither, evaluate both.

    Args:
        warn: called if timm evaluates the weights with other images.

    Raises:
        RoadmapError: data, weights or device can't be used, or a loss is not finite.
    """
    assert config.init_from is not None  # guaranteed by Config
    group = join_group()
    device = pick_device(config.hardware, group.dist_info.local_rank)
    images = open_validation(config.data, find_classes(config))  # before weights are downloaded in vain
    states = read_source(config.init_from)
    network = build_network(config)
    for state in states.values():  # raises before anything is evaluated
        import_weights(network, state, config.init_from)
    check_origin(network, config, warn)
    batch_size = config.hardware.per_device_batch
    shard = Shard(group.dist_info.rank, group.dist_info.world_size)
    load = LoaderSpec(batch_size, 1, config.seed, device, config.hardware.workers, config.hardware.resident, shard)
    batches = open_eval_loader(images, config.data, config.recipe.augment, load)
    train_state = build_train_state(network, config.data, config.recipe, config.hardware, device, batch_size, group)
    evaluations = {}
    for kind, state in states.items():
        import_weights(network, state, config.init_from)
        with explain_worker_errors():
            evaluations[kind] = found = evaluate(network, batches, train_state)
        if not found.is_finite:
            raise _explain_not_finite(found, kind, config)
    return evaluations


def _explain_not_finite(found: Evaluation, kind: Kind, config: Config) -> TrainingError:
    which = ", the averaged weights," if kind is Kind.averaged else ""
    return TrainingError(
        f"the validation loss of init_from={config.init_from}{which} is not finite: {found.loss}, so nothing is "
        "recorded. hardware.precision=fp32 helps if a lower precision overflows; otherwise a weight or a running "
        "statistic is unusable"
    )


def build_network(config: Config) -> nn.Module:
    """Build the network on the CPU, so that a seed gives the same weights on any device."""
    seed_everything(config.seed)
    scale = config.recipe.head_init_scale
    return build(config.model, config.regime, config.reference, config.data.image_size, scale)


def find_classes(config: Config, folder: RunDir | None = None) -> Classes | None:
    """Return the classes that the weights of `init_from` were trained on, if our checkpoints record them.

    Args:
        folder: a run; its checkpoint has the classes too, so that it can resume without those weights.
    """
    if config.init_from is None:
        return None
    for checkpoint in () if folder is None else (folder.checkpoint, folder.previous_checkpoint):
        if names := read_classes(checkpoint):
            return Classes(names, str(checkpoint))
    path = find_file(split_source(config.init_from)[0])
    names = None if path is None else read_classes(path)
    return None if names is None else Classes(names, config.init_from)


def warn_of_other_classes(weights: Classes, data: Sequence[str], warn: Callable[[str], None]) -> None:
    """Warn if a training starts from outputs of as many other classes; for another number, outputs are new."""
    if len(weights.names) == len(data) and sorted(weights.names) != sorted(data):
        warn(
            f"{weights.source} was trained on other classes ({list_names(weights.names)}) than the data has "
            f"({list_names(data)}): each output begins as that of another class"
        )


def collect_facts(config: Config, identity: Identity) -> dict[str, Any]:
    """Return what is known before training: the network's cost on these images, and the paper's figures for it."""
    cost = find_cost(config.model, config.regime, config.reference, config.data.image_size)
    row = load_roadmap(config.step.roadmap).find_published(identity.regime, identity.step, identity.variant)
    return {
        "gmacs": cost.gmacs,
        "parameters": cost.parameters,
        "activations": cost.activations,
        "paper_top1": row.top1 if row else None,
        "paper_gflops": row.gflops if row else None,
    }


@cache
def find_cost(model: ModelSpec, regime: RegimeSpec, reference: str | None, image_size: int) -> Cost:
    """Return the cost of a network, measured once: it takes a quarter of a second, and seeds share it."""
    return measure_cost(lambda: build(model, regime, reference, image_size), image_size)


def describe_machine(trainer: Trainer) -> dict[str, Any]:
    """Return where and with what a run was trained."""
    return {
        "device": describe_device(trainer.train_state.device),
        "processes": trainer.group.dist_info.world_size,
        "versions": find_versions(),
    }


def describe_device(device: torch.device) -> str:
    """Return the device's name and, for a CPU, torch's number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type} {platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"


def find_versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "timm": timm.__version__}
