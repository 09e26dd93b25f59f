"""Names of a sweep's networks: a network keeps the name that its finished runs already have."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from roadmap.cli.console import print_line
from roadmap.config import Kind, PlannedRun, Sweep, plan_runs
from roadmap.config.search_path import parse_word
from roadmap.runs.config_hash import hash_config
from roadmap.runs.conflicts import find_runs
from roadmap.runs.read_run import State

STEP = "+roadmap="
Held = tuple[str, bool]  # the name of a run's network, and True if it is done


def expand(sweep: Sweep) -> list[str]:
    """Return the overrides of a sweep's command in Hydra's form, and report the number of networks.

    A network may have run under another name, such as step 11 as step 12 with model/downsample=block. It keeps the
    name under which its experiment has most of the requested runs. Only the roadmap's sweep trains it again, since
    the figure shows the steps by their own names.

    Raises:
        ConfigError: as plan_runs.
    """
    names = sweep.spec.names()
    # composing them takes a while
    print_line(f"{sweep.word}: {sweep.spec.describe()}: {len(names):,} distinct networks")
    if sweep.spec.kind is Kind.roadmap:
        return sweep.overrides(names)
    runs = plan_runs(sweep.overrides(names), is_sweep=True)
    found: dict[str, list[Held]] = {}
    for experiment in {Path(run.config.output_dir) / run.config.experiment for run in runs}:
        for name, config_hash, state in find_runs(experiment):
            if sweep.spec.source.is_name(name):
                found.setdefault(config_hash, []).append((name, state == State.done))
    # By the command's word: a run's name has its choices in the model's order, a sweep's in the roadmap's.
    planned: dict[str, list[PlannedRun]] = {}
    for run in runs:
        planned.setdefault(_network_of(run), []).append(run)
    return sweep.overrides([_choose_name(name, planned[sweep.spec.source.override(name)], found) for name in names])


def _network_of(run: PlannedRun) -> str:
    """Return the network as the sweep's command names it."""
    return next(str(parse_word(word).value()) for word in run.overrides or () if word.startswith(STEP))


def _choose_name(name: str, runs: Sequence[PlannedRun], found: Mapping[str, Sequence[Held]]) -> str:
    """Return a sweep's name for a network, or the one under which most of its runs are there."""
    held = [one for run in runs for one in found.get(hash_config(asdict(run.config)), ())]
    own = runs[0].name

    def worth(candidate: str) -> tuple[int, int, bool]:
        done = [is_done for other, is_done in held if other == candidate]
        return sum(done), len(done), candidate == own

    best = max(sorted({own, *(other for other, _ in held)}), key=worth)
    return name if best == own else best
