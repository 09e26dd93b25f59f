"""Published results of an experiment: a table of runs and one of their epochs, readable without run folders.

Experiments run on more than one machine, and a clone of the repository has no run folders. So earlier published
results are merged with the runs of this machine.
"""

import re
import shlex
import socket
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from roadmap.analysis.configurations import (
    OWN_VALUES,
    RECIPE,
    Values,
    find_shared,
    read_values,
    read_words,
    subtract,
    without_machine,
    write_own_values,
)
from roadmap.analysis.curves import Record
from roadmap.analysis.epoch_table import EPOCH_TABLE, read_records, write_epoch_table
from roadmap.analysis.read_runs import RUN_TABLE, read_runs
from roadmap.analysis.run_table import write_run_table
from roadmap.errors import RunError
from roadmap.runs.read_run import Run, State

# Of a path that begins at a root, a home or a drive: all but its last part. Not of a URL.
FOLDERS = re.compile(r"""(?<![\w.:/\\])(?:~|[A-Za-z]:|\\)?[/\\](?:[^\s'":,;()\[\]/\\]+[/\\])+""")
PRIVATE = re.compile(r"[+~]*(output_dir|data\.root|data\.cache|logger(\.\w+)?)(=.*)?")  # overrides
PROCESS = re.compile(r"process \d+ on [^\s;,]+")

Key = tuple[str, tuple[str, ...]]  # a network and its regime, data and recipe


@dataclass(frozen=True)
class PublishedResults:
    """The runs of an experiment, and the metrics of their epochs."""

    runs: list[Run]
    records: list[Record]

    def write(self, folder: Path) -> None:
        """Write the tables, the recipe and the values that are not in it, without anything of a machine.

        Raises:
            RunError: the configuration of a finished run is damaged.
        """
        configs = [_read_public_values(run) for run in self.runs]  # of published runs, before they are replaced
        runs = [hide_machine(run) for run in self.runs]
        recipe = find_shared(
            values for run, values in zip(runs, configs, strict=True) if run.state is State.done and values
        )
        write_run_table(runs, folder / RUN_TABLE)
        write_epoch_table(self.records, folder / EPOCH_TABLE)
        (folder / RECIPE).write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
        own = [(run, subtract(values, recipe)) for run, values in zip(runs, configs, strict=True) if values]
        write_own_values(folder / OWN_VALUES, own)


def _read_public_values(run: Run) -> Values:
    """Return the values of a run without those of its machine; empty if it left none."""
    try:
        values = read_values(run) or {}
    except RunError:
        if run.state is State.done:
            raise
        return {}
    public = without_machine(values)
    if isinstance(source := public.get("init_from"), str):
        public["init_from"] = hide_folders(source)
    return public


def hide_machine(run: Run) -> Run:
    """Return a run whose error and overrides tell nothing of its machine; read_words reads its overrides."""
    words = read_words(run)
    return replace(
        run,
        error=run.error and hide_places(run.error),
        overrides=None if words is None else shlex.join(hide_words(words)),
    )


def hide_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command without paths of the images, dashboards and the folders of other paths."""
    return [hide_folders(word) for word in words if not PRIVATE.fullmatch(word)]


def hide_folders(text: str) -> str:
    """Return a text with `...` for the folders of each path."""
    return FOLDERS.sub(".../", text)


def read_results(experiment_dir: Path) -> PublishedResults:
    """Return the results of an experiment's run folders, or of a published experiment.

    RunError: the folder does not exist, holds no readable run, or its tables are damaged.
    """
    runs = read_runs(experiment_dir)
    return PublishedResults(runs, read_records(experiment_dir, runs))


def find_kept(published: Iterable[Run], runs: Iterable[Run]) -> list[Run]:
    """Return the published runs that are missing or unfinished in `runs`."""
    runs = list(runs)
    ends = {(key_of(run), run.seed): run.state for run in runs}
    hashes = {run.config_hash for run in runs if run.config_hash and run.state is State.done}  # under any name
    return [
        run
        for run in published
        if run.config_hash not in hashes
        and (
            (state := ends.get((key_of(run), run.seed))) is None
            or (run.state is State.done and state is not State.done)
        )
    ]


def hide_places(text: str) -> str:
    """The text without what it says of a machine: the folders of absolute paths, its name, numbers of processes."""
    for name in (str(Path.home()), socket.gethostname()):
        text = text.replace(name, "~") if len(name) > 1 else text
    text = PROCESS.sub("another process", text.replace("file://", ""))
    return hide_folders(text)


def join(kept: Collection[Run], published: PublishedResults, here: PublishedResults) -> PublishedResults:
    """Return the kept published runs, and the local runs of other networks and seeds."""
    places = {(key_of(run), run.seed) for run in kept}
    new = [run for run in here.runs if (key_of(run), run.seed) not in places]
    records = [one for one in published.records if _seeds(one) <= places]
    records += [one for one in here.records if not _seeds(one) & places]
    return PublishedResults(
        sorted([*kept, *new], key=lambda run: (run.name, run.seed)),
        sorted(records, key=lambda one: (one.network, one.setting, one.seeds)),
    )


def key_of(run: Run) -> Key:
    return run.name, (run.regime, run.data, run.recipe)


def _seeds(record: Record) -> set[tuple[Key, int]]:
    return {((record.network, record.setting), seed) for seed in record.seeds}
