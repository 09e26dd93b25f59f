"""Rows of the analysis and training curves, from the DataFrames of `load_results` and `load_epochs`.

Experiments are kept apart by the column `experiment`: their networks have the same names, and other settings.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import pandas as pd

from roadmap.analysis.curves import METRICS
from roadmap.analysis.design import network_of, usable_rows
from roadmap.analysis.epoch_table import HIGH, LOW
from roadmap.analysis.results import Row, aggregate
from roadmap.analysis.run_table import COLUMNS as TABLE_COLUMNS
from roadmap.analysis.run_table import check_run, parse_cell
from roadmap.config.convert import suggest
from roadmap.errors import RunError
from roadmap.runs.naming import natural_key
from roadmap.runs.read_run import Run, State

COLUMNS = ["path", *TABLE_COLUMNS]
SETTING = ["experiment", "regime", "data", "recipe"]  # what the runs of one curve have in common
CURVE = ["network", *SETTING]
ONE_OF_TWO = "leave one out, or give one another name in the column experiment"

log = logging.getLogger(__name__)


def rows_by_experiment(results: pd.DataFrame) -> dict[str, list[Row]]:
    """Return for each experiment in a DataFrame its rows, one per network.

    Raises:
        RunError: the rows are not those of `load_results`, a cell has a wrong value, or a run is given twice.
    """
    found: dict[str, list[Run]] = {}
    for run in _runs_of(results):
        found.setdefault(run.experiment, []).append(run)
    for experiment, runs in found.items():
        _check_given_once(experiment, runs)
    return {experiment: aggregate(runs) for experiment, runs in found.items()}


def rows_of_one(results: pd.DataFrame, call: str) -> list[Row]:
    """Return the rows of the only experiment in a DataFrame, for a figure, whose title is the experiment's.

    Raises:
        RunError: there are several experiments, or a run is given twice.
    """
    found = rows_by_experiment(results)
    if len(found) > 1:
        raise RunError(
            f"{call} draws one experiment, and these rows are of {len(found)}: {', '.join(found)}. Draw each, as "
            f"in {call}(runs[runs.experiment == {next(iter(found))!r}]); changes() and effects() take several"
        )
    return next(iter(found.values()), [])


def _runs_of(results: pd.DataFrame) -> list[Run]:
    """Return the run of each row, also of a frame that was read back from a CSV file.

    Raises:
        RunError: the rows are not those of `load_results`, or a cell has a wrong value.
    """
    _check_columns(results, COLUMNS, "load_results")
    runs = []
    for number, row in enumerate(results[COLUMNS].to_dict("records")):
        values: dict[str, Any] = {"path": Path(str(row.pop("path")))}
        for name, cell in row.items():
            try:
                values[str(name)] = _parse_cell(str(name), cell)
            except (ValueError, TypeError) as error:
                raise RunError(f"row {number}: {name} is {cell!r}") from error
        run = Run(**values)
        try:
            check_run(run)
        except ValueError as error:
            raise RunError(f"row {number}: {error}") from error
        runs.append(run)
    return runs


def _parse_cell(name: str, cell: Any) -> Any:
    """Return the value of a run's field. CSV has no missing text, and reads names such as 100 as numbers."""
    if pd.isna(cell):
        return {} if name == "variant" else None
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)  # of a column with missing values
    return parse_cell(name, str(cell))


def _check_columns(frame: pd.DataFrame, columns: Sequence[str], source: str) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise RunError(f"{shorten(repr(frame), 60)} is no DataFrame: give one of roadmap.{source}")
    if missing := [name for name in columns if name not in frame]:
        raise RunError(
            f"the frame lacks the columns {', '.join(missing)}: give rows of roadmap.{source}, with all its columns"
        )


