"""Remaining runs of a command, and their cost on this device."""

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from roadmap.cli.run import collect_facts
from roadmap.cli.run_folders import open_run_dir
from roadmap.config import Config, Mode, PlannedRun, list_length_warnings, list_warnings
from roadmap.errors import ConfigError, DamagedError, MeasurementError
from roadmap.model.build import build
from roadmap.runs.metrics import read_metrics
from roadmap.runs.run_dir import RunDir
from roadmap.training.device import pick_device
from roadmap.training.measure.images import OpenData, open_data
from roadmap.training.measure.memory import measure_limits
from roadmap.training.measure.speed import time_run
from roadmap.training.measure.workload import Measured, Workload, measure_in_turns
from roadmap.training.spec import TrainingSpec, plan_accumulation

HOUR = 3600  # seconds

Row = dict[str, Any]


@dataclass
class RunGroup:
    """Runs that are equal in all that affects cost."""

    planned: PlannedRun
    epochs: list[int]  # left in each run


def make_workload(run: PlannedRun, batch: int | None = None) -> Workload:
    """Return a run's network, with updates as in the run, or of one micro-batch of `batch` images."""
    config = run.config
    recipe, hardware = config.recipe, config.hardware
    batch_size, accumulation = plan_accumulation(recipe.total_batch, hardware.per_device_batch)
    return Workload(
        name=run.name,
        build=partial(build, config.model, config.regime, config.reference, config.data.image_size),
        spec=TrainingSpec(config.data, recipe, hardware, config.seed),
        device=pick_device(hardware),
        batch_size=batch or batch_size,
        accumulation=1 if batch else accumulation,
    )


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
            reason = folder.skip_reason(retries=run.config.retry_failed or not is_sweep)
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


@dataclass(frozen=True)
class RoughEstimate:
    """What the first round of measurements says about a group, and so far about all."""

    name: str
    update_s: float
    hours: float  # of the group's runs
    total_hours: float  # of all groups, if those not measured yet take as long per epoch as the mean of the others


def estimate(
    groups: Sequence[RunGroup],
    rounds: int,
    report: Callable[[str], None],
    report_rough: Callable[[RoughEstimate], None] = lambda rough: None,
) -> list[Row]:
    """Measure each group's cost in `rounds` rounds of speed and one of memory.

    Args:
        report: gets the name of each group before it is measured.
        report_rough: gets a rough estimate after each group's first round.

    Raises:
        ConfigError: the batch size or device is unusable.
        DataError: the images are not as configured, or are missing and their number is unknown.
        MeasurementError: a run needs more memory than the device has, or did not do its work.
    """
    opened: dict[Any, OpenData] = {}
    workloads = [make_workload(found.planned) for found in groups]
    for workload in workloads:  # before the first measurement, which a missing image should not cost
        open_data(workload, opened)
    outputs = Path(groups[0].planned.config.output_dir) if groups else Path()
    folder = next(place for place in (outputs, *outputs.absolute().parents) if place.is_dir())  # nearest existing

    group_of = {id(workload): found for workload, found in zip(workloads, groups, strict=True)}
    known: list[tuple[RunGroup, float]] = []  # with hours, after the first round

    def time_parts(workload: Workload, result: Measured) -> None:
        time_run(workload, open_data(workload, opened), folder, result)
        if len(known) < len(groups) and result.update:
            found = group_of[id(workload)]
            known.append((found, sum(_run_seconds(found, open_data(workload, opened), result)) / HOUR))
            total = _extrapolate(known, groups)
            report_rough(RoughEstimate(workload.name, median(result.update), known[-1][1], total))

    results = measure_in_turns(workloads, [*rounds * [time_parts], measure_limits], report)
    for workload, result in zip(workloads, results, strict=True):
        if result.out_of_memory:
            raise MeasurementError(
                f"{workload.name}: {workload.batch_size} images at once do not fit into the memory of "
                f"{workload.device}. Lower hardware.per_device_batch"
            )
    return [
        _make_row(found, workload, open_data(workload, opened), result)
        for found, workload, result in zip(groups, workloads, results, strict=True)
    ]


def _make_row(found: RunGroup, workload: Workload, data: OpenData, measured: Measured) -> Row:
    config, update = found.planned.config, median(measured.update)
    started = time.perf_counter()
    collect_facts(config, open_run_dir(found.planned).identity)
    facts = time.perf_counter() - started
    seconds = [facts + run for run in _run_seconds(found, data, measured)]
    updates = config.recipe.epochs * data.updates_per_epoch
    return {
        "run": workload.name,
        "regime": config.regime.name,
        "data": config.data.name,
        "recipe": config.recipe.name,
        "runs": len(found.epochs),
        "epochs": sum(found.epochs),
        "updates_per_epoch": data.updates_per_epoch,
        "total_batch": config.recipe.total_batch,
        "per_device_batch": workload.batch_size,
        "update_s": update,
        "update_spread": (max(measured.update) - min(measured.update)) / 2 / update,
        "images_per_s": config.recipe.total_batch / update,
        "evaluation_s": _evaluation_seconds(config, measured),
        "checkpoint_s": median(measured.checkpoint),
        "start_s": median(measured.start) + data.seconds + facts,
        "run_hours": [value / HOUR for value in seconds],
        "hours": sum(seconds) / HOUR,
        "peak_memory_bytes": measured.peak_memory,
        "largest_batch": measured.largest_batch,
        "made_up_images": data.synthetic_reason,
        "warnings": list_warnings(config) + list_length_warnings(config, updates),
    }


def _evaluation_seconds(config: Config, measured: Measured) -> float:
    passes = 1 if config.recipe.ema_decay is None else 2  # the moving average is evaluated, too
    return passes * median(measured.evaluation)


def _run_seconds(found: RunGroup, data: OpenData, measured: Measured) -> list[float]:
    """Return the seconds of each run of a group."""
    evaluation = _evaluation_seconds(found.planned.config, measured)
    epoch = data.updates_per_epoch * median(measured.update) + evaluation + median(measured.checkpoint)
    return [median(measured.start) + data.seconds + epochs * epoch for epochs in found.epochs]


def _extrapolate(known: Sequence[tuple[RunGroup, float]], groups: Sequence[RunGroup]) -> float:
    """Return the hours of all groups from those of some, at their mean per epoch."""
    hours = sum(one for _, one in known)
    per_epoch = hours / sum(sum(found.epochs) for found, _ in known)
    return per_epoch * sum(sum(found.epochs) for found in groups)


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
