"""HTML report of an experiment in one file. It works offline: a content policy in the page forbids network access.

The page holds plotly.js once, compressed, since it is most of the file; report.js draws the charts from plain
values. The template escapes all text from configurations and errors.
"""

import base64
import gzip
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from roadmap.analysis.ablation_table import effect_notes, effect_table, find_ablation
from roadmap.analysis.configurations import read_row_setup
from roadmap.analysis.curves import curve_payload, pool_records, runs_of
from roadmap.analysis.epoch_table import read_records, records_of
from roadmap.analysis.factorial import Grid, read_grid
from roadmap.analysis.figures import layout
from roadmap.analysis.read_runs import read_finished_runs
from roadmap.analysis.report.ablation_chart import effect_chart, factorial_chart
from roadmap.analysis.report.charts import curve_chart, roadmap_chart, waterfall_chart
from roadmap.analysis.report.commands import page_commands, recipe_lines, training_commands
from roadmap.analysis.report.cost_chart import cost_chart
from roadmap.analysis.report.walk import draw_walk
from roadmap.analysis.reproduction import agreement_text, find_agreement
from roadmap.analysis.results import Row, aggregate, drawn_rows
from roadmap.analysis.significance import (
    RowStats,
    compute_row_stats,
    estimate_text,
    interval_text,
    method_text,
    p_text,
    pooled_text,
    summary_text,
    verdict_text,
)
from roadmap.analysis.stats import COVERAGE, std
from roadmap.analysis.table import notes
from roadmap.runs.read_run import Run, State, count_states

ROOM = Path(__file__).parent
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
CONTENTS = {
    "roadmap": "Roadmap",
    "changes": "Changes",
    "costs": "Accuracy and cost",
    "curves": "Training curves",
    "kernels": "",  # the curve's title, such as "Kernel sizes"
    "effects": "Effect of each choice",
    "factorial": "Factorial",
    "paper": "The paper",
    "blocks": "Step by step",
    "table": "Table",
    "recipe": "Recipe",
    "problems": "Failures and warnings",
    "commands": "Commands",
}


def write_report(
    experiment_dir: Path,
    path: Path,
    best: bool = False,
    axes: Sequence[str] = (),
    step: str | None = None,
    shown: Path | None = None,
) -> None:
    """Write the page.

    `best` shows the best epoch's accuracy, picked on the validation set, instead of the last one's. `axes` are
    those of a factorial on `step`, if one is to be shown. `shown` is the folder that the page's commands name.
    RunError: the experiment does not exist, none of its runs has finished, or the factorial is not complete.
    """
    with _collect_warnings() as warnings:
        runs = read_finished_runs(experiment_dir)
        rows = aggregate(runs)
        row_stats = compute_row_stats(rows, best)
        grid = read_grid(rows, axes, step, best) if axes else None
        members = [runs_of(one.row, runs) for one in row_stats]
        setups = [read_row_setup(some) for some in members]
        records = read_records(experiment_dir, runs)
        curves = [pool_records(records_of(one.row, records)) for one in row_stats]
        training, training_note = training_commands(
            (run for some in members for run in some if run.state is State.done), rows[0].roadmap
        )
    warnings += [
        f"{one.row.name}: {setup.problem}"
        for one, setup in zip(row_stats, setups, strict=True)
        if setup is not None and setup.problem is not None
    ]
    context = {
        **_describe_experiment(row_stats, runs, best),
        **_draw_charts(row_stats, best, grid),
        "coverage": COVERAGE,
        "curves": curve_payload(row_stats, curves, [len(some) for some in members]),
        "networks": draw_walk(row_stats, setups),
        **_fill_table(row_stats, best),
        "recipe": recipe_lines([one.row for one in row_stats], setups),
        "failed": [
            {"name": f"{run.path.parent.name}/{run.path.name}", "error": run.error or "no message"}
            for run in runs
            if run.state is State.failed
        ],
        "warnings": warnings,
        "training": training,
        "training_note": training_note,
        "commands": page_commands(shown or experiment_dir, best, axes, step),
    }
    path.write_text(_render(context), encoding="utf-8")


