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
OWN = {"seed", "reference"}  # of a run, with its model
NAMES = {"regime.name", "data.name", "recipe.name"}


def defining_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a run's result depends on, by dotted key."""
    return {key: value for key, value in _flatten(config) if not is_outside(key)}


def setting_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Those that runs have to share for their networks to be compared: all but the network and the seed."""
    values = defining_values(config)
    return {key: value for key, value in values.items() if key not in OWN and not key.startswith("model.")}


def hash_config(config: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that are equal for configurations with the same result."""
    return _hash(defining_values(config))


def hash_setting(config: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that are equal for configurations whose networks can be compared."""
    return _hash(setting_values(config))


def _hash(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def describe_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The defining values of two configurations that differ, as "key: old -> new"."""
    return _describe(defining_values(old), defining_values(new))


def describe_setting_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The same of what runs have to share for their networks to be compared."""
    return _describe(setting_values(old), setting_values(new))


def _describe(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
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
