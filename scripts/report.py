"""Writes one HTML file that answers what an experiment shows.

    python scripts/report.py [EXPERIMENT] [--output-dir outputs] [--best] [--to FILE]

The file is EXPERIMENT/figures/report.html; it needs no network and no server. A sweep that is still running can be
reported: what is missing is shown as missing. An error is one message and exit status 1.
"""

import argparse
import json
import logging
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from roadmap.analysis.diagrams import Network
from roadmap.analysis.folders import FIGURE_FOLDER, Run, choose_experiment
from roadmap.analysis.report import Commands, write_report
from roadmap.analysis.setup import Setup
from roadmap.config import CONF_DIR, compose
from roadmap.config.convert import convert
from roadmap.config.variant import NO_DESIGN
from roadmap.errors import ConfigError, RoadmapError, first_line
from roadmap.model.describe import describe_network
from roadmap.model.plan import plan_network
from roadmap.model.spec import Form, ModelSpec, RegimeSpec
from roadmap.runs.folder import CONFIG

# Told by the choice of the step and its variant, or by the seed; where files lie is no part of a configuration.
NO_OVERRIDE = ("step", "model", "seed", "reference", "output_dir")
NOTE = "data.note"  # printed, and no part of the training
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where it is built in, is ten times faster
UNREADABLE = (HydraException, OmegaConfBaseException, yaml.YAMLError)
GROUPS = ("regime", "data", "recipe")
PLAIN = re.compile(r"[\w./+-]+")  # a value that Hydra takes without quotes


def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        experiment_dir = choose_experiment(arguments.experiment, arguments.output_dir)
        path = arguments.to or experiment_dir / FIGURE_FOLDER / f"report{'-best' if arguments.best else ''}.html"
        if experiment_dir.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        write_report(experiment_dir, path, make_reader(), name_commands(experiment_dir, arguments), arguments.best)
    except (RoadmapError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Writes one HTML file that answers what an experiment shows.")
    parser.add_argument(
        "experiment",
        nargs="?",
        help="a name under the output folder, or a path; default: the one that changed last",
    )
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"), help="default: outputs")
    parser.add_argument("--to", type=Path, help="the file to write; default: EXPERIMENT/figures/report.html")
    parser.add_argument(
        "--best",
        action="store_true",
        help="show the accuracy of the best epoch, picked on the validation set, not of the last",
    )
    return parser.parse_args(words)


def name_commands(experiment_dir: Path, arguments: argparse.Namespace) -> Commands:
    """The commands as they were or could be typed where this one was."""
    options = [str(experiment_dir), *(["--best"] if arguments.best else [])]
    report, figures, check = (
        shlex.join(["python", f"scripts/{script}.py", *options])
        for script in ("report", "plot_roadmap", "check_paper")
    )
    return Commands(report, figures, check)


def make_reader() -> Callable[[Run], Setup | None]:
    """Reads the configuration of runs; composes one of each setting, to tell what was typed beside it."""
    bases: dict[tuple[str, ...], dict[str, Any]] = {}

    def read(run: Run) -> Setup | None:
        path = run.path / CONFIG
        if not path.exists():
            return None
        try:
            values = yaml.load(path.read_text(encoding="utf-8"), YAML)  # plain: it was resolved when it was written
            setting = (*(str(values[group]["name"]) for group in GROUPS), str(run.reference is not None))
            if setting not in bases:
                bases[setting] = compose_base(run)
            network, problem = read_network(values)
            words = (*find_words(run), *find_overrides(values, bases[setting]))
            return Setup(find_choice(run), words, flatten(values), network, problem)
        except (*UNREADABLE, OSError, KeyError, TypeError, ValueError) as error:
            return Setup("", (), {}, None, f"{CONFIG} cannot be read ({type(error).__name__}: {first_line(error)})")

    return read


def compose_base(run: Run) -> dict[str, Any]:
    """The configuration of the run's step in its setting, without what was typed on top."""
    words = [*filter(None, [find_choice(run)]), *find_words(run, with_variant=False)]
    values = OmegaConf.to_container(compose(*words), resolve=True)
    assert isinstance(values, dict)
    return flatten(values)


def find_choice(run: Run) -> str:
    """`+roadmap=step5_inverted`; empty for the network that no step names."""
    if run.reference is not None:
        return f"+reference={run.step if (CONF_DIR / 'reference' / f'{run.step}.yaml').exists() else run.reference}"
    return f"+roadmap={run.step}" if (CONF_DIR / "roadmap" / f"{run.step}.yaml").exists() else ""


def find_words(run: Run, with_variant: bool = True) -> list[str]:
    """Regime, data and recipe where they are not the default's, and each design switched alone."""
    words = [f"{group}={getattr(run, group)}" for group in GROUPS]
    for key, value in run.variant.items() if with_variant else ():
        is_choice = (CONF_DIR / "model" / key / f"{value}.yaml").exists()
        words.append(f"model/{key}={value}" if is_choice else f"model.{key}={value}")
    return words


def find_overrides(values: Mapping[str, Any], base: Mapping[str, str]) -> list[str]:
    """Every other key whose value is not the composed one."""
    return [
        f"{key}={value if PLAIN.fullmatch(value) or value.startswith('[') else repr(value)}"
        for key, value in flatten(values).items()
        if key.partition(".")[0] not in NO_OVERRIDE and key != NOTE and key in base and value != base[key]
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted keys and values, as they are written on a command line."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = show(value)
    return flat


def show(value: Any) -> str:
    """As YAML has it; 1.0 is written 1, as a configuration may have either for the same number."""
    if isinstance(value, list):
        return f"[{','.join(map(show, value))}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


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
