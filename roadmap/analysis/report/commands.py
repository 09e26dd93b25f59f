"""Commands of the report: those that train its runs, joined from what each recorded, and those that read them."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from roadmap.analysis.configurations import Setup, read_words
from roadmap.analysis.results import Row
from roadmap.config.roadmaps import DEFAULT, Roadmap
from roadmap.config.search_path import SearchPath, quote
from roadmap.config.step_files import ROADMAPS
from roadmap.config.sweep_networks import add_one_in, leave_one_out
from roadmap.runs.read_run import Run
from roadmap.system.commands import printed

STEP, SEED, DESIGN = "+roadmap", "seed", "model"  # overrides that differ between a sweep's runs
SWEEPS = {"+sweep=leave_one_out": leave_one_out, "+sweep=add_one_in": add_one_in}

# Groups of no recipe: they differ from row to row, are shown elsewhere, or set nothing.
NO_RECIPE = ("step", "model", "regime", "mode", "seed", "experiment", "output_dir", "reference")

Command = tuple[tuple[str, tuple[str, ...]], ...]  # each override's key and its values


def page_commands(folder: Path, best: bool, axes: Sequence[str], step: str | None) -> dict[str, str]:
    """Return the commands that reproduce a page of this folder, by what they show."""
    factorial = [*(["--axes", ",".join(axes)] if axes else []), *(["--step", step] if axes and step else [])]

    def command(name: str, *options: str) -> str:
        return shlex.join(printed(name, str(folder), *(["--best"] if best else []), *options))

    return {
        "report": command("report", *factorial),
        "figures": command("plot"),
        "check": command("check"),
        "attribute": command("attribute"),
        "factorial": command("attribute", *factorial),
    }


def training_commands(runs: Iterable[Run], roadmap: Roadmap) -> tuple[list[str], str]:
    """Return the fewest commands that train these runs and nothing else, and a note on what they lack.

    The path's steps may have more seeds than a sweep of the ablation; the roadmap's command trains them.
    """
    recorded = [(run, read_words(run)) for run in runs]
    commands: Sequence[Command] = [_parse(words, run.seed) for run, words in recorded if words is not None]
    keys = dict.fromkeys(key for command in commands for key, _ in command)
    for key in [SEED, *(key for key in keys if key.lstrip("+").startswith(("roadmap", "reference", DESIGN)))]:
        commands = _join(commands, key)
    commands = _name_sweeps(commands, roadmap)
    count = sum(words is None for _, words in recorded)
    notes = (
        [f"{count} of {len(recorded)} runs recorded no command: an earlier version trained them."] if count else []
    )
    if lost := _find_lost_steps(recorded):
        notes.append(
            f"No file of {', '.join(lost)} is in conf/roadmap or in the folders of the run's command any more: the "
            "commands need it."
        )
    return [_write(command) for command in commands], " ".join(notes)


def _find_lost_steps(recorded: Sequence[tuple[Run, Sequence[str] | None]]) -> list[str]:
    """Return the steps that commands name and whose file is gone."""
    named = {
        (run.step, run.config_folders)
        for run, words in recorded
        if words is not None and any(word.startswith(f"{STEP}=") for word in words)
    }
    return sorted(
        step
        for step, folders in named
        if not any(any((place / ROADMAPS).rglob(f"{step}.yaml")) for place in SearchPath(folders).places())
    )


def _parse(words: Sequence[str], seed: int) -> Command:
    pairs = [word.partition("=")[::2] for word in words]
    return (*((key, (value,)) for key, value in pairs if key != SEED), (SEED, (str(seed),)))


def _join(commands: Sequence[Command], key: str) -> list[Command]:
    """Join the commands that differ only in the values of one override."""
    found: dict[Command, dict[str, None]] = {}
    for command in commands:
        others = tuple((name, () if name == key else values) for name, values in command)
        found.setdefault(others, {}).update(dict.fromkeys(_values(command, key)))
    return [_set(others, key, tuple(values)) for others, values in found.items()]


def _name_sweeps(commands: Sequence[Command], roadmap: Roadmap) -> list[Command]:
    """Write each of SWEEPS that ran completely by its name."""
    named, others = [], []
    of_roadmap = () if roadmap.name == DEFAULT else ((f"sweep.roadmap={roadmap.name}", ()),)
    sweeps = {
        word: [quote(roadmap.override(roadmap.name_of(roadmap.design_of(one)))) for one in networks(roadmap)]
        for word, networks in SWEEPS.items()
    }
    for command in commands:
        steps = _values(command, STEP)
        for word, names in sweeps.items():
            variants = {name for name in names if name.startswith("'")}
            if variants <= set(steps) and all(_trains(commands, command, name) for name in {*names} - variants):
                named.append((*_set(command, STEP, (), word), *of_roadmap))
                steps = tuple(step for step in steps if step not in variants)
        if steps or not _values(command, STEP):
            others.append(_set(command, STEP, steps))
    return [*others, *named]


def _trains(commands: Sequence[Command], command: Command, step: str) -> bool:
    """Return True if a step ran with all seeds and with the other overrides of a command."""
    setting = _set(_set(command, STEP, ()), SEED, ())
    alike = [other for other in commands if _set(_set(other, STEP, ()), SEED, ()) == setting]
    return any(
        {*_values(command, SEED)} <= {*_values(other, SEED)} and step in _values(other, STEP) for other in alike
    )


def _values(command: Command, key: str) -> tuple[str, ...]:
    return next((values for name, values in command if name == key), ())


def _set(command: Command, key: str, values: tuple[str, ...], new_key: str | None = None) -> Command:
    return tuple((new_key or key, values) if name == key else (name, old) for name, old in command)


def _write(command: Command) -> str:
    words = [f"{key}={','.join(values)}" if values else key for key, values in command]
    is_sweep = any(len(values) > 1 or key in SWEEPS for key, values in command)
    return " ".join([*printed("train"), *(["-m"] if is_sweep else []), *map(_quote, words)])


def _quote(word: str) -> str:
    """Quote a word for a shell; one with single quotes, such as a variant's name, in double quotes if it can be."""
    return f'"{word}"' if "'" in word and not set('"$`!\\') & set(word) else shlex.quote(word)


def recipe_lines(
    rows: Sequence[Row], setups: Sequence[Setup | None]
) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Return every setting except the design: its key, and each value with the labels of the rows that have it.

    A value that all rows share has no labels.
    """
    pairs = [(row, setup) for row, setup in zip(rows, setups, strict=True) if setup is not None]
    keys = dict.fromkeys(
        key for _, setup in pairs for key in setup.values if key.partition(".")[0] not in NO_RECIPE
    )
    lines = []
    for key in keys:
        labels: dict[str, list[str]] = {}
        for row, setup in pairs:
            if key in setup.values:
                labels.setdefault(setup.values[key], []).append(row.label)
        lines.append((key, [(value, [] if len(labels) == 1 else names) for value, names in labels.items()]))
    return lines
