"""Memory that a training needs on this device, and the largest batch that fits."""

import gc
import json
import tempfile
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity

from roadmap.errors import MeasurementError
from roadmap.system.machine import count_memory
from roadmap.training.measure.speed import make_batch
from roadmap.training.measure.workload import NO_LR, Measured, Workload, runs_out_of_memory
from roadmap.training.spec import RecipeSpec, find_batch_rule, list_micro_batches
from roadmap.training.step import train_step


def measure_memory(workload: Workload, result: Measured) -> None:
    result.peak_memory = measure_peak_memory(workload)


def measure_limits(workload: Workload, result: Measured) -> None:
    measure_memory(workload, result)
    result.largest_batch = find_largest_batch(workload)


def measure_peak_memory(workload: Workload) -> int | None:
    """Return the peak bytes of tensors during training, as counted by torch's allocator.

    Includes weights, gradients, optimizer state, activations, temporaries and the batch, but neither the process
    nor allocations outside torch. CUDA's allocator reports the peak; on a CPU it comes from the profiler's record
    of every allocation; Apple's GPU reports none.

    Raises:
        MeasurementError: the peak is below the size of weights and gradients, so no update was made.
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


def _update_twice(workload: Workload) -> int:
    """Build the network and make two updates, since the first one creates the optimizer's state.

    Returns the bytes of weights and gradients, a lower bound of the peak.
    """
    train_state = workload.start()
    batch = make_batch(workload, train_state)
    for _ in range(2):
        train_step(train_state, [batch], NO_LR)
    trained = [weights for weights in train_state.model.parameters() if weights.requires_grad]
    return 2 * sum(weights.numel() * weights.element_size() for weights in trained)


def _peak_of_profile(run: Callable[[], int]) -> tuple[int, int]:
    """Return the peak in bytes, and the result of `run`."""
    activities = [ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True, acc_events=True) as profiler:
        result = run()
        gc.collect()  # so that the profiler sees all memory freed
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    records = [event["args"] for event in events if event["name"] == "[memory]"]
    # Memory that earlier profiles did not free does not count.
    start = records[0]["Total Allocated"] - records[0]["Bytes"] if records else 0
    return max((record["Total Allocated"] for record in records), default=0) - start, result


def find_largest_batch(workload: Workload, limit: int | None = None) -> int | None:
    """Return the largest micro-batch that fits into memory and divides the recipe's total batch.

    On a GPU, tries sizes in steps of about a factor of two, upwards from the run's size, until one runs out of
    memory. On a CPU that would kill the process. So the peaks of two small sizes are extrapolated to the machine's
    memory, or `limit` in bytes; the process's memory outside tensors is not included.

    Returns:
        None if not even the smallest size fits, or if the device does not report its memory.
    """
    sizes = list_micro_batch_sizes(workload.spec.recipe)
    if workload.device.type == "cpu":
        return _extrapolate(workload, sizes, count_memory() if limit is None else limit)
    if workload.device.type != "cuda":
        return None
    start = max(bisect_right(sizes, workload.batch_size) - 1, 0)
    fitting = list(takewhile(lambda size: _fits(workload, size), sizes[start:]))
    if fitting:
        return fitting[-1]
    return next((size for size in reversed(sizes[:start]) if _fits(workload, size)), None)


def _fits(workload: Workload, batch_size: int) -> bool:
    trial = replace(workload, batch_size=batch_size)
    return not runs_out_of_memory(trial.device, lambda: measure_peak_memory(trial))


def _extrapolate(workload: Workload, sizes: list[int], limit: int) -> int | None:
    small, large = (max(sizes[0], 8), max(2 * sizes[0], 16))
    low, high = (measure_peak_memory(replace(workload, batch_size=size)) for size in (small, large))
    assert low is not None  # a CPU reports its memory
    assert high is not None
    per_image = max((high - low) / (large - small), 0.0)
    fitting = [size for size in sizes if low + per_image * (size - small) <= limit]
    return fitting[-1] if fitting else None


def list_micro_batch_sizes(recipe: RecipeSpec) -> list[int]:
    """Return divisors of the total batch up to itself, each at least twice the one before.

    Excludes 1, since BatchNorm cannot train on one image, and odd sizes if Mixup or CutMix pair images.
    """
    sizes = [recipe.total_batch]
    for size in reversed(list_micro_batches(recipe.total_batch, find_batch_rule(recipe, not_one=True))):
        if 2 * size <= sizes[0]:
            sizes.insert(0, size)
    return sizes
