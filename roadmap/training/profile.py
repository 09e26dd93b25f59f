"""Speed of inference and training on this device, and the memory that they need.

Times the project's own update (`step.py`) on synthetic images that are already on the device, so that reading and
augmenting images has no influence. The networks take turns, round by round, so that a temporarily busy machine
slows all of them alike; each is built again for its turn and is then alone in memory.
"""

import gc
import json
import math
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity

from roadmap.data.sampler import Batch
from roadmap.data.spec import DataSpec
from roadmap.errors import MeasurementError
from roadmap.model.cost import measure_cost
from roadmap.system.machine import count_memory
from roadmap.training.device import is_out_of_memory, seed_everything
from roadmap.training.spec import HardwareSpec, RecipeSpec
from roadmap.training.state import build_train_state
from roadmap.training.step import TrainState, train_step
from roadmap.training.work import CountedBatches, Work, check_work, compute_bound

Result = TypeVar("Result")

MIN_SECONDS = 0.2  # of one timing; shorter calls are repeated
SEED = 0  # of weights, images and mixing, the same for all networks and rounds
NO_LR = 0.0  # the update does all its work but leaves the weights unchanged, so the loss stays finite


@dataclass(frozen=True)
class Workload:
    """A network to measure, and everything that its update needs."""

    name: str
    build: Callable[[], nn.Module]  # on the CPU
    data: DataSpec
    recipe: RecipeSpec
    hardware: HardwareSpec
    device: torch.device
    batch_size: int  # images at once; an update has one such batch, whatever the recipe accumulates


@dataclass
class Measurement:
    forward: list[float] = field(default_factory=list)  # images/s of each round, in evaluation mode
    update: list[float] = field(default_factory=list)  # images/s of each round, of whole updates
    peak_memory: int | None = None  # bytes; None if the device does not report it
    out_of_memory: bool = False


def measure(
    workloads: Sequence[Workload], rounds: int, report: Callable[[str], None] = lambda name: None
) -> list[Measurement]:
    """Measure each network's memory, then its speed in `rounds` rounds; `report` gets each name beforehand.

    A network that runs out of memory is marked and skipped in later rounds. On a CPU the operating system may kill
    the whole process instead.

    Raises:
        ConfigError: the batch can't be made, or an image is too small for a network.
        MeasurementError: a network did not do its work.
    """
    results = [Measurement() for _ in workloads]
    gc.freeze()  # so that the collection of a network does not search all of torch each time
    try:
        for number in range(rounds + 1):
            for workload, result in zip(workloads, results, strict=True):
                report(workload.name)
                if not result.out_of_memory:
                    _take_turn(workload, result, times=number > 0)
    finally:
        gc.unfreeze()
    return results


def _take_turn(workload: Workload, result: Measurement, times: bool) -> None:
    try:
        if times:
            forward, update = measure_rates(workload)
            result.forward.append(forward)
            result.update.append(update)
        else:
            result.peak_memory = measure_peak_memory(workload)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        result.out_of_memory = True
    _free_memory(workload.device)


def _free_memory(device: torch.device) -> None:
    gc.collect()  # an error's frames held the network until here
    if device.type != "cpu":
        torch.accelerator.empty_cache()


def measure_rates(workload: Workload) -> tuple[float, float]:
    """Images a second of the forward pass in evaluation mode, and of whole updates.

    Raises:
        MeasurementError: the network did not do its work.
    """
    train_state, batch = _prepare(workload)
    train_state.model.eval()
    forward = _measure_rate(workload, lambda: _infer(train_state, batch), is_update=False)
    train_state.model.train()
    return forward, _measure_rate(workload, lambda: _update(train_state, batch), is_update=True)


def _measure_rate(workload: Workload, run: Callable[[], tuple[int, Tensor]], is_update: bool) -> float:
    """Images a second of a call, which returns how many it took and what came out."""
    seconds, (images, output) = _time(run, workload.device)
    work = Work(images, output.float().abs().mean().item())
    what = f"{workload.name}, {'update' if is_update else 'forward pass'}"
    check_work(what, work, workload.batch_size, seconds, find_bound(workload, is_update))
    return workload.batch_size / seconds


def find_bound(workload: Workload, is_update: bool) -> float:
    """Images a second that no device exceeds on this network."""
    macs = 1e9 * measure_cost(workload.build, workload.data.image_size).gmacs
    return compute_bound(macs, workload.batch_size, workload.device, workload.hardware.precision, is_update)


def measure_peak_memory(workload: Workload) -> int | None:
    """Return the peak of bytes in tensors during training, as counted by torch's allocator.

    That is weights, gradients, the optimizer's state, activations, temporaries and the batch, but neither
    the process itself nor what libraries allocate past torch. CUDA's allocator keeps the peak; for the CPU
    it is read from the profiler's record of every allocation; Apple's GPU tells no peak.

    Raises:
        MeasurementError: there are fewer bytes than weights and gradients take, so no update was made.
    """
    device = workload.device
    if device.type == "cpu":
        peak, least = _peak_of_profile(lambda: _update_twice(workload))
    elif device.type != "cuda":
        _update_twice(workload)
        return None
    else:
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        least = _update_twice(workload)
        peak = torch.cuda.max_memory_allocated(device) - before
    if peak < least:
        raise MeasurementError(
            f"{workload.name}: a peak of {peak:,} bytes, but weights and gradients alone take {least:,}: no update "
            "was made"
        )
    return peak


