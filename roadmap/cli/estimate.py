"""Remaining runs of a command, and their cost on this device."""

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from roadmap.cli.folders import open_run_dir
from roadmap.cli.run import collect_facts
from roadmap.config import Config, Mode, PlannedRun, list_length_warnings, list_warnings
from roadmap.data.loaders import LoaderSpec
from roadmap.errors import ConfigError, DamagedError
from roadmap.model.build import build
from roadmap.runs.metrics import read_metrics
from roadmap.runs.run_dir import RunDir
from roadmap.training.device import pick_device
from roadmap.training.forecast import Forecast, OpenData, forecast, open_data
from roadmap.training.profile import Workload, find_largest_batch, measure_peak_memory
from roadmap.training.spec import plan_accumulation

HOUR = 3600  # seconds

Row = dict[str, Any]


@dataclass
class RunGroup:
    """Runs that are equal in all that affects cost."""

    planned: PlannedRun
    epochs: list[int]  # left in each run


def group(runs: Sequence[PlannedRun], is_sweep: bool) -> tuple[list[RunGroup], list[str]]:
    """Return the runs with work left, grouped over the seeds of a configuration, and why each other run has none.

    Raises:
        ConfigError: a run does not train.
        RunError: a folder holds another configuration's run, so train.py would refuse this one.
    """
    groups: dict[Config, RunGroup] = {}
    left_out = []
    for run in runs:
        if run.config.mode is not Mode.train:
            raise ConfigError("mode=eval trains nothing; what is planned here are trainings")
        folder = open_run_dir(run)
        try:
            reason = folder.reason_to_skip(retries=run.config.retry_failed or not is_sweep)
        except DamagedError as error:  # refused when it is come to
            reason = str(error)
        if reason:
            left_out.append(reason.partition(" (")[0])
        else:
            alike = replace(run.config, seed=0)
            groups.setdefault(alike, RunGroup(run, [])).epochs.append(_count_epochs_left(run, folder))
    return list(groups.values()), left_out


def _count_epochs_left(run: PlannedRun, folder: RunDir) -> int:
    has_weights = folder.checkpoint.exists() or folder.previous_checkpoint.exists()
    record = folder.state()
    goes_on = has_weights and record is not None and record.config_hash == folder.config_hash
    finished = len(read_metrics(folder.path)) if goes_on else 0
    return max(run.config.recipe.epochs - finished, 1)


def write_bill(groups: Sequence[RunGroup], rounds: int, report: Callable[[str], None]) -> list[Row]:
    """Measure each group's cost in `rounds` rounds, and call `report` after each of `count_reports` pieces of work.

    Raises:
        ConfigError: the batch size or device is unusable.
        DataError: the images are not as configured, or are missing and their number is unknown.
    """
    opened: dict[Any, OpenData] = {}
    workloads = [(make_workload(found.planned), open_shared(found.planned.config, opened)) for found in groups]
    folder = _find_existing(Path(groups[0].planned.config.output_dir)) if groups else Path()
    forecasts = forecast(workloads, folder, rounds, report)
    rows = []
    for found, (workload, data), measured in zip(groups, workloads, forecasts, strict=True):
        report(f"{workload.name}, memory")
        rows.append(_make_row(found, workload, data, measured))
    return rows


def count_reports(groups: Sequence[RunGroup], rounds: int) -> int:
    """Return how often `write_bill` reports."""
    return len(groups) * (rounds + 1)


def _find_existing(path: Path) -> Path:
    """Return the folder, or its nearest existing parent."""
    return next(place for place in (path, *path.absolute().parents) if place.is_dir())


def make_workload(run: PlannedRun) -> Workload:
    config = run.config
    return Workload(
        name=run.name,
        build=partial(build, config.model, config.regime, config.reference, config.data.image_size),
        data=config.data,
        recipe=config.recipe,
        hardware=config.hardware,
        device=pick_device(config.hardware),
        batch_size=plan_accumulation(config.recipe.total_batch, config.hardware.per_device_batch)[0],
    )


def open_shared(config: Config, opened: dict[Any, OpenData]) -> OpenData:
    """Return a run's data, opened once for all runs that use the same batches."""
    hardware, device = config.hardware, pick_device(config.hardware)
    batch_size, accumulation = plan_accumulation(config.recipe.total_batch, hardware.per_device_batch)
    load = LoaderSpec(batch_size, accumulation, config.seed, device, hardware.workers, hardware.resident)
    key = (config.data, config.recipe.augment, replace(load, seed=0))
    if key not in opened:
        opened[key] = open_data(config.data, config.recipe.augment, load)
    return opened[key]


def _make_row(found: RunGroup, workload: Workload, data: OpenData, measured: Forecast) -> Row:
    config = found.planned.config
    started = time.perf_counter()
    collect_facts(config, open_run_dir(found.planned).identity)
    start = median(measured.start) + data.seconds + time.perf_counter() - started
    seconds = [start + epochs * measured.epoch_seconds() for epochs in found.epochs]
    update = median(measured.update)
    updates = config.recipe.epochs * measured.updates_per_epoch
    return {
        "run": workload.name,
        "regime": config.regime.name,
        "data": config.data.name,
        "recipe": config.recipe.name,
        "runs": len(found.epochs),
        "epochs": sum(found.epochs),
        "updates_per_epoch": measured.updates_per_epoch,
        "total_batch": config.recipe.total_batch,
        "per_device_batch": workload.batch_size,
        "update_s": update,
        "update_spread": (max(measured.update) - min(measured.update)) / 2 / update,
        "images_per_s": config.recipe.total_batch / update,
        "evaluation_s": measured.evaluations * median(measured.evaluation),
        "checkpoint_s": median(measured.checkpoint),
        "start_s": start,
        "run_hours": [value / HOUR for value in seconds],
        "hours": sum(seconds) / HOUR,
        "peak_memory_bytes": measure_peak_memory(workload),
        "largest_batch": find_largest_batch(workload),
        "made_up_images": data.made_up,
        "warnings": list_warnings(config) + list_length_warnings(config, updates),
    }


def add_up(rows: Sequence[Row], start: float, devices: int, price: float | None, watts: float | None) -> Row:
    """Sum up the command: paid device-hours, and elapsed hours, in which each free device takes the next run.

    Args:
        start: seconds before the first run.
        price: per device-hour.
        watts: per device.
    """
    free = [0.0] * devices  # hours until each device is free
    for row in rows:
        for hours in row["run_hours"]:
            heapq.heapreplace(free, free[0] + hours)
    device_hours = sum(row["hours"] for row in rows) + start / HOUR
    return {
        "runs": sum(row["runs"] for row in rows),
        "devices": devices,
        "hours": max(free) + start / HOUR,
        "device_hours": device_hours,
        "price": None if price is None else device_hours * price,
        "kwh": None if watts is None else device_hours * watts / 1000,
        "import_s": start,
    }
