"""Reading of a step's file: the config that it is based on, and the value of each axis that it sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadmap.config.roadmaps import AXIS_GROUP, value_text
from roadmap.config.yaml_errors import load_yaml
from roadmap.errors import ConfigError
from roadmap.runs.config_hash import flatten

ROADMAPS = "roadmap"  # folder of the default roadmap, below which the others are
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
        parent = self.path.parent
        return ROADMAPS if parent.name == ROADMAPS else f"{ROADMAPS}/{parent.name}"


def read_step_file(path: Path) -> StepFile:
    content = load_yaml(path) or {}
    entries = content.pop("defaults", []) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: a step has a list of defaults, and keys with their values")
    bases = [str(entry) for entry in entries if isinstance(entry, str) and entry != "_self_"]
    changes: dict[str, str] = {}
    for key, value in (pair for entry in entries if isinstance(entry, dict) for pair in entry.items()):
        group = str(key).removeprefix("override ").lstrip("/")
        changes[group.removeprefix(AXIS_GROUP)] = _text(path, group, value)
    step = content.get("step") or {}
    for key, value in flatten({key: value for key, value in content.items() if key not in NO_CHOICE}).items():
        changes[key.removeprefix("model.")] = _text(path, key, value)
    base = None
    if bases:
        base = bases[0].lstrip("/") if bases[0].startswith("/") else f"{ROADMAPS}/{bases[0]}"
    return StepFile(path, base, changes, str(step.get("label", path.stem)), step.get("index"), step.get("roadmap"))


def _text(path: Path, key: str, value: Any) -> str:
    """Return a value as it is written in an override and in a folder's name."""
    text = value_text(value)
    if isinstance(value, list | dict) or any(mark in text for mark in ",=$/'\""):
        raise ConfigError(f"{path}: {key}={text}: a step changes plain values; put others into a file of a group")
    return text