def find_largest_batch(workload: Workload, limit: int | None = None) -> int | None:
    """Return the most images at once that fit into memory and divide the recipe's total batch evenly.

    On a GPU, sizes are tried in steps of about a factor of two, from the run's own size upwards until one runs out
    of memory. On a CPU that would kill the process. So the machine's memory, or `limit` in bytes, is compared with
    a straight line through the peaks of two small sizes; the process's memory outside tensors is not included.

    Returns:
        None if not even the smallest size fits, or if the device does not report its memory.
    """
    sizes = list_batches(workload.recipe)
    if workload.device.type == "cpu":
        return _find_by_line(workload, sizes, count_memory() if limit is None else limit)
    if workload.device.type != "cuda":
        return None
    own = max(bisect_right(sizes, workload.batch_size) - 1, 0)
    fitting = list(takewhile(lambda size: _fits(workload, size), sizes[own:]))
    if fitting:
        return fitting[-1]
    return next((size for size in reversed(sizes[:own]) if _fits(workload, size)), None)


def _fits(workload: Workload, batch_size: int) -> bool:
    try:
        measure_peak_memory(replace(workload, batch_size=batch_size))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        _free_memory(workload.device)
    return True


def list_batches(recipe: RecipeSpec) -> list[int]:
    """Return micro-batch sizes that divide the total batch evenly, each at least twice the one before; last, all.

    Excludes single images, which BatchNorm cannot process, and odd sizes if Mixup or CutMix pair images.
    """
    step = 1 if recipe.mixup == recipe.cutmix == 0 else 2
    sizes = [recipe.total_batch]
    for size in range(recipe.total_batch // 2, 1, -1):
        if recipe.total_batch % size == 0 and size % step == 0 and size <= sizes[0] // 2:
            sizes.insert(0, size)
    return sizes


def _find_by_line(workload: Workload, sizes: list[int], limit: int) -> int | None:
    small, large = (max(sizes[0], 8), max(2 * sizes[0], 16))
    low, high = (measure_peak_memory(replace(workload, batch_size=size)) for size in (small, large))
    assert low is not None  # a CPU reports its memory
    assert high is not None
    an_image = max((high - low) / (large - small), 0.0)
    fitting = [size for size in sizes if low + an_image * (size - small) <= limit]
    return fitting[-1] if fitting else None


def _update_twice(workload: Workload) -> int:
    """From building to the second update: the first one only creates the optimizer's state.

    Returns the bytes of weights and gradients, which it takes at least.
    """
    train_state, batch = _prepare(workload)
    for _ in range(2):
        _update(train_state, batch)
    trained = [weights for weights in train_state.model.parameters() if weights.requires_grad]
    return 2 * sum(weights.numel() * weights.element_size() for weights in trained)


def _peak_of_profile(run: Callable[[], int]) -> tuple[int, int]:
    """The peak in bytes, and what `run` returns."""
    activities = [ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True, acc_events=True) as profiler:
        result = run()
        gc.collect()  # the profiler has to see that all is freed
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    records = [event["args"] for event in events if event["name"] == "[memory]"]
    start = (
        records[0]["Total Allocated"] - records[0]["Bytes"] if records else 0
    )  # what earlier profiles left behind
    return max((record["Total Allocated"] for record in records), default=0) - start, result


def _prepare(workload: Workload) -> tuple[TrainState, Batch]:
    """Return the learner, in training mode, and a batch on its device."""
    seed_everything(SEED)
    data, device = workload.data, workload.device
    train_state = build_train_state(
        workload.build(), data, workload.recipe, workload.hardware, device, workload.batch_size
    )
    images = torch.randn(workload.batch_size, 3, data.image_size, data.image_size)
    labels = torch.randint(data.num_classes, (workload.batch_size,))
    return train_state, train_state.to_device(images, labels)


@torch.inference_mode()
def _infer(train_state: TrainState, batch: Batch) -> tuple[int, Tensor]:
    """The number of images, and their logits."""
    with train_state.autocast():
        logits: Tensor = train_state.model(batch.images)
    return len(logits), logits


def _update(train_state: TrainState, batch: Batch) -> tuple[int, Tensor]:
    """The number of images that were taken, and their loss."""
    batches = CountedBatches([batch])
    loss = train_step(train_state, batches, NO_LR)
    return batches.images, loss


def _time(run: Callable[[], Result], device: torch.device) -> tuple[float, Result]:
    """Seconds of a call after one to warm up, and what the last returned; short ones are repeated and averaged."""
    _time_calls(run, 1, device)
    seconds, result = _time_calls(run, 1, device)
    if seconds < MIN_SECONDS:
        calls = math.ceil(MIN_SECONDS / seconds)
        seconds, result = _time_calls(run, calls, device)
        seconds /= calls
    return seconds, result


def _time_calls(run: Callable[[], Result], calls: int, device: torch.device) -> tuple[float, Result]:
    wait(device)
    started = time.perf_counter()
    for _ in range(calls):
        result = run()
    wait(device)
    return time.perf_counter() - started, result


def wait(device: torch.device) -> None:
    """Wait until the device has finished its work; a GPU's calls return earlier."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
