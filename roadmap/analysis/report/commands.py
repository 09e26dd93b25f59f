"""Configurations of an experiment's rows: their networks, their recipe, and the commands that trained them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from roadmap.analysis.report.diagrams import Sections
from roadmap.analysis.results import Row
from roadmap.config.steps import add_one_in, design_of, leave_one_out, name_of
from roadmap.runs.naming import network_name

SWEEPS = {
    f"+sweep={kind}": frozenset(name_of(design_of(network)) for network in networks)
    for kind, networks in (("leave_one_out", leave_one_out()), ("add_one_in", add_one_in()))
}
NO_RECIPE = ("step", "model", "regime")  # groups that differ from row to row, or are shown elsewhere
DESIGNS = ("+roadmap", "+reference", "model")  # overrides that differ between a sweep's commands
NO_SETTING = ("mode", "seed", "experiment", "output_dir", "reference")


@dataclass(frozen=True)
class Setup:
    """A row's configuration, read from the config.yaml of one of its runs."""

    choice: str  # override that selects the step, such as +roadmap=step5_inverted; empty if there is none
    overrides: tuple[str, ...]  # other overrides of the command that trained it, except the seed
    values: Mapping[str, str]  # every dotted key of the configuration; empty if it is unreadable
    network: Sections | None  # None for a reference network, which has no plan
    problem: str | None = None  # why there is no network, if there should be one


def training_commands(rows: Sequence[Row], setups: Sequence[Setup | None]) -> list[str]:
    """Return the fewest commands that train the finished runs of the rows and nothing else."""
    commands: list[list[str]] = []
    runs = [(row, setup) for row, setup in zip(rows, setups, strict=True) if setup and setup.values and row.seeds]
    sweeps, covered = _find_sweeps(runs)
    for row, setup in runs:
        if id(row) not in covered:
            choice = [setup.choice] if setup.choice else []
            _add(commands, [*choice, *setup.overrides, _seed_word(row.seeds)])
    commands += sweeps
    return [shlex.join(["python", "train.py", *(["-m"] if _is_sweep(words) else []), *words]) for words in commands]


def _find_sweeps(runs: Sequence[tuple[Row, Setup]]) -> tuple[list[list[str]], set[int]]:
    """Return the overrides of each of SWEEPS that ran completely, and the ids of rows that need no other command.

    The path's steps may have more seeds than the sweep; the roadmap's command trains them.
    """
    settings: dict[tuple[str, ...], dict[str, Row]] = {}
    for row, setup in runs:
        setting = tuple(word for word in setup.overrides if not word.startswith(DESIGNS))
        settings.setdefault(setting, {})[network_name(row.step, row.variant)] = row
    found, covered = [], set()
    for setting, members in settings.items():
        for word, names in SWEEPS.items():
            if not names <= members.keys():
                continue
            ablations = [members[name] for name in names if members[name].variant]
            seeds = ablations[0].seeds
            whole = all(row.seeds == seeds for row in ablations)
            if whole and all(set(seeds) <= set(members[name].seeds) for name in names):
                found.append([word, *setting, _seed_word(seeds)])
                covered |= {id(row) for row in ablations}
    return found, covered


def _seed_word(seeds: Sequence[int]) -> str:
    return f"seed={','.join(map(str, seeds))}"


def _add(commands: list[list[str]], words: list[str]) -> None:
    """Add a command; if one exists that differs only in one design, add that design's value to it."""
    for command in commands:
        if len(command) == len(words):
            differing = [place for place, word in enumerate(words) if word != command[place]]
            if len(differing) == 1 and _is_of_one_design(words[differing[0]], command[differing[0]]):
                command[differing[0]] += f",{words[differing[0]].partition('=')[2]}"
                return
    commands.append(words)


def _is_of_one_design(word: str, other: str) -> bool:
    key = word.partition("=")[0]
    return key.startswith(DESIGNS) and other.startswith(f"{key}=")


def _is_sweep(words: Sequence[str]) -> bool:
    return any("," in word or word in SWEEPS for word in words if word.startswith((*DESIGNS, "seed=", "+sweep=")))


def recipe_lines(
    rows: Sequence[Row], setups: Sequence[Setup | None]
) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Return every setting except the design: its key, and each value with the labels of the rows that have it.

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
