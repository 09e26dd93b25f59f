"""One run from its configuration to its summary, which connects all packages."""

import gc
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from roadmap.config import Config, list_length_warnings
from roadmap.config.paper import match_paper_row
from roadmap.data.classes import Classes, list_names
from roadmap.data.loaders import LoaderSpec, open_eval_loader
from roadmap.data.sampler import Shard
from roadmap.data.sources import open_validation
from roadmap.data.worker_ends import explain_worker_ends
from roadmap.errors import TrainingError, WorkerMemoryError, first_line
from roadmap.model.build import build, trains_on_one_image
from roadmap.model.cost import measure_cost
from roadmap.model.weight_files import Kind
from roadmap.model.weights import import_weights, load_weights, read_source, split_source
from roadmap.runs.loggers import open_logger
from roadmap.runs.loggers.none import Logger as NoLogger
from roadmap.runs.run_dir import Identity, RunDir
from roadmap.system.console import Console
from roadmap.training.checkpoint import read_classes
from roadmap.training.device import is_out_of_memory, pick_device, seed_everything
from roadmap.training.distributed import ProcessGroup, join_group
from roadmap.training.progress import ProgressDisplay
from roadmap.training.signals import StopSignals
from roadmap.training.spec import find_rule, list_micro_batches, plan_accumulation
from roadmap.training.state import build_train_state
from roadmap.training.step import Evaluation, evaluate
from roadmap.training.trainer import Trainer


def train(config: Config, folder: RunDir, console: Console, warn: Callable[[str], None]) -> dict[str, Any]:
    """Train in a claimed folder, from its checkpoint if there is one; return the summary.

    If memory runs out, retry once with at most half the micro-batch and more gradient accumulation, or with half
    the dataloader workers if one of them was killed for lack of memory. Ranks of a process group do not retry,
    since those with enough memory would wait for the others.

    Args:
        console: shows the progress.
        warn: called with settings that have no effect or harm in a run of this length, and with nonfatal problems.

    Raises:
        RoadmapError: data, weights, batch or device are unusable, or a loss or weight is not finite.
        Interrupted: a signal requested it; everything is saved up to the last update.
    """
    with StopSignals() as signals:
        try:
            return _train_in_memory(config, folder, console, warn, signals)
        except WorkerMemoryError as error:
            if not error.workers or join_group().dist_info.world_size > 1:
                raise
            reason, before, workers = str(error), error.workers, error.workers // 2
        gc.collect()  # the frames of the error held the other workers until here
        warn(f"{reason}; going on with hardware.workers={workers} in place of {before}")
        fewer = replace(config, hardware=replace(config.hardware, workers=workers))
        return _train_in_memory(fewer, folder, console, warn, signals)


