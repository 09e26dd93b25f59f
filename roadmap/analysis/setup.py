"""What the rows of an experiment were configured as: their networks, their recipe, and the commands behind them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from roadmap.analysis.diagrams import Network
from roadmap.analysis.results import Row

NO_RECIPE = ("step", "model", "regime")  # groups that differ from row to row, or are told elsewhere
NO_SETTING = ("mode", "seed", "experiment", "output_dir", "reference")


@dataclass(frozen=True)
class Setup:
    """A row's configuration, as read from the config.yaml of one of its runs."""

    choice: str  # the word that chooses the step, such as +roadmap=step5_inverted; empty without one
    overrides: tuple[str, ...]  # the other words of the command that trained it, but for the seed
    values: Mapping[str, str]  # every dotted key of the configuration; none where it cannot be read
    network: Network | None  # None for a network beside the roadmap, which has no plan
    problem: str | None = None  # why there is no network, where there should be one


def training_commands(rows: Sequence[Row], setups: Sequence[Setup | None]) -> list[str]:
    """The commands that train the finished runs of the rows, one for each set of overrides and seeds."""
    steps: dict[tuple[str, tuple[str, ...], tuple[int, ...]], list[str]] = {}
    for row, setup in zip(rows, setups, strict=True):
        if setup is not None and setup.values and row.seeds:
            group, _, name = setup.choice.partition("=")
            steps.setdefault((group, setup.overrides, row.seeds), []).append(name)
    commands = []
    for (group, overrides, seeds), names in steps.items():
        is_sweep = len(names) > 1 or len(seeds) > 1
        choice = [f"{group}={','.join(names)}"] if group else []
        words = [*choice, *overrides, f"seed={','.join(map(str, seeds))}"]
        commands.append(shlex.join(["python", "train.py", *(["-m"] if is_sweep else []), *words]))
    return commands


def recipe_lines(
    rows: Sequence[Row], setups: Sequence[Setup | None]
) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Every setting but the design: its key, and each value with the labels of the rows that have it.

    A value that all rows share has no labels.
    """
    pairs = [(row, setup) for row, setup in zip(rows, setups, strict=True) if setup is not None]
    keys = dict.fromkeys(key for _, setup in pairs for key in setup.values if _is_recipe(key))
    lines = []
    for key in keys:
        labels: dict[str, list[str]] = {}
        for row, setup in pairs:
            if key in setup.values:
                labels.setdefault(setup.values[key], []).append(row.label)
        lines.append((key, [(value, [] if len(labels) == 1 else names) for value, names in labels.items()]))
    return lines


def _is_recipe(key: str) -> bool:
    group = key.partition(".")[0]
    return group not in NO_RECIPE and group not in NO_SETTING
