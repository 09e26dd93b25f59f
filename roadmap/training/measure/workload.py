"""A network to measure with its training settings, and measuring of several in alternation."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import nn

from roadmap.model.cost import measure_cost
from roadmap.training.build_state import build_train_state
from roadmap.training.device import is_out_of_memory, seed_everything
from roadmap.training.measure.check_work import compute_bound
from roadmap.training.spec import TrainingSpec
from roadmap.training.step import TrainState

SEED = 0  # of weights, images and mixing, the same for all networks and rounds
NO_LR = 0.0  # the update does all its work but leaves the weights unchanged, so the loss stays finite


@dataclass(frozen=True)
class Workload:
    name: str
    build: Callable[[], nn.Module]  # on the CPU
    spec: TrainingSpec
    device: torch.device
    batch_size: int  # images per micro-batch
    accumulation: int = 1  # micro-batches per update

    def start(self) -> TrainState:
        """Build the train state, with the network on the device in training mode."""
        seed_everything(SEED)
        data, recipe, hardware = self.spec.data, self.spec.recipe, self.spec.hardware
        return build_train_state(self.build(), data, recipe, hardware, self.device, self.batch_size)

    @cached_property
    def macs(self) -> float:
        """Multiply-accumulates of one image's forward pass."""
        return 1e9 * measure_cost(self.build, self.spec.data.image_size).gmacs

    def find_bound(self, is_update: bool) -> float:
        """Return images/s that no device exceeds on this network."""
        precision = self.spec.hardware.precision
        return compute_bound(self.macs, self.batch_size, self.device, precision, is_update)


@dataclass
class Measured:
    """Measurements of a workload: the seconds of its parts, one value per round."""

    start: list[float] = field(default_factory=list)  # building, and the extra time of the first update
    forward: list[float] = field(default_factory=list)  # of one micro-batch, in evaluation mode
    update: list[float] = field(default_factory=list)
    evaluation: list[float] = field(default_factory=list)  # of a pass over the validation images
    checkpoint: list[float] = field(default_factory=list)
    peak_memory: int | None = None  # bytes; None if the device does not report it
    largest_batch: int | None = None  # largest micro-batch that fits into memory; None if unknown
    out_of_memory: bool = False


Turn = Callable[[Workload, Measured], object]


def measure_in_turns(
    workloads: Sequence[Workload], turns: Sequence[Turn], report: Callable[[str], None] = lambda name: None
) -> list[Measured]:
    """Measure the networks round by round, so that a temporarily busy machine slows all of them equally.

    Each network is rebuilt for its turn and is then alone in memory. One that runs out of memory is marked, and
    skipped in later rounds. On a CPU the operating system may kill the whole process instead.

    Args:
        turns: one per round.
        report: gets the name of each network before its turn.
    """
    results = [Measured() for _ in workloads]
    gc.freeze()  # so that freeing a network does not scan all of torch each time
    try:
        for turn in turns:
            for workload, result in zip(workloads, results, strict=True):
                report(workload.name)
                if not result.out_of_memory:
                    run = partial(turn, workload, result)
                    result.out_of_memory = runs_out_of_memory(workload.device, run)
    finally:
        gc.unfreeze()
    return results


def runs_out_of_memory(device: torch.device, run: Callable[[], object]) -> bool:
    """Return True if a call runs out of the device's memory, which is freed in any case."""
    try:
        run()
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return True
    finally:
        gc.collect()  # the error's frames reference the network until here
        if device.type != "cpu":
            torch.accelerator.empty_cache()
    return False


def wait(device: torch.device) -> None:
    """Wait until the device has finished its work; a GPU's calls return earlier."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
