"""Reading of steps' files: what each is based on and changes, and checks of the order that they state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from roadmap.config.convert import convert
from roadmap.config.file_cache import file_cached, note_read
from roadmap.config.roadmaps import AXIS_GROUP, DEFAULT, value_text
from roadmap.config.search_path import find_config
from roadmap.config.yaml_errors import describe_cycle, load_yaml
from roadmap.errors import ConfigError
from roadmap.runs.config_hash import flatten

ROADMAPS = "roadmap"  # folder of the default roadmap, below which the others are
NO_NAME = ",=@'/"  # characters that part a step from its variant, a package or another name
NO_CHOICE = ("step", "experiment")  # keys that name a step, and the folder of its runs


@dataclass(frozen=True)
class StepFile:
    """What one step's file says."""

    path: Path
    base: str | None  # the config that it is based on, such as roadmap/step1_stage_ratio
    changes: Mapping[str, str]  # by axis
    label: str
    index: int | None
    roadmap: str | None

    @property
    def folder(self) -> str:
        """Its folder below conf/ or a user's folder."""
        return _folder(self.path)


def read_step_file(path: Path) -> StepFile:
    note_read(path)
    content = load_yaml(path) or {}
    entries = content.pop("defaults", []) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: a step has a list of defaults, and keys with their values")
    bases = [str(entry) for entry in entries if isinstance(entry, str) and entry != "_self_"]
    changes: dict[str, str] = {}
    for key, value in (pair for entry in entries if isinstance(entry, dict) for pair in entry.items()):
        group = str(key).removeprefix("override ").lstrip("/")
        changes[group.removeprefix(AXIS_GROUP)] = _text(path, group, value)
    index, label, roadmap = _read_own_names(path, content.get("step"))
    for key, value in flatten({key: value for key, value in content.items() if key not in NO_CHOICE}).items():
        changes[key.removeprefix("model.")] = _text(path, key, value)
    base = None
    if bases:
        base = bases[0].lstrip("/") if bases[0].startswith("/") else f"{ROADMAPS}/{bases[0]}"
    return StepFile(path, base, changes, label, index, roadmap)


def _read_own_names(path: Path, step: Any) -> tuple[int | None, str, str | None]:
    """Return index, label and roadmap of a step; a key that its file leaves out would be that of its base."""
    if not isinstance(step, dict) or (missing := [key for key in ("name", "index", "label") if key not in step]):
        what = f"step.{missing[0]}" if isinstance(step, dict) else "step with its keys"
        raise ConfigError(f"{path} has no {what}: write step: {{name: {path.stem}, index: NUMBER, label: TEXT}}")
    check_name(path, path.stem)
    if value_text(step["name"]) != path.stem:
        raise ConfigError(f"{path}: step.name={value_text(step['name'])}: must be the file's name, {path.stem}")
    label = _convert(path, str, step["label"], "step.label")
    roadmap = _convert(path, str | None, step.get("roadmap"), "step.roadmap")
    return _convert(path, int | None, step["index"], "step.index"), label, roadmap


def read_listed(about: Path, folder: str, names: Sequence[str]) -> list[StepFile]:
    """Return the steps that a roadmap.toml lists, each based on the one before it.

    Raises:
        ConfigError: a step has no file, is listed twice, or is based on another one.
    """
    if not names:
        raise ConfigError(f'{about}: no section has a step: name the steps, as in steps = ["step0_start"]')
    read = []
    for name in names:
        path = find_config(f"{folder}/{name}")
        if path is None:
            raise ConfigError(
                f"{about} lists {name}, and there is no {name}.yaml beside it: add the file, or correct it"
            )
        if names.count(name) > 1:
            raise ConfigError(f"{about}: {name} is in two sections: name it once")
        read.append(read_step_file(path))
    for earlier, file in pairwise(read):
        expected = f"{folder}/{earlier.path.stem}"
        if file.base != expected:
            raise ConfigError(
                f"{file.path} is based on {file.base or 'no step'}, and {about.name} lists {earlier.path.stem} "
                f"before it: begin its defaults with /{expected}, or correct the list"
            )
    return read


def follow_bases(file: StepFile) -> list[StepFile]:
    """Return the steps that a step is based on, the first one first.

    Raises:
        ConfigError: one of them does not exist, or they are based on each other in a circle.
    """
    before: list[StepFile] = []
    paths = [file.path]
    while file.base is not None:
        path = find_config(file.base)
        if path is None:
            raise ConfigError(
                f"{file.path} is based on {file.base}, which does not exist: "
                f"add that step's file, or name another in its defaults"
            )
        if path in paths:
            raise ConfigError(f"{path}: {describe_cycle([*paths[paths.index(path) :], path])}")
        file = read_step_file(path)
        before.insert(0, file)
        paths.append(path)
    return before


def check_places(about: Path, listed: Sequence[StepFile], first: int) -> None:
    """Raise ConfigError if a step's index is not its place in the order that a roadmap.toml lists.

    Args:
        first: the place of the first listed step, which continues another roadmap if it is not 0.
    """
    for place, file in enumerate(listed, first):
        if file.index != place:
            raise ConfigError(
                f"{file.path}: step.index={value_text(file.index)}, and {about} lists it as step {place}: "
                f"write index: {place}, or correct the list"
            )


def check_name(path: Path, name: str) -> None:
    """Raise ConfigError for a name of a step or roadmap that means something else in an override or in defaults."""
    if any(mark in NO_NAME for mark in name) or not name.isprintable():
        raise ConfigError(f"{path}: the name {name!r} must be printable and without {' '.join(NO_NAME)}: rename it")


def check_roadmap(about: Path, before: Sequence[StepFile], listed: Sequence[StepFile], name: str) -> None:
    """Raise ConfigError unless the steps that a roadmap.toml lists, or their bases, say that they are of it."""
    found = DEFAULT
    for file in (*before, *listed):
        found = file.roadmap or found
        if file in listed and found != name:
            raise ConfigError(
                f"{file.path}: step.roadmap={found}, and {about} lists it: write roadmap: {name} below step:"
            )


@file_cached
def check_index(path: Path) -> None:
    """Raise ConfigError if a step's index does not follow that of the step that it is based on.

    A step's change is measured against the step one index lower. A step without an index has no change.
    """
    file = read_step_file(path)
    base = None if file.base is None else find_config(file.base)
    before = None if base is None else read_step_file(base)
    if before is None or before.index is None or file.index in (None, before.index + 1):
        return
    raise ConfigError(
        f"{path}: step.index={file.index}, and {before.path.stem}, on which it is based, has {before.index}: a "
        f"change is measured against the step one index lower, so write index: {before.index + 1}, or index: null "
        "for a step beside the roadmap"
    )


def _folder(path: Path) -> str:
    return ROADMAPS if path.parent.name == ROADMAPS else f"{ROADMAPS}/{path.parent.name}"


def _convert(path: Path, kind: Any, value: Any, key: str) -> Any:
    try:
        return convert(kind, value, key)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _text(path: Path, key: str, value: Any) -> str:
    """Return a value as it is written in an override and in a folder's name."""
    text = value_text(value)
    if isinstance(value, list | dict) or any(mark in text for mark in ",=$/'\""):
        raise ConfigError(f"{path}: {key}={text}: a step changes plain values; put others into a file of a group")
    return text
