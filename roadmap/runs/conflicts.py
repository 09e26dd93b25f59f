"""Conflicts between neighbouring runs: a shared folder, or settings that are not comparable."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from roadmap.errors import DamagedError, RunError
from roadmap.runs.atomic import read_yaml
from roadmap.runs.config_hash import describe_differences, describe_setting_differences
from roadmap.runs.naming import seed_folders
from roadmap.runs.record import Record, State, read_record
from roadmap.runs.run_dir import CONFIG, RunDir

NAMES = ("regime", "data", "recipe")  # names that distinguish the rows of a table


def check_places(folders: Sequence[RunDir]) -> None:
    """Refuse a command with two runs of the same name but different configurations.

    Raises:
        RunError: names the folder and the keys.
    """
    first: dict[Path, RunDir] = {}
    for folder in folders:
        other = first.setdefault(folder.path, folder)
        if other.config_hash != folder.config_hash:
            differences = describe_differences(other.config, folder.config)
            key = differences[0].partition(":")[0]
            raise RunError(
                f"two runs of this command would take the folder {folder.path}, with {'; '.join(differences)}. "
                f"experiment={folder.identity.experiment}-'${{{key}}}' gives each value an experiment of its own"
            )


def describe_other_settings(folders: Sequence[RunDir]) -> list[str]:
    """Describe, per experiment, one existing run with other settings than the planned ones, and the differences.

    Runs of another regime, data set or recipe by name are separate in tables, so they are skipped here.
    """
    texts, taken = [], {folder.path for folder in folders}  # these are refused if they differ
    for experiment in dict.fromkeys(folder.path.parents[1] for folder in folders):
        planned = [folder for folder in folders if folder.path.parents[1] == experiment]
        for path, record in _read_records(experiment):
            if record.setting_hash is None or record.state is State.pending:  # of an earlier version, or not begun
                continue
            others = [
                folder
                for folder in planned
                if all(getattr(folder.identity, name) == getattr(record.identity, name) for name in NAMES)
                and folder.setting_hash != record.setting_hash
            ]
            if others and path not in taken:
                differences = ["its config.yaml is damaged"]
                with suppress(RunError):
                    differences = describe_setting_differences(read_yaml(path / CONFIG), others[0].config)
                texts.append(
                    f"{experiment} holds runs with other settings, such as {path.parent.name} "
                    f"({'; '.join(differences)}): changes between them and these are no comparison. "
                    "experiment=NAME keeps them apart"
                )
                break
    return texts


def describe_damage(folders: Sequence[RunDir]) -> list[str]:
    """For each run in the experiments of `folders` whose state is damaged: what is wrong, and what follows."""
    texts = []
    for experiment in dict.fromkeys(folder.path.parents[1] for folder in folders):
        for path in seed_folders(experiment):
            try:
                read_record(path)
            except DamagedError as error:
                texts.append(f"{error}. Until then the run is left out, and the others go on")
    return texts


def find_runs(experiment: Path) -> Iterator[tuple[str, str, State]]:
    """Name, configuration's hash and state of every run in an experiment; a damaged one is left out."""
    for path, record in _read_records(experiment):
        if record.config_hash:
            yield path.parent.name, record.config_hash, record.state


def _read_records(experiment: Path) -> Iterator[tuple[Path, Record]]:
    for path in seed_folders(experiment):
        with suppress(DamagedError):  # of which describe_damage warns
            if record := read_record(path):
                yield path, record