def _train_in_memory(
    config: Config, folder: RunDir, console: Console, warn: Callable[[str], None], signals: StopSignals
) -> dict[str, Any]:
    group = join_group()
    total, most = config.recipe.total_batch, config.hardware.per_device_batch
    takes_one = trains_on_one_image(config.model, config.regime, config.reference, config.data.image_size)
    rule = find_rule(config.recipe, no_single=not takes_one)
    micro_batch_size, _ = plan_accumulation(total, most, group.dist_info.world_size, rule)
    try:
        return _train(config, folder, console, warn, signals, group, {"images_at_once": micro_batch_size})
    except RuntimeError as error:
        if not is_out_of_memory(error) or group.dist_info.world_size > 1:
            raise
        reason = f"out of memory with {micro_batch_size} images at once ({first_line(error)})"
        smaller = [n for n in list_micro_batches(total, rule) if n <= micro_batch_size // 2]
        if not smaller:
            why = rule.obstacle(max(micro_batch_size // 2, 1)) or "there is no smaller micro-batch"
            raise TrainingError(f"{reason}. {why}: choose a device with more memory or another network") from error
    gc.collect()  # the error's frames held the network until here
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
    warn(f"{reason}; going on with {smaller[-1]}")
    hardware = replace(config.hardware, per_device_batch=smaller[-1])
    facts = {"images_at_once": smaller[-1], "out_of_memory_with": micro_batch_size}
    return _train(replace(config, hardware=hardware), folder, console, warn, signals, group, facts)


def _train(
    config: Config,
    folder: RunDir,
    console: Console,
    warn: Callable[[str], None],
    signals: StopSignals,
    group: ProcessGroup,
    batch_facts: dict[str, int],
) -> dict[str, Any]:
    device = pick_device(config.hardware, group.dist_info.local_rank)
    network = build_network(config)
    if config.init_from is not None and (note := load_weights(network, config.init_from, new_head=True)):
        warn(note)
    classes = find_classes(config)
    trainer = Trainer(network, config.data, config.recipe, config.hardware, device, config.seed, group, classes)
    if classes is not None:
        warn_of_other_classes(classes, trainer.record.classes, warn)
    trainer.resume(folder, warn)
    title = f"{folder.identity.name} seed {config.seed}"
    progress = ProgressDisplay(title, config.recipe.epochs, trainer.train_batches.updates, console)
    for text in list_length_warnings(config, config.recipe.epochs * trainer.train_batches.updates):
        warn(text)
    if not group.dist_info.is_main_process:
        return trainer.fit(folder, NoLogger(), progress, signals, warn)
    facts = {**collect_facts(config, folder.identity), **batch_facts, **trainer.record.facts()}
    logger = open_logger(config.logger, folder, facts, warn)
    with signals.held():
        try:
            results = trainer.fit(folder, logger, progress, signals, warn)
        except BaseException:  # also Ctrl-C, so that the dashboard shows how the run ended
            logger.finish(None)
            raise
        summary = folder.finish(
            {
                **facts,
                **results,
                "device": describe_device(device),
                "processes": group.dist_info.world_size,
                "versions": find_versions(),
            }
        )
        logger.finish(summary)
    if signals.received is not None:  # the run is done, but a sweep must stop
        raise signals.stop()
    return summary


def evaluate_weights(config: Config) -> dict[Kind, Evaluation]:
    """Return the accuracy of the weights that `init_from` names on the validation images, without training.

    If a file holds raw and averaged weights and `init_from` chooses neither, evaluate both.

    Raises:
        RoadmapError: data, weights or device can't be used.
    """
    assert config.init_from is not None  # guaranteed by Config
    group = join_group()
    device = pick_device(config.hardware, group.dist_info.local_rank)
    images = open_validation(config.data, find_classes(config))  # before weights are downloaded in vain
    states = read_source(config.init_from)
    network = build_network(config)
    for state in states.values():  # raises before anything is evaluated
        import_weights(network, state, config.init_from)
    batch_size = config.hardware.per_device_batch
    shard = Shard(group.dist_info.rank, group.dist_info.world_size)
    load = LoaderSpec(batch_size, 1, config.seed, device, config.hardware.workers, config.hardware.resident, shard)
    batches = open_eval_loader(images, config.data, config.recipe.augment, load)
    train_state = build_train_state(network, config.data, config.recipe, config.hardware, device, batch_size, group)
    evaluations = {}
    for kind, state in states.items():
        import_weights(network, state, config.init_from)
        with explain_worker_ends():
            evaluations[kind] = evaluate(network, batches, train_state)
    return evaluations


def build_network(config: Config) -> nn.Module:
    """Build the network on the CPU, so that a seed gives the same weights on any device."""
    seed_everything(config.seed)
    return build(config.model, config.regime, config.reference, config.data.image_size)


def find_classes(config: Config) -> Classes | None:
    """Return the classes that the weights of `init_from` were trained on, if our checkpoints record them."""
    if config.init_from is None:
        return None
    names = read_classes(Path(split_source(config.init_from)[0]))
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
    """Return the device's name and, for a CPU, torch's number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type} {platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"


def find_versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": torch.__version__, "timm": timm.__version__}
