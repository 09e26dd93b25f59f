"""Comparison of experiments: the settings that differ, and the accuracy of each step under them.

Used to choose a recipe: one experiment per recipe, each with the same steps.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import rich.table

from roadmap.analysis.configurations import read_values, show_values, without, without_machine
from roadmap.analysis.figures.layout import accuracy_text
from roadmap.analysis.other_images import warn_of_other_images
from roadmap.analysis.publish import hide_machine, key_of
from roadmap.analysis.results import range_text
from roadmap.analysis.run_table import read_run_table, write_run_table
from roadmap.analysis.start_weights import WEIGHTS, hide_places, match_published, read_weights
from roadmap.analysis.terminal import draw_table, table_width, to_columns
from roadmap.errors import RunError, first_line
from roadmap.runs.config_hash import fill_neutral_values, is_outside
from roadmap.runs.naming import natural_key
from roadmap.runs.read_files import MAX_LINES_BYTES, parse_json, read_text
from roadmap.runs.read_run import Run, State

COMPARISON = "comparison.csv"  # of a published comparison: a row per run
SETTINGS = "settings.jsonl"  # of a published comparison: the settings of each experiment
SEVERAL = "several"  # stands for the values of a setting that differs between an experiment's runs
HOLDOUT = "data.holdout"  # the setting that chooses among the images of data.name
NO_SETTING = ("model",)  # what the networks are compared in
log = logging.getLogger(__name__)
Table = list[list[str]]  # a heading, then a line per experiment


@dataclass(frozen=True)
class Candidate:
    """An experiment: its settings and its finished runs."""

    name: str
    settings: Mapping[str, str]  # by dotted key; "several" if not all its runs share it
    runs: tuple[Run, ...]

    @property
    def top1(self) -> dict[str, list[float]]:
        """Percent after the last epoch, one per seed, by the name of the step, in the roadmap's order."""
        found: dict[str, list[float]] = {}
        for run in sorted(self.runs, key=lambda run: (run.step_index is None, run.step_index or 0)):
            if run.top1 is not None:
                found.setdefault(run.name, []).append(run.top1)
        return found


def make_candidate(name: str, settings: Mapping[str, str], runs: Iterable[Run]) -> Candidate:
    """Return an experiment of finished runs, which have its name."""
    done = (replace(run, experiment=name) for run in runs if run.state is State.done)
    return Candidate(name, settings, tuple(done))


def find_settings(runs: Iterable[Run]) -> dict[str, str]:
    """Return the settings of finished runs by dotted key, and "several" where they differ.

    Raises:
        RunError: a configuration is damaged.
    """
    found = [values for run in runs if run.state is State.done and (values := read_values(run))]
    configs = [show_values(without(without_machine(values), NO_SETTING)) for values in found]
    return _join_settings(configs)


