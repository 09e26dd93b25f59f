"""The configuration that a run recorded: its values, its network, and the words of its command."""

import json
import logging
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from roadmap.config.convert import convert
from roadmap.config.variant import NO_DESIGN
from roadmap.errors import ConfigError, DamagedError, RunError, first_line
from roadmap.model.describe import Section, describe_network
from roadmap.model.layer_plan import plan_network
from roadmap.model.spec import Form, ModelSpec, RegimeSpec
from roadmap.runs.config_hash import fill_neutral_values, flatten
from roadmap.runs.overrides import read_overrides
from roadmap.runs.read_files import MAX_LINES_BYTES, parse_json, read_text, read_yaml
from roadmap.runs.read_run import CONFIG, Run, State

RECIPE = "recipe.yaml"  # of a published experiment: every setting shared by its finished runs
OWN_VALUES = "configs.jsonl"  # of a published experiment: the other values of each run
OF_RUN = ("seed", "experiment", "output_dir", "logger", "step", "reference", "retry_failed", "mode", "modules")
OF_NETWORK = ("model", "init_from")
PLACES = ("root", "cache")  # of the data, on the machine that trained

Values = dict[str, Any]  # nested as in config.yaml
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """A row's configuration, from one of its runs."""

    values: Mapping[str, str]  # every dotted key of the configuration; empty if it is unreadable
    network: tuple[Section, ...] | None  # None for a reference network, which has no plan
    problem: str | None = None  # why there is no network, if there should be one


def read_setup(run: Run) -> Setup | None:
    """Return the configuration of a run; None if it has written none yet."""
    try:
        values = read_values(run)
        if values is None:
            return None
        return Setup(show_values(values), *read_network(values))
    except (RunError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        return Setup({}, None, f"{CONFIG} cannot be read ({type(error).__name__}: {first_line(error)})")


def read_row_setup(runs: Sequence[Run]) -> Setup | None:
    """Return the configuration of a row: of its first finished run, else of the first that has written one."""
    done_first = sorted(runs, key=lambda run: run.state is not State.done)
    return next((setup for run in done_first if (setup := read_setup(run)) is not None), None)


def read_words(run: Run) -> tuple[str, ...] | None:
    """Return the words of `python train.py` that train a run again; None if it recorded none."""
    try:
        words = read_overrides(run.path) if run.overrides is None else tuple(shlex.split(run.overrides))
    except (DamagedError, ValueError) as error:
        log.warning("%s", error)
        return None
    return words if words is None or all(map(str.isprintable, words)) else None


def read_values(run: Run) -> Values | None:
    """Return a run's values, from its config.yaml or its published experiment; None if it recorded none.

    Raises:
        RunError: a file is damaged.
    """
    if (run.path / CONFIG).exists():
        return read_yaml_values(run.path / CONFIG)
    recipe = run.path.parents[1] / RECIPE
    if not recipe.exists():
        return None
    values = merge(read_yaml_values(recipe), _read_own_values(recipe.with_name(OWN_VALUES), name_of_run(run)))
    return values | {"seed": run.seed, "reference": run.reference}


def _read_own_values(path: Path, name: str) -> Values:
    try:
        lines = read_text(path, MAX_LINES_BYTES).splitlines() if path.exists() else []
        return next((one["values"] for one in map(parse_json, lines) if name in one["runs"]), {})
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{path} is damaged: {first_line(error)}") from error


def write_own_values(path: Path, configs: Iterable[tuple[Run, Values]]) -> None:
    """Write the values of runs that are not in their recipe: one line per configuration, with its runs."""
    runs: dict[str, list[str]] = {}
    for run, values in configs:
        runs.setdefault(json.dumps(values), []).append(name_of_run(run))
    lines = [json.dumps({"runs": names, "values": json.loads(text)}) + "\n" for text, names in runs.items()]
    path.write_text("".join(lines), encoding="utf-8")


def name_of_run(run: Run) -> str:
    """Return the run's folder in its experiment."""
    return f"{run.name}/seed{run.seed}"


def read_yaml_values(path: Path) -> Values:
    """Read a configuration as plain values; it was resolved when it was written.

    Raises:
        RunError: the file is damaged.
    """
    return fill_neutral_values(read_yaml(path))


def read_network(values: Mapping[str, Any]) -> tuple[tuple[Section, ...] | None, str | None]:
    """Return the layers of a step, or None and why: another version of this project wrote the configuration."""
    if values["reference"] is not None:
        return None, None
    if "model" not in values:
        return None, "no diagram, its configuration was not recorded"
    # The implementation of a block is not drawn, so an unknown value of it does no harm.
    design = values["model"] | dict.fromkeys(NO_DESIGN, Form.conv)
    try:
        plan = plan_network(convert(ModelSpec, design, "model"), convert(RegimeSpec, values["regime"], "regime"))
        return describe_network(plan, int(values["data"]["image_size"])), None
    except ConfigError as error:
        return None, f"no diagram, its configuration is of another version: {error}"


def find_recipe(runs: Iterable[Run]) -> Values:
    """Return the settings shared by all finished runs, nested as in a configuration."""
    return find_shared(values for run in runs if run.state is State.done and (values := read_values(run)))


def find_shared(configs: Iterable[Values]) -> Values:
    """Return the settings shared by several configurations."""
    settings = [without(without_machine(config), OF_NETWORK) for config in configs]
    return reduce(keep_shared, settings) if settings else {}


def without_machine(values: Values) -> Values:
    """Return a configuration without the values of one run and its machine."""
    rest = without(values, OF_RUN)
    return rest | {"data": without(rest["data"], PLACES)} if isinstance(rest.get("data"), dict) else rest


def without(values: Values, keys: Iterable[str]) -> Values:
    return {key: value for key, value in values.items() if key not in keys}


def keep_shared(values: Values, others: Values) -> Values:
    """Return the values that two configurations share."""
    shared: Values = {}
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(others.get(key), dict):
            shared[key] = keep_shared(value, others[key])
        elif key in others and others[key] == value:
            shared[key] = value
    return shared


def merge(values: Values, others: Values) -> Values:
    """Return the values of two configurations; those of the second take precedence."""
    inner = {key: merge(values[key], other) for key, other in others.items() if isinstance(values.get(key), dict)}
    return values | others | inner


def subtract(values: Values, shared: Values) -> Values:
    """Return the values that are not in `shared`, so that `merge(shared, RESULT)` gives them all."""
    own: Values = {}
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(shared.get(key), dict):
            own |= {key: inner} if (inner := subtract(value, shared[key])) else {}
        elif key not in shared or shared[key] != value:
            own[key] = value
    return own


def show_values(values: Values) -> dict[str, str]:
    """Return dotted keys and values in their command-line form."""
    return {key: _show(value) for key, value in flatten(values).items()}


def _show(value: Any) -> str:
    """Format as in YAML; 1.0 becomes 1, since a configuration may have either for the same number."""
    if isinstance(value, list):
        return f"[{','.join(map(_show, value))}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