def _check_given_once(experiment: str, runs: list[Run]) -> None:
    """Raise RunError if two finished runs of an experiment have the same network, setting and seed."""
    paths: dict[tuple[object, ...], Path] = {}
    for run in runs:
        if run.state is not State.done:
            continue
        key = run.name, run.regime, run.data, run.recipe, run.seed
        if key in paths:
            where = {str(paths[key]): None, str(run.path): None}
            raise RunError(
                f"{run.name} seed {run.seed} of experiment {experiment} is given twice, from "
                f"{' and '.join(where)}: {ONE_OF_TWO}"
            )
        paths[key] = run.path


def warn_of_unused(rows: Sequence[Row]) -> None:
    """Warn of the rows that effects leave out, since they are in another setting than most."""
    designs = [row for row in rows if row.seeds and network_of(row) is not None]
    used = {row.setting: None for _, row in usable_rows(rows, network_of)}
    others = {row.setting: None for row in designs if row.setting not in used}
    if others:
        log.warning(
            "%s: the effects are of %s; give those of %s alone for theirs",
            rows[0].experiment,
            *(" and ".join(", ".join(setting) for setting in some) for some in (used, others)),
        )


def find_curves(epochs: pd.DataFrame, metric: str) -> dict[str, pd.DataFrame]:
    """Return for each network, by epoch, a metric's mean, lowest and highest over its seeds.

    A network of several experiments, regimes, data sets or recipes has a curve in each, with these in its name.

    Raises:
        RunError: the rows are not those of `load_epochs`, the metric was not measured, or a seed is given twice.
    """
    texts = [*CURVE, "seeds"]
    _check_columns(epochs, [*texts, "epoch"], "load_epochs")
    known = [name for name in METRICS if name in epochs]
    if metric not in known:
        allowed = f"Allowed: {', '.join(known)}" if known else "The frame has no metric"
        raise RunError(f"metric={metric}: not measured.{suggest(str(metric), known)} {allowed}")
    rows = epochs.dropna(subset=[metric])
    if rows.empty:
        raise RunError(f"no {metric} to draw among {len(epochs)} rows: no epoch with it has finished")
    rows = rows.astype(dict.fromkeys(texts, "str"))  # CSV reads names such as 100, and one seed, as numbers
    _check_seeds(rows)
    groups = dict(list(rows.groupby(CURVE)))
    names = _curve_names(list(groups))
    return {
        names[key]: _average(groups[key], metric) for key in sorted(groups, key=lambda key: natural_key(names[key]))
    }


def _check_seeds(rows: pd.DataFrame) -> None:
    """Raise RunError if rows of one curve and epoch have a seed in common."""
    seeds = rows.assign(seed=rows.seeds.str.split()).explode("seed")
    twice = seeds[seeds.duplicated([*CURVE, "epoch", "seed"])]
    if len(twice):
        row = twice.iloc[0]
        raise RunError(f"{row.network} seed {row.seed} of experiment {row.experiment} is given twice: {ONE_OF_TWO}")


def _curve_names(keys: list[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Return a name for each curve: the network, with the parts of its setting that differ between its curves."""
    counts = Counter(network for network, *_ in keys)
    names = {}
    for network, *setting in keys:
        others = [key[1:] for key in keys if key[0] == network]
        own = [part for place, part in enumerate(setting) if len({other[place] for other in others}) > 1]
        names[network, *setting] = f"{network} ({', '.join(own)})" if counts[network] > 1 else network
    return names


def _average(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    weights = rows.seeds.str.split().str.len()  # a published row is the mean of several seeds
    sums = (rows[metric] * weights).groupby(rows.epoch).sum()

    def extremes(end: str) -> Any:
        values = rows[f"{metric}{end}"].fillna(rows[metric]) if f"{metric}{end}" in rows else rows[metric]
        return values.groupby(rows.epoch)

    return pd.DataFrame(
        {
            "mean": sums / weights.groupby(rows.epoch).sum(),
            "low": extremes(LOW).min(),
            "high": extremes(HIGH).max(),
        }
    )


def has_band(curve: pd.DataFrame) -> bool:
    """Return True if seeds of a curve differ in any epoch."""
    return bool((curve.high > curve.low).any())
