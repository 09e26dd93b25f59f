"""Hash of the configuration values that define a run's result, and differences between two configurations."""

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

# Paths, dashboards and hardware change only where and how fast a run is; names and notes only describe it.
OUTSIDE = {
    "mode",
    "modules",  # the axes name what they add to the network
    "experiment",
    "output_dir",
    "retry_failed",
    "logger",
    "hardware",
    "step",
    "data.root",
    "data.note",
    "data.cache",
    "data.on_error",  # so that a run stopped by a damaged image can resume without it
    "model.form",
}
PER_RUN = {"seed", "reference"}  # differ between comparable runs
NAMES = {"regime.name", "data.name", "recipe.name"}

# Neutral values of the defining keys that were added after the first published hash, by dotted key. A key at its
# neutral value is left out of the hash, and a configuration without the key counts as having that value. So hashes
# and folders of older runs stay valid. The key's field in its spec has the same default. Registered
# axes are added here.
NEUTRAL_VALUES: dict[str, Any] = {
    "model.response_norm": "none",
    "model.stride_conv": "spatial",
    "model.shortcut": "conv",
    "recipe.layer_decay": 1.0,
    "recipe.head_init_scale": 1.0,
    "recipe.decays": 2,
}


def defining_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a run's result depends on, by dotted key; absent keys have their neutral values."""
    return NEUTRAL_VALUES | {key: value for key, value in flatten(config).items() if not is_outside(key)}


def fill_neutral_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a configuration of any version, with neutral values for missing keys."""
    filled = copy.deepcopy(dict(config))
    for key, value in NEUTRAL_VALUES.items():
        *path, last = key.split(".")
        group: Any = filled
        for name in path:
            group = group.setdefault(name, {}) if isinstance(group, dict) else None
        if isinstance(group, dict):  # otherwise the configuration is invalid, which its reader reports
            group.setdefault(last, value)
    return filled


def setting_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that comparable runs share: all but network, seed and what the steps vary."""
    varied = config.get("step", {}).get("varies", ())  # a group of settings, such as recipe, or one key
    values = defining_values(config)
    return {
        key: value
        for key, value in values.items()
        if key not in PER_RUN
        and not key.startswith("model.")
        and not any(key == axis or key.startswith(f"{axis}.") for axis in varied)
    }


def hash_config(config: Mapping[str, Any]) -> str:
    """Return twelve hexadecimal digits that are equal for configurations with the same result."""
    return _hash(defining_values(config))


def hash_setting(config: Mapping[str, Any]) -> str:
    """Return twelve hexadecimal digits that are equal for configurations with comparable networks."""
    return _hash(setting_values(config))


def _hash(values: Mapping[str, Any]) -> str:
    hashed = {key: value for key, value in values.items() if (key, value) not in NEUTRAL_VALUES.items()}
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:12]


def describe_differences(
    old: Mapping[str, Any], new: Mapping[str, Any], values_of: Callable[..., dict[str, Any]] = defining_values
) -> list[str]:
    """Return the values that differ between two configurations, as "key: old -> new"."""
    before, after, absent = values_of(old), values_of(new), "(absent)"
    return [
        f"{key}: {before.get(key, absent)} -> {after.get(key, absent)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, absent) != after.get(key, absent)
    ]


def is_outside(key: str) -> bool:
    """Return True if a dotted key does not affect a run's result."""
    return key in NAMES or any(key == outside or key.startswith(outside + ".") for outside in OUTSIDE)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by dotted key; tuples become lists."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return found
