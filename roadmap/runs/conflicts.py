"""Runs of an experiment that a command should know of: damaged ones, and those with other settings."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from roadmap.errors import RunError
from roadmap.runs.config_hash import describe_differences, setting_values
from roadmap.runs.naming import seed_folders
from roadmap.runs.read_files import read_yaml
from roadmap.runs.read_run import CONFIG, Run, State, read_run
from roadmap.runs.run_dir import RunDir

NAMES = ("regime", "data", "recipe")  # names that distinguish the rows of a table


def describe_other_settings(folders: Sequence[RunDir]) -> list[str]:
    """Describe one existing run per experiment whose settings differ from the planned ones.

    Skips runs of another regime, data set or recipe by name, which are separate in tables.
    """
    texts, own_paths = [], {folder.path for folder in folders}  # RunDir checks these
    for experiment in dict.fromkeys(folder.path.parents[1] for folder in folders):
        planned = [folder for folder in folders if folder.path.parents[1] == experiment]
        for run in _read_runs(experiment):
            # From an earlier version, not started, or reported by describe_damage.
            if run.setting_hash is None or run.state in (State.pending, State.damaged):
                continue
            others = [
                folder
                for folder in planned
                if all(getattr(folder.identity, name) == getattr(run, name) for name in NAMES)
                and folder.setting_hash != run.setting_hash
            ]
            if others and run.path not in own_paths:
                differences = ["its config.yaml is damaged"]
                with suppress(RunError):
                    old = read_yaml(run.path / CONFIG)
                    differences = describe_differences(old, others[0].config, setting_values)
                texts.append(
                    f"{experiment} holds runs with other settings, such as {run.path.parent.name} "
                    f"({'; '.join(differences)}): they are not comparable with these. "
                    "experiment=NAME separates them"
                )
                break
    return texts


def describe_damage(folders: Sequence[RunDir]) -> list[str]:
    """Describe each damaged run in the experiments of `folders`."""
    experiments = dict.fromkeys(folder.path.parents[1] for folder in folders)
    runs = (run for experiment in experiments for run in _read_runs(experiment))
    return [f"{run.error}. Until then the run is left out" for run in runs if run.state is State.damaged]


def find_runs(experiment: Path) -> Iterator[tuple[str, str, State]]:
    """Yield name, config hash and state of every run in an experiment that is not damaged."""
    for run in _read_runs(experiment):
        if run.config_hash and run.state is not State.damaged:
            yield run.name, run.config_hash, run.state


def _read_runs(experiment: Path) -> Iterator[Run]:
    for path in seed_folders(experiment):
        if run := read_run(path):
            yield run
