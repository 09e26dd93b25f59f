"""Experiments beside each other: which settings differ, and what each step reached under them.

This is how a recipe is chosen: one experiment a recipe, each with the same steps.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from roadmap.analysis.results import deviation, natural
from roadmap.analysis.run import DONE, Run, read_run_settings, write_run_table
from roadmap.errors import RunError

SEVERAL = "several"  # values of a setting that an experiment's runs don't share
Table = list[list[str]]  # a heading, then a line an experiment


@dataclass(frozen=True)
class Candidate:
    """An experiment: the settings that all its runs share, and its finished runs."""

    name: str
    settings: Mapping[str, str]  # by dotted key
    runs: tuple[Run, ...]

    @property
    def top1(self) -> dict[str, list[float]]:
        """Percent after the last epoch, one a seed, by the name of the step, in the roadmap's order."""
        found: dict[str, list[float]] = {}
        for run in sorted(self.runs, key=lambda run: (run.step_index is None, run.step_index or 0)):
            if run.top1 is not None:
                found.setdefault(run.name, []).append(run.top1)
        return found


def make_candidate(name: str, settings: Mapping[str, str], runs: Iterable[Run]) -> Candidate:
    return Candidate(name, settings, tuple(run for run in runs if run.state == DONE))


def find_differing(candidates: Sequence[Candidate]) -> list[str]:
    """The settings that are not the same in all."""
    keys = dict.fromkeys(key for one in candidates for key in one.settings)
    return [key for key in keys if len({one.settings.get(key) for one in candidates}) > 1]


def find_steps(candidates: Sequence[Candidate]) -> list[str]:
    """Every step that one of them ran, in the roadmap's order."""
    runs = [run for one in candidates for run in one.runs]
    ordered = sorted(runs, key=lambda run: (run.step_index is None, run.step_index or 0, natural(run.name)))
    return list(dict.fromkeys(run.name for run in ordered))


def make_table(candidates: Sequence[Candidate]) -> Table:
    """The differing settings, each step's top-1 (and deviation over seeds), and the mean of the steps that all ran.

    The best mean comes first. Without a step that all ran there is no mean, and the order is that of the arguments.
    """
    keys, steps = find_differing(candidates), find_steps(candidates)
    shared = [step for step in steps if all(step in one.top1 for one in candidates)]
    table = [["experiment", *keys, *map(_heading, steps), *(["mean"] if shared else [])]]
    ordered = sorted(candidates, key=lambda one: _mean(one, shared), reverse=True) if shared else candidates
    for one in ordered:
        cells = [_cell(one.top1.get(step, ())) for step in steps]
        mean = [f"{_mean(one, shared):.2f}"] if shared else []
        table.append([one.name, *(one.settings.get(key, SEVERAL) for key in keys), *cells, *mean])
    return table


def _heading(network: str) -> str:
    """Such as step7, or step7 kernel_size=9."""
    step, _, variant = network.partition(",")
    return " ".join(filter(None, [step.partition("_")[0], variant]))


def _mean(candidate: Candidate, steps: Sequence[str]) -> float:
    return fmean(fmean(candidate.top1[step]) for step in steps)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    spread = deviation(values)
    return f"{fmean(values):.2f}" + ("" if spread is None else f" ± {spread:.2f}")


def to_markdown(table: Table) -> str:
    """The table for a page."""
    heading, *lines = table
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heading, ["---"] * len(heading), *lines))


def along(candidates: Sequence[Candidate], key: str) -> list[Candidate]:
    """Those that differ in this setting alone, by its value: the largest such set in which it does differ.

    Raises:
        RunError: fewer than two do, or its values are no numbers.
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


def write_candidates(candidates: Sequence[Candidate], path: Path) -> None:
    """CSV, a row a run: what differs in its settings, and the run."""
    keys = find_differing(candidates)
    rows = [(run, {key: one.settings.get(key, "") for key in keys}) for one in candidates for run in one.runs]
    write_run_table([run for run, _ in rows], path, [settings for _, settings in rows])


def read_candidates(path: Path) -> list[Candidate]:
    """The experiments of such a file, with the settings that differ.

    RunError: a column is missing, or a cell is not what belongs there.
    """
    found: dict[str, tuple[dict[str, str], list[Run]]] = {}
    for run, settings in read_run_settings(path):
        found.setdefault(run.experiment, (settings, []))[1].append(run)
    return [make_candidate(name, settings, runs) for name, (settings, runs) in found.items()]
