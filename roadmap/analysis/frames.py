"""Results as pandas DataFrames: a row per run, per epoch, per change and per effect.

Columns of runs are the fields of `roadmap.runs.read_run.Run` that are published, with their units; top-1 is in
percent, changes and effects are in points.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from roadmap.analysis.ablation import effect_columns, find_effects, mark_significant, results_of
from roadmap.analysis.curves import Record
from roadmap.analysis.epoch_table import HIGH, LOW, read_records
from roadmap.analysis.frame_rows import COLUMNS, CURVE, rows_by_experiment, warn_of_unused
from roadmap.analysis.read_runs import choose_experiment, name_experiment, read_runs
from roadmap.analysis.results import Row, short_names
from roadmap.analysis.run_table import show_variant
from roadmap.analysis.significance import compute_row_stats
from roadmap.analysis.stats import Difference
from roadmap.runs.read_run import Run

OUTPUTS = Path("outputs")  # where train.py writes by default


def load_results(experiment: str | Path, output_dir: str | Path = OUTPUTS) -> pd.DataFrame:
    """Return the runs of an experiment, one row each, in any state.

    Columns: network, experiment (its folder's name), step, variant, seed, state, top1 (percent, last epoch),
    best_top1, ema_top1, loss, epochs, gmacs (1e9 per image), parameters, images_per_s (training), seconds, device,
    commit, config_hash and others; see `roadmap.runs.read_run.Run`.

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
    texts = [
        {"variant": show_variant(run.variant), "state": str(run.state), "experiment": experiment_of(run)}
        for run in runs
    ]
    rows = [{name: getattr(run, name) for name in COLUMNS} | own for run, own in zip(runs, texts, strict=True)]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.insert(0, "network", [run.name for run in runs])
    numbers = ("top1", "best_top1", "ema_top1", "loss", "gmacs", "images_per_s", "seconds")
    counts = ("step_index", "best_epoch", "epochs", "parameters")
    return frame.astype({**dict.fromkeys(numbers, "Float64"), **dict.fromkeys(counts, "Int64")})


def load_epochs(experiment: str | Path, output_dir: str | Path = OUTPUTS) -> pd.DataFrame:
    """Return the metrics of each epoch: a row per run and epoch; of a published experiment, per network and epoch.

    Columns: network, experiment, regime, data, recipe, seeds (those that a row is the mean of), epoch (from 1),
    top1 (percent), loss, train_loss, lr; of published means also the lowest and highest seed, such as top1_low and
    top1_high.

    >>> epochs = roadmap.load_epochs("results/cifar10-stride4")
    >>> float(epochs.groupby("network").top1.last()["step0_resnet"])
    72.773

    Raises:
        roadmap.errors.RunError: as load_results.
    """
    folder = choose_experiment(str(experiment), Path(output_dir))
    runs = read_runs(folder)
    name = experiment_of(runs[0])
    rows = [row for record in read_records(folder, runs) for row in _epoch_rows(name, record)]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=[*CURVE, "seeds", "epoch"])


def _epoch_rows(experiment: str, record: Record) -> list[dict[str, Any]]:
    """Return a row per epoch of a record."""
    regime, data, recipe = record.setting
    own = {
        "network": record.network,
        "experiment": experiment,
        "regime": regime,
        "data": data,
        "recipe": recipe,
        "seeds": " ".join(map(str, record.seeds)),
    }
    ends = {LOW: record.low, HIGH: record.high} if len(record.seeds) > 1 else {}
    return [
        {**own, "epoch": epoch, **metrics}
        | {f"{metric}{end}": value for end, epochs in ends.items() for metric, value in epochs[epoch].items()}
        for epoch, metrics in sorted(record.mean.items())
    ]


def experiment_of(run: Run) -> str:
    """Return the name of a run's experiment, which is its folder's, also of a published one."""
    return name_experiment(run.path.parents[1])


def changes(results: pd.DataFrame) -> pd.DataFrame:
    """Return each network's mean top-1, and its change from the step before with a 95% interval, in points.

    Args:
        results: rows of `load_results`; leave out what is not to count.

    Experiments are kept apart: each has its own changes, with p-values corrected over its own.

    Columns: network, experiment, label, seeds (their number), top1, top1_std, top1_low, top1_high, before, change,
    change_low, change_high, p, min_detectable_effect, paired (by seed), p_holm (corrected), verdict, paper_change.
    A step without a finished run has no row.

    >>> found = roadmap.changes(roadmap.load_results("results/cifar10-stride4")).set_index("network")
    >>> round(float(found.change["step6"]), 2), found.verdict["step6"]
    (-7.22, 'loss')

    Raises:
        roadmap.errors.RunError: the rows are not those of `load_results`, a cell has a wrong value, or a run is
            given twice.
    """
    found = [
        {"experiment": experiment, **change}
        for experiment, rows in rows_by_experiment(results).items()
        for change in _changes(rows)
    ]
    return pd.DataFrame(found, columns=CHANGES)


def _changes(rows: Sequence[Row]) -> list[dict[str, Any]]:
    stats = compute_row_stats(rows)
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
    return found


def effects(results: pd.DataFrame) -> pd.DataFrame:
    """Return the effect of each choice, top-1 with it minus without it, wherever the runs measure it, in points.

    Intervals use the standard deviation pooled over all networks. Experiments are kept apart.

    Args:
        results: rows of `load_results`.

    Columns: axis, experiment, place (on the path, in the last step, in step 0), effect, effect_low, effect_high, p,
    min_detectable_effect, paired, significant (corrected over the effects of the same place).

    >>> found = roadmap.effects(roadmap.load_results("results/cifar10-stride4")).set_index(["axis", "place"])
    >>> round(float(found.effect["stem", "in step 12"]), 1)
    -10.2

    Raises:
        roadmap.errors.RunError: the rows are not those of `load_results`, a cell has a wrong value, or a run is
            given twice.
    """
    found = [
        {"experiment": experiment, **effect}
        for experiment, rows in rows_by_experiment(results).items()
        for effect in _effects(rows)
    ]
    return pd.DataFrame(found, columns=EFFECTS)


def _effects(rows: Sequence[Row]) -> list[dict[str, Any]]:
    warn_of_unused(rows)
    roadmap = rows[0].roadmap
    measured = find_effects(roadmap, results_of(rows))
    found = []
    for place, differences in effect_columns(roadmap, measured).items():
        marks = mark_significant(differences)
        for effect, difference, is_significant in zip(measured, differences, marks, strict=True):
            if difference is not None:
                own = {"axis": effect.name, "place": place, **_difference("effect", difference)}
                found.append({**own, "significant": is_significant})
    return found


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


CHANGES = [
    *("network", "experiment", "label", "seeds", "top1", "top1_std", *_ends("top1", None), "before"),
    *(*_difference("change", None), "p_holm", "verdict", "paper_change"),
]
EFFECTS = ["axis", "experiment", "place", *_difference("effect", None), "significant"]
