"""Save workspaces and a report on Weights & Biases that compare the steps of runs with `logger=wandb`.

Each call saves new ones and prints their addresses. `--print` needs no account and no network.
"""

import argparse
import json
import re
import signal
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from roadmap.analysis.figures.layout import capitalized, curve_name
from roadmap.cli.arguments import add_config_dir
from roadmap.cli.exit_status import report_errors
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.roadmaps import DEFAULT, Roadmap, is_setting
from roadmap.config.search_path import read_search_path, use
from roadmap.errors import ConfigError, RunError, first_line
from roadmap.runs.loggers.wandb import JOB_TYPE

try:
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws
except ImportError as problem:
    sys.exit(f"error: {sys.argv[0]} needs the package wandb-workspaces: pip install wandb-workspaces ({problem})")

# Keys logged by roadmap/runs/loggers/wandb.py.
NAME = "identity.name"  # in a run's config: the step with its variant, equal for all seeds
ORDER = "step_index"  # in a run's summary, like the columns of the run table
SHOWN = (ORDER, "seed", "top1", "best_top1", "top5", "gmacs", "parameters", "images_per_s", "paper_top1")
COLUMNS = ["run:displayName", *(f"summary:{key}" for key in SHOWN)]
EPOCH = "epoch"

MANY = 100  # W&B's default is to draw 10 runs, groups or bars, and there are 13 steps
AVERAGED: dict[str, Any] = {"groupby_aggfunc": "mean", "groupby_rangefunc": "stddev", "max_runs_to_show": MANY}
LONGEST_TITLE = 128  # of a report

Panel = wr.interface.PanelTypes  # the union of all kinds


@dataclass(frozen=True)
class Curve:
    """The step whose other values are compared."""

    step: str
    key: str  # of its value in a run's config on W&B
    name: str  # of its values, such as "kernel sizes"

    @property
    def title(self) -> str:
        return capitalized(self.name)


def find_curve(roadmap: Roadmap) -> Curve | None:
    choice = roadmap.choice_of(roadmap.curve or "")
    if choice is None:
        return None
    key = choice.axis if is_setting(choice.axis) else f"model.{choice.axis}"
    return Curve(choice.step, key, f"{curve_name(roadmap)}s")


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    entity, project = read_path(arguments.project)
    check_experiment(arguments.experiment)
    with use(read_search_path([], arguments.config_dir)):
        shown = entity, project, arguments.experiment, load_roadmap(arguments.roadmap)
        pages: list[wr.Report | ws.Workspace] = [make_report(*shown), *make_workspaces(*shown)]
    if arguments.print:
        print(json.dumps([dump(page) for page in pages], indent=2))
    else:
        save(pages)
    return 0


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Saves workspaces and a report on Weights & Biases that compare the steps of a project's runs."
    )
    parser.add_argument("project", metavar="ENTITY/PROJECT", help="where the runs are, such as my-team/roadmap")
    parser.add_argument(
        "--experiment",
        help="show this experiment alone; default: every run that trained, with those of one step averaged",
    )
    parser.add_argument("--roadmap", default=DEFAULT, help=f"whose steps are shown; default: {DEFAULT}")
    add_config_dir(parser)
    parser.add_argument("--print", action="store_true", help="write what would be saved, as JSON, and save nothing")
    return parser.parse_args(words)


def read_path(path: str) -> tuple[str, str]:
    match = re.fullmatch(r"([\w.-]+)/([\w.-]+)", path)
    if match is None:
        raise ConfigError(f"{path}: not a project on W&B; name it as ENTITY/PROJECT, such as my-team/roadmap")
    return match[1], match[2]


def check_experiment(name: str | None) -> None:
    """Refuse names that the library misreads: title symbols become emojis, and filter values are expressions."""
    odd = [one for one in name or "" if unicodedata.category(one).startswith("S") or one in "'\\"]
    if odd:
        raise ConfigError(
            f"--experiment {name}: a name with {' '.join(odd)} cannot be filtered by; "
            "leave --experiment out, and choose the group in the browser"
        )


def save(pages: Sequence[wr.Report | ws.Workspace]) -> None:
    """Save all pages, the report first, since this creates a missing project; W&B's library prints their addresses.

    Raises:
        RunError: no account, no network, no such entity, or no permission to write there.
    """
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # so that a broken connection raises an error
    try:
        for page in pages:
            page.save()
    except Exception as error:  # the service and its library may raise any error
        raise RunError(
            f"{pages[0].entity}/{pages[0].project}: not saved ({type(error).__name__}: {first_line(error)}); "
            "it takes a network and an account that may write there, see `wandb login`; --print takes neither"
        ) from error


def dump(page: wr.Report | ws.Workspace) -> dict[str, Any]:
    """Return the content that is sent to W&B."""
    return page._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)


