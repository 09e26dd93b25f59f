"""Training curves: the metrics of each epoch, averaged over the seeds of a row."""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from roadmap.analysis.figures.style import LINE_COLORS
from roadmap.analysis.report.charts import SHORTEST_PLOT, axis, base_layout, text_of
from roadmap.analysis.results import Row
from roadmap.analysis.significance import RowStats
from roadmap.runs.metrics import read_metrics
from roadmap.runs.read_run import Run

METRICS = {  # keys of metrics.jsonl, and their names in a chart
    "top1": "top-1 accuracy (%) on the validation set",
    "loss": "loss on the validation set",
    "train_loss": "training loss",
    "ema_top1": "top-1 accuracy (%), averaged weights",
    "lr": "learning rate",
}
DASHES = {"solid": "none", "dash": "8 4", "dot": "2 3", "dashdot": "8 3 2 3"}  # plotly's, and SVG's for the legend
FIRST_SHOWN = 4  # rows shown at first, spread over the roadmap; the reader ticks others
MOST_EPOCHS = 150  # most points of a drawn curve; more are indistinguishable and enlarge the file

log = logging.getLogger(__name__)

Epochs = dict[int, dict[str, float]]


@dataclass(frozen=True)
class Record:
    """Metrics of a row's runs by epoch: of one run, or aggregated over several if only that was kept."""

    network: str  # the row's, as in its folder's name
    setting: tuple[str, ...]  # the row's regime, data and recipe
    seeds: tuple[int, ...]
    mean: Epochs  # over the seeds, like the extremes
    low: Epochs
    high: Epochs


@dataclass(frozen=True)
class Curve:
    """One metric of one row: mean, lowest and highest over the seeds that reached the epoch."""

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


def read_epochs(folder: Path) -> Epochs:
    """Return the metrics of each epoch of a run; empty if none is readable; warns of damage."""
    lines = read_metrics(folder, log.warning)
    return {line["epoch"]: {key: float(line[key]) for key in METRICS if key in line} for line in lines}


def runs_of(row: Row, runs: Sequence[Run]) -> list[Run]:
    """Return the runs of a row, in any state."""
    identity = (row.step, row.variant, row.regime, row.data, row.recipe)
    return [run for run in runs if (run.step, run.variant, run.regime, run.data, run.recipe) == identity]


def record_of(run: Run) -> Record:
    """Return what a run has measured so far."""
    epochs = read_epochs(run.path)
    return Record(run.name, (run.regime, run.data, run.recipe), (run.seed,), epochs, epochs, epochs)


def pool_records(records: Sequence[Record]) -> dict[str, Curve]:
    """Return a curve for each metric that any of a row's records has."""
    epochs = sorted({epoch for record in records for epoch in record.mean})
    curves = {}
    for metric in METRICS:
        points = {epoch: [record for record in records if metric in record.mean.get(epoch, {})] for epoch in epochs}
        points = {epoch: some for epoch, some in points.items() if some}
        if points:
            curves[metric] = Curve(
                list(points),
                [_mean(some, epoch, metric) for epoch, some in points.items()],
                [min(record.low[epoch][metric] for record in some) for epoch, some in points.items()],
                [max(record.high[epoch][metric] for record in some) for epoch, some in points.items()],
            )
    return curves


def _mean(records: Sequence[Record], epoch: int, metric: str) -> float:
    return fmean([record.mean[epoch][metric] for record in records], [len(record.seeds) for record in records])


def thin(curve: Curve) -> Curve:
    """Reduce a curve to a screen's resolution: about MOST_EPOCHS epochs at most, and five significant digits."""
    step = math.ceil(len(curve.epochs) / MOST_EPOCHS)
    last = len(curve.epochs) - 1
    kept = [place for place in range(len(curve.epochs)) if place % step == 0 or place == last]
    numbers = [[float(f"{values[place]:.5g}") for place in kept] for values in (curve.mean, curve.low, curve.high)]
    return Curve([curve.epochs[place] for place in kept], *numbers)


def band_color(color: str) -> str:
    """Return a line's colour, given as #rrggbb, for the band around it."""
    return f"rgba({', '.join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))}, 0.18)"


def curve_payload(
    row_stats: Sequence[RowStats], curves: Sequence[dict[str, Curve]], seeds: Sequence[int]
) -> dict[str, Any] | None:
    """Return report.js's data for the curves; None if no run has finished an epoch.

    `seeds` is the number of runs of each row, finished or not.
    """
    kept = [(one.row, some, count) for one, some, count in zip(row_stats, curves, seeds, strict=True) if some]
    if not kept:
        return None
    adopted = [index for index, (row, _, _) in enumerate(kept) if not row.variant] or list(range(len(kept)))
    shown = {adopted[round(part * (len(adopted) - 1) / (FIRST_SHOWN - 1))] for part in range(FIRST_SHOWN)}
    rows = []
    for index, (row, some, count) in enumerate(kept):
        color = LINE_COLORS[index % len(LINE_COLORS)]
        dash = list(DASHES)[index // len(LINE_COLORS) % len(DASHES)]
        rows.append(
            {
                "label": text_of(row.label),
                "plain": row.label,
                "color": color,
                "band": band_color(color),
                "dash": dash,
                "stroke": DASHES[dash],
                "seeds": count,
                "shown": index in shown,
                "curves": {metric: asdict(thin(curve)) for metric, curve in some.items()},
            }
        )
    metrics = {key: name for key, name in METRICS.items() if any(key in some for _, some, _ in kept)}
    layout = base_layout(SHORTEST_PLOT + 100, xaxis=axis("epoch"), yaxis=axis(""))
    return {"rows": rows, "metrics": metrics, "layout": layout}
