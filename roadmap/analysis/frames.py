"""Results as pandas DataFrames: a row per run, per epoch, per change and per effect.

Columns of runs are the fields of `roadmap.runs.read_run.Run` that are published, with their units; top-1 is in
percent, changes and effects are in points.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from roadmap.analysis.ablation import effect_columns, find_effects, mark_significant, results_of
from roadmap.analysis.curves import METRICS
from roadmap.analysis.epoch_table import read_records
from roadmap.analysis.read_runs import choose_experiment, read_runs
from roadmap.analysis.results import Row, aggregate, short_names
from roadmap.analysis.run_table import COLUMNS as TABLE_COLUMNS
from roadmap.analysis.run_table import parse_variant, show_variant
from roadmap.analysis.significance import compute_row_stats
from roadmap.analysis.stats import Difference
from roadmap.config.convert import suggest
from roadmap.config.roadmap_files import load_roadmap
from roadmap.errors import RunError
from roadmap.runs.naming import natural_key
from roadmap.runs.read_run import Run, State

COLUMNS = ["path", *TABLE_COLUMNS]
OUTPUTS = Path("outputs")  # where train.py writes by default


def load_results(experiment: str | Path, output_dir: str | Path = OUTPUTS) -> pd.DataFrame:
    """Return the runs of an experiment, one row each, in any state.

    Columns: network, step, variant, seed, state, top1 (percent, last epoch), best_top1, ema_top1, loss, epochs,
    gmacs (1e9 per image), parameters, images_per_s (training), seconds, device, commit, config_hash and others;
    see `roadmap.runs.read_run.Run`.

    Args:
        experiment: a name under `output_dir`, or the path of a folder, also of a published one.

    >>> runs = roadmap.load_results("results/cifar10-stride4")
    >>> round(float(runs[runs.network == "step0_resnet"].top1.mean()), 2)
    72.77

    Raises:
        roadmap.errors.RunError: no such experiment, or it has no readable run.
    """
    return frame_of(read_runs(choose_experiment(str(experiment), Path(output_dir))))


def frame_of(runs: Sequence[Run]) -> pd.DataFrame:
    """Return a row per run."""
    texts = [{"variant": show_variant(run.variant), "state": str(run.state)} for run in runs]
    rows = [{name: getattr(run, name) for name in COLUMNS} | own for run, own in zip(runs, texts, strict=True)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.insert(0, "network", [run.name for run in runs])
    numbers = ("top1", "best_top1", "ema_top1", "loss", "gmacs", "images_per_s", "seconds")
    counts = ("step_index", "best_epoch", "epochs", "parameters")
    return frame.astype({**dict.fromkeys(numbers, "Float64"), **dict.fromkeys(counts, "Int64")})


def load_epochs(experiment: str | Path, output_dir: str | Path = OUTPUTS) -> pd.DataFrame:
    """Return the metrics of each epoch: a row per run and epoch; of a published experiment, per network and epoch.

    Columns: network, regime, data, recipe, seeds (those that a row is the mean of), epoch (from 1), top1
    (percent), loss, train_loss, lr.

    >>> epochs = roadmap.load_epochs("results/cifar10-stride4")
    >>> float(epochs.groupby("network").top1.last()["step0_resnet"])
    72.773

    Raises:
        roadmap.errors.RunError: as load_results.
    """
    folder = choose_experiment(str(experiment), Path(output_dir))
    rows = []
    for record in read_records(folder, read_runs(folder)):
        regime, data, recipe = record.setting
        seeds = " ".join(map(str, record.seeds))
        own = {"network": record.network, "regime": regime, "data": data, "recipe": recipe, "seeds": seeds}
        rows += [{**own, "epoch": epoch, **metrics} for epoch, metrics in sorted(record.mean.items())]
    return pd.DataFrame(rows)


def changes(results: pd.DataFrame) -> pd.DataFrame:
    """Return each network's mean top-1, and its change from the step before with a 95% interval, in points.

    Args:
        results: rows of `load_results`; leave out what is not to count.

    Columns: network, label, seeds (their number), top1, top1_std, top1_low, top1_high, before, change, change_low,
    change_high, p, min_detectable_effect, paired (by seed), p_holm (corrected), verdict, paper_change. A step
    without a finished run has no row.

    >>> found = roadmap.changes(roadmap.load_results("results/cifar10-stride4")).set_index("network")
    >>> round(float(found.change["step6"]), 2), found.verdict["step6"]
    (-7.22, 'loss')
    """
    stats = compute_row_stats(rows_of(results))
    names = dict(zip((id(one.row) for one in stats), short_names([one.row for one in stats]), strict=True))
    found = []
    for one in stats:
        if one.estimate is None:
            continue
        change = one.change
        found.append(
            {
                "network": names[id(one.row)],
                "label": one.row.label,
                "seeds": len(one.row.seeds),
                "top1": one.estimate.mean,
                "top1_std": one.estimate.std,
                **_ends("top1", one.estimate.interval),
                "before": names[id(change.before)] if change else None,
                **_difference("change", change.difference if change else None),
                "p_holm": change.p if change else None,
                "verdict": change.verdict if change else None,
                "paper_change": _paper_change(one.row, change.before) if change else None,
            }
        )
    return pd.DataFrame(found)


def effects(results: pd.DataFrame) -> pd.DataFrame:
    """Return the effect of each choice, top-1 with it minus without it, wherever the runs measure it, in points.

    Intervals use the standard deviation pooled over all networks.

    Args:
        results: rows of `load_results`.

    Columns: axis, place (on the path, in the last step, in step 0), effect, effect_low, effect_high, p,
    min_detectable_effect, paired, significant (corrected over the effects of the same place).

    >>> found = roadmap.effects(roadmap.load_results("results/cifar10-stride4")).set_index(["axis", "place"])
    >>> round(float(found.effect["stem", "in step 12"]), 1)
    -10.2
    """
    rows = rows_of(results)
    roadmap = rows[0].roadmap if rows else load_roadmap()
    measured = find_effects(roadmap, results_of(rows))
    found = []
    for place, differences in effect_columns(roadmap, measured).items():
        marks = mark_significant(differences)
        for effect, difference, is_significant in zip(measured, differences, marks, strict=True):
            if difference is not None:
                own = {"axis": effect.name, "place": place, **_difference("effect", difference)}
                found.append({**own, "significant": is_significant})
    return pd.DataFrame(found, columns=["axis", "place", *_difference("effect", None), "significant"])


def _paper_change(row: Any, before: Any) -> float | None:
    if row.paper is None or before.paper is None:
        return None
    return round(row.paper.top1 - before.paper.top1, 2)


def _difference(name: str, difference: Difference | None) -> dict[str, Any]:
    return {
        name: difference.mean if difference else None,
        **_ends(name, difference.interval if difference else None),
        "p": difference.p if difference else None,
        "min_detectable_effect": difference.min_detectable_effect if difference else None,
        "paired": difference.paired if difference else None,
    }


def _ends(name: str, interval: Any) -> dict[str, float | None]:
    return {f"{name}_low": interval and interval.low, f"{name}_high": interval and interval.high}


def rows_of(results: pd.DataFrame) -> list[Row]:
    """Return the rows of an analysis, one per network, of the runs in a DataFrame."""
    runs = []
    for row in results[COLUMNS].to_dict("records"):
        values: dict[str, Any] = {str(name): None if pd.isna(value) else value for name, value in row.items()}
        values |= {"variant": parse_variant(row["variant"]), "state": State(row["state"])}
        runs.append(Run(**values))
    return aggregate(runs)


def find_curves(epochs: pd.DataFrame, metric: str) -> dict[str, pd.DataFrame]:
    """Return for each network, by epoch, a metric's mean, lowest and highest over its seeds, and the rows there.

    Raises:
        RunError: the metric was not measured.
    """
    known = [name for name in METRICS if name in epochs]
    if metric not in known:
        raise RunError(f"metric={metric}: not measured.{suggest(metric, known)} Allowed: {', '.join(known)}")
    groups = dict(list(epochs.dropna(subset=[metric]).groupby("network")))
    return {name: _average(groups[name], metric) for name in sorted(groups, key=natural_key)}


def _average(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    weights = rows.seeds.str.split().str.len()  # a published row is the mean of several seeds
    sums = (rows[metric] * weights).groupby(rows.epoch).sum()
    by_epoch = rows.groupby("epoch")[metric]
    return pd.DataFrame(
        {
            "mean": sums / weights.groupby(rows.epoch).sum(),
            "low": by_epoch.min(),
            "high": by_epoch.max(),
            "runs": by_epoch.size(),
        }
    )
