"""Log an experiment's results, its table, figures and HTML report, as a separate run on Weights & Biases.

The run has the project and group of the experiment's runs. It is offline by default; then the last line is the
command that uploads it and them. Run that on the same machine: until then, W&B keeps the artifact's files in
~/.local/share/wandb. Each call makes a new run; the artifact keeps the versions.
"""

import argparse
import re
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

import wandb

from roadmap.analysis.configurations import read_yaml_values
from roadmap.analysis.read_runs import FIGURE_FOLDER, add_experiment_arguments, choose_experiment, read_runs
from roadmap.analysis.report.report import write_report
from roadmap.analysis.results import Row
from roadmap.analysis.significance import compute_row_stats
from roadmap.analysis.table import columns, notes
from roadmap.analysis.tables_and_figures import draw_experiment
from roadmap.cli.exit_status import report_errors
from roadmap.config import CONF_DIR
from roadmap.errors import RunError
from roadmap.runs.logger_spec import WandbMode
from roadmap.runs.loggers import describe_error
from roadmap.runs.loggers.wandb import SETTINGS, check_key, choose_mode, shorten_tags
from roadmap.runs.read_run import CONFIG, Run, read_run

JOB_TYPE = "aggregate"
TABLE = "roadmap"


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    experiment_dir = choose_experiment(arguments.experiment, arguments.output_dir)
    rows, paths = draw_experiment(experiment_dir)
    report = experiment_dir / FIGURE_FOLDER / "report.html"
    write_report(experiment_dir, report)
    project, entity = find_project(read_runs(experiment_dir))
    project, entity = arguments.project or project, arguments.entity or entity
    run = log_aggregate(experiment_dir, rows, [*paths, report], project, entity, arguments.online)
    if run.url:
        print(run.url)
    else:
        print(Path(run.dir).parent)
        folder = shlex.quote(str(experiment_dir))
        print(f"to send it and the runs: find {folder} -name 'offline-run-*' -exec wandb sync {{}} +")
    return 0


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Logs an experiment's table, figures and HTML report as a run on Weights & Biases."
    )
    add_experiment_arguments(parser)
    parser.add_argument(
        "--online", action="store_true", help="send it at once; default: write it, for `wandb sync`"
    )
    parser.add_argument("--project", help="default: that of the experiment's runs")
    parser.add_argument("--entity", help="the team on W&B; default: that of the experiment's runs")
    return parser.parse_args(words)


def find_project(runs: Sequence[Run]) -> tuple[str, str | None]:
    """Return the project and entity that the runs were logged to, or else those of conf/logger/wandb.yaml."""
    for run in runs:
        if (run.path / CONFIG).exists():
            logger = read_yaml_values(run.path / CONFIG).get("logger") or {}
            if logger.get("name") == "wandb" and logger.get("project"):
                return logger["project"], logger.get("entity")
    default = read_yaml_values(CONF_DIR / "logger/wandb.yaml")
    return default["project"], default["entity"]


def find_group(runs: Sequence[Run]) -> str:
    """Return the W&B group of the runs: the name of their experiment when they were trained."""
    return (read_run(runs[0].path) or runs[0]).experiment


def log_aggregate(
    experiment_dir: Path, rows: Sequence[Row], paths: Sequence[Path], project: str, entity: str | None, online: bool
) -> wandb.Run:
    """Log the table, the figures and the report, which is the last of `paths`, and all files as an artifact.

    Raises:
        RunError: W&B failed; online, mostly because an account or network is missing.
    """
    experiment = find_group(read_runs(experiment_dir))
    figures = [path for path in paths if path.suffix == ".png"]
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a connection that breaks is an error like others
    mode = choose_mode(WandbMode.online if online else WandbMode.offline)
    try:
        if mode == "online":
            check_key()
        run = wandb.init(
            project=project,
            entity=entity,
            mode=mode,
            dir=experiment_dir,
            group=experiment,
            job_type=JOB_TYPE,
            name=f"{experiment}-{JOB_TYPE}",
            tags=shorten_tags(sorted({value for row in rows for value in row.setting})),
            notes="\n".join(notes(rows)),
            config={"experiment": experiment},
            settings=SETTINGS,
        )
        run.log(
            {
                TABLE: make_table(rows),
                **{f"figures/{path.stem}": wandb.Image(str(path)) for path in figures},
                "report": wandb.Html(str(paths[-1]), inject=False),  # unchanged: its policy allows no other styles
            }
        )
        run.log_artifact(make_artifact(experiment, paths))
        run.finish()
    except Exception as error:  # the service and its library may raise any error
        raise RunError(
            f"{experiment_dir}: not logged to W&B ({describe_error(error)}); --online takes a "
            "network and an account that may write there, see `wandb login`; without it, neither is needed"
        ) from error
    return run


def make_table(rows: Sequence[Row]) -> wandb.Table:
    """Return the rows of roadmap.csv."""
    table = columns(rows)
    data = [[column.value(one) for column in table] for one in compute_row_stats(rows)]
    return wandb.Table(columns=[column.key for column in table], data=data)


def make_artifact(experiment: str, paths: Sequence[Path]) -> wandb.Artifact:
    """Return the files as an artifact, with a name of the characters that W&B allows."""
    artifact = wandb.Artifact(f"roadmap-{re.sub(r'[^A-Za-z0-9_.-]', '-', experiment)}", type="results")
    for path in paths:
        artifact.add_file(str(path))
    return artifact