def _join_settings(configs: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the settings by dotted key, "several" where they differ.

    A setting that does not affect results, such as hardware.graphs, is not compared with versions that lack it.
    """
    keys = dict.fromkeys(key for config in configs for key in config)
    values = {
        key: {config.get(key, SEVERAL) for config in configs if key in config or not is_outside(key)}
        for key in keys
    }
    return {key: SEVERAL if len(found) > 1 else found.pop() for key, found in values.items()}


def find_differing(candidates: Sequence[Candidate]) -> list[str]:
    """Return the settings that differ between the experiments, or between the runs of one."""
    joined = _join_settings([one.settings for one in candidates])
    return [key for key, value in joined.items() if value == SEVERAL]


def find_steps(candidates: Sequence[Candidate]) -> list[str]:
    """Return every step that any experiment ran, in the roadmap's order."""
    runs = [run for one in candidates for run in one.runs]
    ordered = sorted(runs, key=lambda run: (run.step_index is None, run.step_index or 0, natural_key(run.name)))
    return list(dict.fromkeys(run.name for run in ordered))


def make_table(candidates: Sequence[Candidate]) -> Table:
    """Return differing settings, top-1 and standard deviation of each step, and the mean of common steps.

    The best mean comes first. If all ran no common step, there is no mean, and the order is that of the arguments.
    """
    keys, steps = find_differing(candidates), find_steps(candidates)
    shared = [step for step in steps if all(step in one.top1 for one in candidates)]
    table = [["experiment", *keys, *_headings(candidates, steps), *(["mean"] if shared else [])]]
    ordered = sorted(candidates, key=lambda one: _mean(one, shared), reverse=True) if shared else candidates
    for one in ordered:
        cells = [accuracy_text(one.top1[step]) if step in one.top1 else "" for step in steps]
        mean = [f"{_mean(one, shared):.2f}"] if shared else []
        table.append([one.name, *(one.settings.get(key, SEVERAL) for key in keys), *cells, *mean])
    return table


def terminal_comparison(candidates: Sequence[Candidate], width: int) -> tuple[rich.table.Table, list[str]]:
    """Return the table for `rich.print`, and the lines below it.

    If it does not fit `width`, it has a line per step; experiments that then do not fit are left out from the end.
    """
    table = make_table(candidates)
    columns = to_columns(table)
    if table_width(columns) > width:
        columns = to_columns(list(zip(*table, strict=True)), range(len(table)))
    drawn, lines = draw_table(columns, width)
    if lines:
        lines.append("--to FOLDER writes the whole table.")
    shared = [step for step in find_steps(candidates) if all(step in one.top1 for one in candidates)]
    if shared and len(candidates) > 1:
        steps = "the common step" if len(shared) == 1 else f"{len(shared)} common steps"
        n = range_text(len(values) for one in candidates for values in one.top1.values())
        lines.append(f"Best mean over {steps}: {table[1][0]}, {table[1][-1]} (n = {n}; ±: standard deviation).")
    return drawn, lines


def _headings(candidates: Sequence[Candidate], networks: Sequence[str]) -> list[str]:
    """Return a heading for each network that no other has: step7, or step7 kernel_size=9.

    The whole name stands for steps whose short ones are the same, and for those without an index in a roadmap.
    """
    indexed = {run.step for one in candidates for run in one.runs if run.step_index is not None}
    parts = [network.partition(",") for network in networks]
    short = {step: step.partition("_")[0] if step in indexed else step for step, _, _ in parts}
    counts = Counter(short.values())
    names = [short[step] if counts[short[step]] == 1 else step for step, _, _ in parts]
    return [" ".join(filter(None, [name, variant])) for name, (_, _, variant) in zip(names, parts, strict=True)]


def _mean(candidate: Candidate, steps: Sequence[str]) -> float:
    return fmean(fmean(candidate.top1[step]) for step in steps)


def to_markdown(table: Table) -> str:
    """Return the table as Markdown."""
    heading, *lines = table
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heading, ["---"] * len(heading), *lines))


def along(candidates: Sequence[Candidate], key: str) -> list[Candidate]:
    """Return the largest set of experiments that differ only in this setting, in the order of its values.

    Raises:
        RunError: fewer than two experiments do, or the values are not numbers.
    """
    others = [other for other in find_differing(candidates) if other != key]
    groups: dict[tuple[str | None, ...], list[Candidate]] = {}
    for one in candidates:
        groups.setdefault(tuple(one.settings.get(other) for other in others), []).append(one)
    varying = [group for group in groups.values() if len({one.settings.get(key) for one in group}) > 1]
    if not varying:
        differing = ", ".join(find_differing(candidates)) or "nothing"
        raise RunError(f"{key}: no two of these experiments differ in it alone; they differ in {differing}")
    largest = max(varying, key=len)
    try:
        return sorted(largest, key=lambda one: float(one.settings[key]))
    except (KeyError, ValueError) as error:
        raise RunError(f"{key}: its values are no numbers, so there is no curve along it") from error


def write_candidates(candidates: Sequence[Candidate], folder: Path) -> list[Path]:
    """Write a CSV file with a row per run, and a file with all settings of each experiment; return their paths.

    A row has the settings that differ, and the run without its machine.
    """
    keys = find_differing(candidates)
    rows = [(run, {key: one.settings.get(key, "") for key in keys}) for one in candidates for run in one.runs]
    runs, settings = folder / COMPARISON, folder / SETTINGS
    write_run_table([hide_machine(run) for run, _ in rows], runs, [own for _, own in rows])
    lines = [json.dumps({"experiment": one.name, "settings": dict(one.settings)}) + "\n" for one in candidates]
    settings.write_text("".join(lines), encoding="utf-8")
    return [runs, settings]


