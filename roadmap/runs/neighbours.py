"""Conflicts between neighbouring runs: a shared folder, or settings that are not comparable."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from roadmap.errors import RunError
from roadmap.naming import seed_folders
from roadmap.runs.files import read_json, read_yaml
from roadmap.runs.folder import CONFIG, STATE, RunFolder, State
from roadmap.runs.identity import describe_differences, describe_setting_differences

NAMES = ("regime", "data", "recipe")  # names that distinguish the rows of a table


def check_places(folders: Sequence[RunFolder]) -> None:
    """Refuse a command with two runs of the same name but different configurations.

    Raises:
        RunError: names the folder and the keys.
    """
    first: dict[Path, RunFolder] = {}
    for folder in folders:
        other = first.setdefault(folder.path, folder)
        if other.config_hash != folder.config_hash:
            differences = describe_differences(other.config, folder.config)
            key = differences[0].partition(":")[0]
            raise RunError(
                f"two runs of this command would take the folder {folder.path}, with {'; '.join(differences)}. "
                f"experiment={folder.identity.experiment}-'${{{key}}}' gives each value an experiment of its own"
            )


def describe_other_settings(folders: Sequence[RunFolder]) -> list[str]:
    """Describe, per experiment, one existing run with other settings than the planned ones, and the differences.

    Runs of another regime, data set or recipe by name are separate in tables, so they are skipped here.
    """
    texts, taken = [], {folder.path for folder in folders}  # these are refused if they differ
    for experiment in dict.fromkeys(folder.path.parents[1] for folder in folders):
        planned = [folder for folder in folders if folder.path.parents[1] == experiment]
        for path, state in _read_states(experiment):
            others = [
                folder
                for folder in planned
                if _names(vars(folder.identity)) == _names(state["identity"])
                and folder.setting_hash != state["setting_hash"]
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


def find_runs(experiment: Path) -> Iterator[tuple[str, str, str]]:
    """Yield name, configuration hash and state of every intact run in an experiment."""
    for folder in seed_folders(experiment):
        with suppress(RunError, KeyError):  # reported when the run is reached
            state = read_json(folder / STATE)
            yield folder.parent.name, state["config_hash"], state["state"]


def _names(identity: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(identity[name] for name in NAMES)


def _read_states(experiment: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder's path and state of each started run, except damaged ones and those of earlier versions."""
    for folder in seed_folders(experiment):
        with suppress(RunError):
            state = read_json(folder / STATE)
            if "setting_hash" in state and state.get("state") != State.pending:
                yield folder, state