def make_workspaces(entity: str, project: str, experiment: str | None, roadmap: Roadmap) -> list[ws.Workspace]:
    """Make a workspace of all runs, and one of the curve's, since all panels of a workspace show the same runs.

    Without an experiment, every run is shown.
    """

    def workspace(text: str, key: str, sections: list[ws.Section], *filters: ws.FilterExpr) -> ws.Workspace:
        return ws.Workspace(
            entity=entity,
            project=project,
            name=make_title(text, experiment),
            sections=sections,
            settings=ws.WorkspaceSettings(x_axis=EPOCH, max_runs=MANY),
            runset_settings=ws.RunsetSettings(
                filters=ws.And(*choose_runs(experiment), *filters),
                groupby=[ws.Config(key)],
                order=[ws.Ordering(ws.Summary(ORDER))],
                pinned_columns=COLUMNS,
            ),
        )

    steps = [
        ws.Section(name="Steps", panels=compare_steps(), is_open=True),
        ws.Section(name="Curves", panels=draw_curves(NAME), is_open=True),
    ]
    pages = [workspace("Roadmap", NAME, steps)]
    if curve := find_curve(roadmap):
        values = [ws.Section(name=curve.title, panels=compare_values(curve), is_open=True)]
        pages.append(workspace(curve.title, curve.key, values, ws.Summary("step") == curve.step))
    return pages


def make_report(entity: str, project: str, experiment: str | None, roadmap: Roadmap) -> wr.Report:
    """Make a report of finished runs only, since the accuracy of a training run is no result yet."""
    curve = find_curve(roadmap)
    finished = [*choose_runs(experiment), ws.Metric("State") == "finished"]
    return wr.Report(
        entity=entity,
        project=project,
        title=make_title("Roadmap", experiment),
        description=f"{roadmap.title}, step by step",
        width="fluid",
        blocks=[
            wr.H1("Steps"),
            wr.P(
                "Top-1 after the last epoch, as the mean over seeds with one standard deviation. "
                "The table below lists the runs by step."
            ),
            wr.PanelGrid(runsets=[make_runset("Steps", NAME, finished)], panels=compare_steps()),
            wr.H1("Curves"),
            wr.PanelGrid(
                runsets=[make_runset("Steps", NAME, finished)], panels=draw_curves(NAME), hide_run_sets=True
            ),
            *(describe_curve(curve, finished) if curve else ()),
        ],
    )


def describe_curve(curve: Curve, finished: Sequence[ws.FilterExpr]) -> list[Any]:
    """Make the report's section of the curve's runs."""
    runs = [*finished, ws.Summary("step") == curve.step]
    return [
        wr.H1(curve.title),
        wr.P(f"The runs of {curve.step} by their {curve.name}, whatever else they vary."),
        wr.PanelGrid(runsets=[make_runset(curve.title, curve.key, runs)], panels=compare_values(curve)),
    ]


def make_title(text: str, experiment: str | None) -> str:
    return f"{text} of {experiment}"[:LONGEST_TITLE] if experiment else text


def choose_runs(experiment: str | None) -> list[ws.FilterExpr]:
    """Select training runs, not those of scripts/wandb_experiment.py; a run's group is its experiment."""
    trained = [ws.Metric("JobType") == JOB_TYPE]
    return [*trained, ws.Metric("Group") == experiment] if experiment else trained


def make_runset(name: str, key: str, filters: Sequence[ws.FilterExpr]) -> wr.Runset:
    """Make a set of the report's own project, which is not named here since that would need a network."""
    return wr.Runset(
        name=name,
        filters=ws.And(*filters),
        groupby=[f"config.{key}"],
        order=[wr.OrderBy(wr.SummaryMetric(ORDER), ascending=True)],
        pinned_columns=COLUMNS,
        lock_columns=True,
    )


def compare_steps() -> list[Panel]:
    accuracy = wr.SummaryMetric("top1")
    return [
        draw_bars("Top-1 by step", NAME),
        wr.ScatterPlot(title="Top-1 against GMACs", x=wr.SummaryMetric("gmacs"), y=accuracy),
    ]


def compare_values(curve: Curve) -> list[Panel]:
    return [draw_bars(f"Top-1 by {curve.name}", curve.key), *draw_curves(curve.key)]


def draw_bars(title: str, key: str) -> wr.BarPlot:
    return wr.BarPlot(title=title, metrics=["top1"], groupby=wr.Config(key), max_bars_to_show=MANY, **AVERAGED)


def draw_curves(key: str) -> list[Panel]:
    titles = {"top1": "Top-1 (%)", "loss": "Validation loss", "train_loss": "Training loss"}
    return [
        wr.LinePlot(title=title, x=EPOCH, y=[metric], groupby=wr.Config(key), **AVERAGED)
        for metric, title in titles.items()
    ]
