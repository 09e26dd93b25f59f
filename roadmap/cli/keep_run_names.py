"""Names of a sweep's networks: a network keeps the name that its finished runs already have."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from roadmap.cli.console import print_line
from roadmap.config import Kind, Sweep, plan_runs
from roadmap.runs.config_hash import hash_config
from roadmap.runs.conflicts import find_runs
from roadmap.runs.read_run import State

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
    held: dict[str, list[Held]] = {}
    for run in runs:
        held.setdefault(run.name, []).extend(found.get(hash_config(asdict(run.config)), []))
    return sweep.overrides([_choose_name(name, held.get(name, [])) for name in names])


def _choose_name(name: str, held: Sequence[Held]) -> str:
    def worth(candidate: str) -> tuple[int, int, bool]:
        done = [is_done for other, is_done in held if other == candidate]
        return sum(done), len(done), candidate == name

    return max(sorted({name, *(other for other, _ in held)}), key=worth)
