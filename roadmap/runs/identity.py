"""What defines a run's result, and how two configurations differ in that."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Paths, dashboards and hardware change where and how fast a run is, names and notes what is said of it.
OUTSIDE = {
    "mode",
    "experiment",
    "output_dir",
    "retry_failed",
    "logger",
    "hardware",
    "step",
    "data.root",
    "data.note",
    "data.cache",
    "data.on_error",  # a run that a damaged image stopped can go on without it
    "model.form",
}
NAMES = {"regime.name", "data.name", "recipe.name"}


def defining_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a run's result depends on, by dotted key."""
    return {key: value for key, value in _flatten(config) if not is_outside(key)}


def hash_config(config: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that are equal for configurations with the same result."""
    text = json.dumps(defining_values(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def describe_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The defining values that differ, as "key: old -> new"."""
    before, after = defining_values(old), defining_values(new)
    absent = "(absent)"
    return [
        f"{key}: {before.get(key, absent)} -> {after.get(key, absent)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, absent) != after.get(key, absent)
    ]


def is_outside(key: str) -> bool:
    """Whether a dotted key plays no part in a run's result."""
    return key in NAMES or any(key == outside or key.startswith(outside + ".") for outside in OUTSIDE)


def _flatten(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [pair for key in value for pair in _flatten(value[key], f"{prefix}.{key}" if prefix else str(key))]
    return [(prefix, list(value) if isinstance(value, tuple) else value)]