def _render(context: dict[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(ROOM),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = context["charts"]
    has: dict[str, Any] = {name: name in charts for name in ("costs", "kernels", "effects", "factorial")}
    has |= {"changes": "waterfall" in charts, "curves": context["curves"], "paper": context["published"]}
    library = base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
    return environment.get_template("report.html").render(
        **context,
        contents=[(id_, name or context["curve_title"]) for id_, name in CONTENTS.items() if has.get(id_, True)],
        policy=POLICY,
        style=Markup((ROOM / "report.css").read_text(encoding="utf-8")),
        script=Markup((ROOM / "report.js").read_text(encoding="utf-8")),
        library=library,
    )


@contextmanager
def _collect_warnings() -> Iterator[list[str]]:
    """Collect the warnings of the analysis, to show them on the page too."""
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, handler = logging.getLogger("roadmap.analysis"), Keep(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def _describe_experiment(row_stats: Sequence[RowStats], runs: Sequence[Run], best: bool) -> dict[str, Any]:
    rows = [one.row for one in row_stats]
    devices = sorted({device for row in rows for device in row.devices})
    return {
        "title": rows[0].experiment,
        "setting": layout.capitalized(layout.setting_text(rows)),
        "measure": layout.capitalized(layout.accuracy_title(best)),
        "seeds": layout.seeds_text(rows),
        "states": count_states(run.state for run in runs),
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "missing": [f"{row.name}: {layout.missing_text(row)}" for row in rows if not row.seeds],
        "summary": summary_text(row_stats),
        "statistics": [
            text for text in (verdict_text(row_stats), pooled_text(rows, best), method_text(row_stats)) if text
        ],
        "published": rows[0].roadmap.paper if rows[0].roadmap.published else "",
        "curve": rows[0].roadmap.curve,
        "curve_title": f"{layout.capitalized(layout.curve_name(rows[0].roadmap))}s",
        "curve_note": layout.stand_in_note(layout.curve_rows(rows)),
        "agreement": [agreement_text(one) for one in find_agreement(rows, best)],
        "devices": f" Measured on {' and '.join(devices)}." if devices else "",
        "notes": notes(rows, best),
        "effects": _fill_effects(rows, best),
    }


def _fill_effects(rows: Sequence[Row], best: bool) -> dict[str, Any]:
    ablation = find_ablation(rows, best)
    headings, lines = effect_table(ablation)
    return {"headings": headings, "lines": lines, "notes": effect_notes(ablation)}


def _draw_charts(row_stats: Sequence[RowStats], best: bool, grid: Grid | None) -> dict[str, Any]:
    shown = {id(row) for row in drawn_rows([one.row for one in row_stats])}
    drawn = (
        roadmap_chart([one for one in row_stats if id(one.row) in shown], best),
        waterfall_chart(row_stats, best),
        cost_chart(row_stats, best),
        curve_chart(row_stats, best),
        effect_chart([one.row for one in row_stats], best),
        factorial_chart(grid) if grid else None,
    )
    caption = "Bars are means with the standard deviation over seeds; a hatched bar was tried and not adopted."
    if any(one.row.on_imagenet for one in row_stats):
        caption += " A diamond is the paper's."
    return {"charts": {chart.name: asdict(chart) for chart in drawn if chart}, "roadmap_caption": caption}


def _fill_table(row_stats: Sequence[RowStats], best: bool) -> dict[str, Any]:
    unit, scale = layout.cost_unit(one.row for one in row_stats)
    table, columns = [], []
    for one in row_stats:
        columns = _fill_columns(one, unit, scale, best)
        kind = "missing" if not one.row.seeds else "variant" if one.row.variant else "adopted"
        table.append({"kind": kind, "cells": [(cell, cell_kind) for _, cell_kind, _, cell in columns]})
    return {"headings": [column[:3] for column in columns], "table": table}


def _fill_columns(one: RowStats, unit: str, scale: float, best: bool) -> list[tuple[str, str, bool, str]]:
    """Return each column's name, the kind of its cells, whether it is shown at first, and the row's cell."""
    row, change = one.row, one.change
    difference = change.difference if change else None
    spread = std(row.accuracies(best))
    interval = interval_text(difference.interval, signed=True) if difference else ""
    verdict = change.explanation if change else "" if row.seeds else layout.missing_text(row)
    return [
        ("step", "name", True, row.name),
        ("label", "name", False, row.label),
        ("n", "number", True, str(len(row.seeds))),
        ("top-1 (%)", "number", True, f"{one.estimate.mean:.2f}" if one.estimate else ""),
        ("std", "number", True, "" if spread is None else f"{spread:.2f}"),
        (f"{COVERAGE} interval", "number", False, estimate_text(one.estimate) if one.estimate else ""),
        ("change", "number", True, f"{difference.mean:+z.2f}" if difference else ""),
        ("interval of the change", "number", False, interval),
        ("p (Holm)", "number", False, p_text(change.p) if change else ""),
        ("verdict", "words", False, verdict),
        (unit, "number", True, "" if row.gmacs is None else layout.cost_text(row.gmacs * scale)),
        ("M parameters", "number", True, "" if row.parameters is None else f"{row.parameters / 1e6:.3f}"),
        ("images/s", "number", True, "" if row.images_per_s is None else f"{row.images_per_s:,.0f}"),
        ("paper (ImageNet)", "number", True, f"{row.paper.top1:.2f}" if row.paper else ""),
    ]