def hide_places_of_weights(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the experiments with `...` for the folders of the weights that they started from."""
    return _replace_weights(candidates, hide_places(one.settings.get(WEIGHTS, "") for one in candidates))


def _match_weights(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the experiments with the weights' file as a published comparison among them names it."""
    return _replace_weights(candidates, match_published(one.settings.get(WEIGHTS, "") for one in candidates))


def _replace_weights(candidates: Iterable[Candidate], shown: Mapping[str, str]) -> list[Candidate]:
    return [
        replace(one, settings={**one.settings, WEIGHTS: shown.get(one.settings[WEIGHTS], one.settings[WEIGHTS])})
        if WEIGHTS in one.settings
        else one
        for one in candidates
    ]


def read_candidates(folder: Path) -> list[Candidate]:
    """Read the experiments of a published comparison.

    RunError: a column is missing, a cell has a wrong value, or settings are missing or damaged.
    """
    settings = _read_settings(folder / SETTINGS)
    found: dict[str, list[Run]] = {}
    for run in read_run_table(folder / COMPARISON):
        found.setdefault(run.experiment, []).append(run)
    if unknown := [name for name in found if name not in settings]:
        raise RunError(
            f"{folder / SETTINGS} has no settings of {', '.join(unknown)}: write them anew by compare --to"
        )
    weights = {name: _join_settings([read_weights(run) for run in runs]) for name, runs in found.items()}
    return [make_candidate(name, weights[name] | settings[name], runs) for name, runs in found.items()]


def _read_settings(path: Path) -> dict[str, dict[str, str]]:
    try:
        lines = map(parse_json, read_text(path, MAX_LINES_BYTES).splitlines())
        neutral = _neutral_settings()
        return {
            one["experiment"]: neutral | {key: str(value) for key, value in one["settings"].items()}
            for one in lines
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path} cannot be read: {first_line(error)}") from error


def _neutral_settings() -> dict[str, str]:
    """Return the settings that a comparison of an earlier version did not have yet."""
    return show_values(without(fill_neutral_values({}), NO_SETTING))


def join_candidates(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Join experiments of the same name, such as a published one and its new seeds.

    Of a run that both have, the later one counts, with a warning if its result is another. Settings in which they
    differ become "several", with a warning; so does a network whose own runs differ.
    """
    joined: dict[str, Candidate] = {}
    for one in _match_weights(list(candidates)):
        known = joined.setdefault(one.name, one)
        settings = _join_settings([known.settings, one.settings])
        if differing := [
            key
            for key, value in settings.items()
            if value == SEVERAL and SEVERAL not in (known.settings.get(key), one.settings.get(key))
        ]:
            log.warning("%s joins runs that differ in %s", one.name, ", ".join(differing))
        runs = {(key_of(run), run.seed): run for run in known.runs}
        for run in one.runs:
            if (former := runs.get((key_of(run), run.seed), run)).top1 != run.top1:
                log.warning(
                    "%s: %s seed %d is given twice; its later top-1, %.2f, counts, not %.2f",
                    *(one.name, run.name, run.seed, run.top1, former.top1),
                )
            runs[key_of(run), run.seed] = run
        joined[one.name] = Candidate(one.name, settings, tuple(runs.values()))
    for one in joined.values():
        _warn_of_mixed_runs(one)
    warn_of_other_images((one.settings.get(HOLDOUT), run) for one in joined.values() for run in one.runs)
    return list(joined.values())


def _warn_of_mixed_runs(candidate: Candidate) -> None:
    names: dict[str, set[tuple[str, ...]]] = {}  # of regime, data and recipe
    hashes: dict[str, set[str]] = {}
    for run in candidate.runs:
        names.setdefault(run.name, set()).add(key_of(run)[1])
        if run.setting_hash is not None:
            hashes.setdefault(run.name, set()).add(run.setting_hash)
    if mixed := [name for name in names if len(names[name]) > 1 or len(hashes.get(name, ())) > 1]:
        log.warning(
            "%s: the runs of %s have different settings, such as recipe.lr, so their mean is that of no network",
            *(candidate.name, " and ".join(mixed)),
        )
