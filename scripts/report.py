"""Writes one HTML file that answers what an experiment shows.

    python scripts/report.py [EXPERIMENT] [--output-dir outputs] [--best] [--axes A,B] [--to FILE]

The file is EXPERIMENT/figures/report.html; it needs no network and no server. A sweep that is still running can be
reported: what is missing is shown as missing. An error is one message and exit status 1.
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from roadmap.analysis.diagrams import Network
from roadmap.analysis.factorial import add_factorial_arguments
from roadmap.analysis.folders import FIGURE_FOLDER, Run, add_experiment_arguments, choose_experiment
from roadmap.analysis.report import Commands, write_report
from roadmap.analysis.setup import Setup
from roadmap.config.convert import convert
from roadmap.config.replay import find_words, flatten
from roadmap.config.variant import NO_DESIGN
from roadmap.errors import ConfigError, RoadmapError, first_line
from roadmap.model.describe import describe_network
from roadmap.model.plan import plan_network
from roadmap.model.spec import Form, ModelSpec, RegimeSpec
from roadmap.runs.folder import CONFIG

YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where it is built in, is the faster
UNREADABLE = (HydraException, OmegaConfBaseException, yaml.YAMLError)


def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        experiment_dir = choose_experiment(arguments.experiment, arguments.output_dir)
        path = arguments.to or experiment_dir / FIGURE_FOLDER / f"report{'-best' if arguments.best else ''}.html"
        if experiment_dir.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        commands = name_commands(experiment_dir, arguments)
        write_report(experiment_dir, path, read_setup, commands, arguments.best, arguments.axes, arguments.step)
    except (RoadmapError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Writes one HTML file that answers what an experiment shows.")
    add_experiment_arguments(parser)
    parser.add_argument("--to", type=Path, help="the file to write; default: EXPERIMENT/figures/report.html")
    parser.add_argument(
        "--best",
        action="store_true",
        help="show the accuracy of the best epoch, picked on the validation set, not of the last",
    )
    add_factorial_arguments(parser)
    return parser.parse_args(words)


def name_commands(experiment_dir: Path, arguments: argparse.Namespace) -> Commands:
    """The commands as they were or could be typed where this one was."""
    best = ["--best"] if arguments.best else []
    factorial = ["--axes", ",".join(arguments.axes), "--step", arguments.step] if arguments.axes else []

    def command(script: str, *options: str) -> str:
        return shlex.join(["python", f"scripts/{script}.py", str(experiment_dir), *best, *options])

    return Commands(
        report=command("report", *factorial),
        figures=command("plot_roadmap"),
        check=command("check_paper"),
        attribute=command("attribute"),
        factorial=command("attribute", *factorial),
    )


def read_setup(run: Run) -> Setup | None:
    """The configuration of a run; None where it has left none yet."""
    path = run.path / CONFIG
    if not path.exists():
        return None
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), YAML)  # plain: it was resolved when it was written
        words = find_words(values, run.variant)
        network, problem = read_network(values)
        return Setup(words.choice, (*words.variant, *words.setting), flatten(values), network, problem)
    except (*UNREADABLE, OSError, KeyError, TypeError, ValueError) as error:
        return Setup("", (), {}, None, f"{CONFIG} cannot be read ({type(error).__name__}: {first_line(error)})")


def read_network(values: Mapping[str, Any]) -> tuple[Network | None, str | None]:
    """The layers of a step; or None and why, where another version of this project wrote the configuration."""
    if values["reference"] is not None:
        return None, None
    # How a block is computed is not drawn, so a word for it that is no longer known does no harm.
    design = values["model"] | dict.fromkeys(NO_DESIGN, Form.conv)
    try:
        plan = plan_network(convert(ModelSpec, design, "model"), convert(RegimeSpec, values["regime"], "regime"))
        return describe_network(plan, int(values["data"]["image_size"])), None
    except ConfigError as error:
        return None, f"no diagram, its configuration is of another version: {error}"


if __name__ == "__main__":
    sys.exit(main())
