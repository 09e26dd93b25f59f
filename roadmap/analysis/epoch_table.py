"""Metrics of each epoch of an experiment's runs, from run folders or from a published table."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from roadmap.analysis.curves import METRICS, Epochs, Record, record_of
from roadmap.analysis.read_runs import RUN_TABLE
from roadmap.analysis.results import Row
from roadmap.analysis.run_table import read_table
from roadmap.errors import RunError
from roadmap.runs.read_run import Run

EPOCH_TABLE = "epochs.csv"  # of a published experiment
ROW = ("network", "regime", "data", "recipe", "seeds")
LOW, HIGH = "_low", "_high"  # suffixes of column names


def read_records(experiment_dir: Path, runs: Iterable[Run]) -> list[Record]:
    """Return the records of an experiment's runs, by epoch, without those that have none.

    RunError: a cell of the table has a wrong value; names file and line.
    """
    table = experiment_dir / EPOCH_TABLE
    is_published = (experiment_dir / RUN_TABLE).exists() and table.exists()
    records = read_epoch_table(table) if is_published else map(record_of, runs)
    return [record for record in records if record.mean]


def write_epoch_table(records: Iterable[Record], path: Path) -> None:
    """Write CSV, a line per epoch of a record: seeds, the mean of each metric, and the extremes over seeds."""
    lines = [
        {**_row_cells(record), "epoch": str(epoch), **_metric_cells(record, epoch)}
        for record in records
        for epoch in sorted(record.mean)
    ]
    measured = {name for line in lines for name in line}
    metrics = [metric + end for end in ("", LOW, HIGH) for metric in METRICS]
    names = [*ROW, "epoch", *(name for name in metrics if name in measured)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def _row_cells(record: Record) -> dict[str, str]:
    seeds = " ".join(map(str, record.seeds))
    return dict(zip(ROW, (record.network, *record.setting, seeds), strict=True))


def _metric_cells(record: Record, epoch: int) -> dict[str, str]:
    parts = {"": record.mean, **({} if len(record.seeds) == 1 else {LOW: record.low, HIGH: record.high})}
    return {metric + end: str(value) for end, part in parts.items() for metric, value in part[epoch].items()}


def read_epoch_table(path: Path) -> list[Record]:
    """Return the records of such a table.

    RunError: a column is missing, or a cell has a wrong value; names file and line.
    """
    found: dict[tuple[str, tuple[str, ...], tuple[int, ...]], tuple[Epochs, Epochs, Epochs]] = {}
    for line, cells in read_table(path, "epochs", (*ROW, "epoch")):
        try:
            network, *setting, seeds = (cells[name] for name in ROW)
            row = (network, tuple(setting), tuple(map(int, seeds.split())))
            mean, low, high = found.setdefault(row, ({}, {}, {}))
            epoch = int(cells["epoch"])
            mean[epoch] = _read_metric_cells(cells)
            low[epoch] = mean[epoch] | _read_metric_cells(cells, LOW)
            high[epoch] = mean[epoch] | _read_metric_cells(cells, HIGH)
        except (ValueError, TypeError, AttributeError) as error:
            raise RunError(f"{path}, line {line}: {error}") from error
    return [Record(*row, *parts) for row, parts in found.items()]


def _read_metric_cells(cells: Mapping[str, str], end: str = "") -> dict[str, float]:
    return {metric: float(cells[metric + end]) for metric in METRICS if cells.get(metric + end)}


def records_of(row: Row, records: Iterable[Record]) -> list[Record]:
    """Return the records of a row's runs."""
    return [record for record in records if (record.network, record.setting) == (row.name, row.setting)]
