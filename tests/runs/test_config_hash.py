"""A run's hash depends on everything that affects its result, and on nothing else."""

import copy
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

import pytest

from roadmap.config import Config
from roadmap.config.schema import list_keys
from roadmap.runs.config_hash import (
    NEUTRAL_VALUES,
    describe_differences,
    fill_neutral_values,
    hash_config,
    hash_setting,
    is_outside,
)

KEYS = list_keys(Config)
# A run's location, name, loggers and hardware, and modules, whose axes are in it.
OUTSIDE = {
    "mode",
    "experiment",
    "output_dir",
    "modules",
    "retry_failed",
    "data.root",
    "data.note",
    "data.cache",
    "data.on_error",
    "regime.name",
    "data.name",
    "recipe.name",
    "model.form",
    *(key for key in KEYS if key.startswith(("step.", "logger.", "hardware."))),
}
OTHER = "another value"


def change(config: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(dict(config))
    *path, last = key.split(".")
    place = changed
    for name in path:
        place = place[name]
    assert last in place
    place[last] = value
    return changed


@pytest.mark.parametrize("key", [key for key in KEYS if key not in OUTSIDE])
def test_defining_value_changes_the_hash(config: dict[str, Any], key: str) -> None:
    changed = change(config, key, OTHER)
    assert hash_config(changed) != hash_config(config)
    assert [line.partition(":")[0] for line in describe_differences(config, changed)] == [key]


@pytest.mark.parametrize("key", sorted(OUTSIDE))
def test_paths_names_dashboards_and_hardware_do_not_change_the_hash(config: dict[str, Any], key: str) -> None:
    changed = change(config, key, OTHER)
    assert hash_config(changed) == hash_config(config)
    assert describe_differences(config, changed) == []


def test_hash_survives_yaml_and_key_order(config: dict[str, Any]) -> None:
    read = json.loads(json.dumps(config))
    assert hash_config(read) == hash_config(config)
    assert hash_config(dict(reversed(read.items()))) == hash_config(config)
    assert describe_differences(read, config) == []


def test_differences_show_old_and_new_values(config: dict[str, Any]) -> None:
    changed = change(change(config, "recipe.lr", 0.5), "recipe.augment.scale", (0.5, 1.0))
    assert describe_differences(config, changed) == [
        "recipe.augment.scale: [1.0, 1.0] -> [0.5, 1.0]",
        "recipe.lr: 0.004 -> 0.5",
    ]
    shorter = copy.deepcopy(config)
    del shorter["recipe"]["clip_grad"]
    assert describe_differences(shorter, config) == ["recipe.clip_grad: (absent) -> None"]


@pytest.mark.parametrize("key", ["model.newer_axis", "recipe.sam.rho", "patience"])
def test_added_key_changes_the_hash_only_if_it_is_not_neutral(
    config: dict[str, Any], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = hash_config(config), hash_setting(config)
    monkeypatch.setitem(NEUTRAL_VALUES, key, "none")
    newer = fill_neutral_values(config)
    assert newer != config
    assert (hash_config(newer), hash_setting(newer)) == (hash_config(config), hash_setting(config)) == old
    assert describe_differences(config, newer) == []
    used = change(newer, key, "global")
    assert hash_config(used) != hash_config(newer)
    assert describe_differences(config, used) == [f"{key}: none -> global"]


def find_defaults(spec: Any, prefix: str = "") -> dict[str, Any]:
    """Return the default of every dotted key whose field has one."""
    types = get_type_hints(spec)
    found = {f"{prefix}{field.name}": field.default for field in fields(spec) if field.default is not MISSING}
    nested = [name for name, kind in types.items() if is_dataclass(kind)]
    return found | {k: v for name in nested for k, v in find_defaults(types[name], f"{prefix}{name}.").items()}


def test_only_added_fields_have_defaults_and_they_are_neutral() -> None:
    found = {key: value for key, value in find_defaults(Config).items() if not is_outside(key)}
    assert found == NEUTRAL_VALUES
