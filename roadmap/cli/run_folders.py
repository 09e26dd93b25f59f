"""Folders of a command's planned runs: opened, one for each, and checked after a launcher lost a process."""

import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

from hydra.errors import HydraException

from roadmap.cli.console import show_error, warn
from roadmap.config import Job, PlannedRun
from roadmap.config.schema import recorded_values
from roadmap.config.search_path import parse_word, quote
from roadmap.errors import DamagedError, RunError
from roadmap.runs.config_hash import describe_differences, flatten, is_outside
from roadmap.runs.read_run import Run, State, read_state
from roadmap.runs.run_dir import Identity, RunDir

SWEEP_FOLDER = ".sweep"  # Hydra's, in the folder of an experiment
NAMES = ("recipe.name", "data.name", "regime.name", "step.roadmap")  # in order of preference for experiments' names
IN_NAME = re.compile(r"\w[\w.+-]{,60}", re.ASCII)  # a value for the name of an experiment


def open_run_dir(planned: PlannedRun) -> RunDir:
    """Return the folder of a planned run, without writing anything."""
    config = planned.config
    identity = Identity(
        step=config.step.name,
        step_index=config.step.index,
        label=config.step.label,
        variant=planned.variant,
        reference=config.reference,
        experiment=config.experiment,
        seed=config.seed,
        regime=config.regime.name,
        data=config.data.name,
        recipe=config.recipe.name,
    )
    return RunDir(Path(config.output_dir), identity, recorded_values(config), planned.folders, planned.overrides)


def check_folders(folders: Sequence[RunDir]) -> None:
    """Raise RunError if two runs of a command have one folder but different configurations; names the keys.

    Values that do not define a result, such as hardware.precision, count too: the second run would be done already.
    """
    first: dict[Path, RunDir] = {}
    for folder in folders:
        other = first.setdefault(folder.path, folder)
        values = (other.config, folder.config)
        if differences := describe_differences(*values) or describe_differences(*values, values_of=flatten):
            raise RunError(
                f"two runs of this command have the folder {folder.path}, with {'; '.join(differences)}. "
                f"{_separate(folders)}"
            )


def _separate(folders: Sequence[RunDir]) -> str:
    """Return how to give the different runs of a command different folders.

    That is an override, quoted for a shell, with one or two keys in the experiment's name, if these suffice.
    """
    runs: dict[tuple[Path, str, int], list[Mapping[str, Any]]] = {}  # that would share a folder in one experiment
    for folder in folders:
        place = (folder.path.parents[2], folder.path.parent.name, folder.identity.seed)
        values = {key: value for key, value in flatten(folder.config).items() if key != "experiment"}
        if values not in (alike := runs.setdefault(place, [])):
            alike.append(values)
    typed = {word.partition("=")[0] for folder in folders for word in folder.overrides or ()}
    keys = sorted(
        _keys_for_names([values for alike in runs.values() for values in alike]),
        key=lambda key: (NAMES.index(key) if key in NAMES else len(NAMES), key not in typed, is_outside(key), key),
    )
    for chosen in (*combinations(keys, 1), *combinations(keys, 2)):
        if all(
            len({"-".join(str(one[key]) for key in chosen) for one in alike}) == len(alike)
            for alike in runs.values()
        ):
            experiments = {folder.identity.experiment for folder in folders}
            parts = [*(experiments if len(experiments) == 1 else ()), *(f"${{{key}}}" for key in chosen)]
            word = shlex.quote(f"experiment={_quote('-'.join(parts))}")
            return f"{word} gives each value its own experiment"
    return "Train each in a command of its own, with another experiment=NAME"


def _keys_for_names(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys that differ between runs and whose values can each be part of a folder's name."""
    texts = {key: {str(values.get(key, "")) for values in runs} for key in set().union(*runs)}
    return [key for key, found in texts.items() if len(found) > 1 and all(map(IN_NAME.fullmatch, found))]


def _quote(name: str) -> str:
    """Quote a name if Hydra does not read it as it is written."""
    try:
        is_read = parse_word(f"experiment={name}").value() == name
    except HydraException:
        is_read = False
    return name if is_read else quote(name)


def remove_empty_folders(folders: Sequence[RunDir]) -> None:
    """Remove the experiment folder that Hydra creates under the name before the swept values are known."""
    for output_dir in {folder.path.parents[2] for folder in folders}:
        for place in output_dir.glob(f"*/{SWEEP_FOLDER}"):
            with suppress(OSError):  # files of a launcher, or runs
                place.rmdir()
                place.parent.rmdir()


def split_lost(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Split the runs lost with a killed process into those that were running and those that had not started."""
    runs = [read_written_state(open_run_dir(job.planned)) for job in jobs]
    states = [run and run.state for run in runs]
    under_way = [job for job, state in zip(jobs, states, strict=True) if state == State.running]
    waiting = [job for job, state in zip(jobs, states, strict=True) if state in (None, State.pending)]
    names = ", ".join(f"{job.planned.name} seed {job.planned.config.seed}" for job in under_way)
    if len(jobs) > 1 and under_way:
        warn(f"a process of the launcher was killed, and with it {names}; they go on alone after the others")
    elif under_way:
        error = "its process was killed (often the system's answer to a lack of memory)"
        open_run_dir(under_way[0].planned).interrupt(error)
        show_error(RunError(f"{names}: {error}; run the same command again to go on from the last checkpoint"))
    else:
        show_error(RunError("a process of the launcher was killed before a run had begun; run the command again"))
    return under_way, waiting


def read_written_state(folder: RunDir) -> Run | None:
    """Return the state that a run last wrote; None if there is none, or it is damaged."""
    try:
        return read_state(folder.path)  # as written: its process is gone
    except DamagedError:  # told when the run is refused
        return None
