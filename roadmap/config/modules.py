"""Import of a user's own Python modules, which the key `modules` names, and the configs that they register."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roadmap.data.custom_sources import SOURCES
from roadmap.errors import ConfigError, first_line
from roadmap.model.custom_axes import AXES, CHOICES
from roadmap.runs.config_hash import NEUTRAL_VALUES
from roadmap.runs.logger_spec import CUSTOM_LOGGERS, WandbMode


def import_modules(names: Sequence[str], folders: Sequence[str]) -> None:
    """Import modules from the user's folders of configs, or from the environment; each once in a process.

    Raises:
        ConfigError: one cannot be imported, or does not register its parts.
    """
    for folder in folders:
        if names and not folder.startswith("pkg://") and folder not in sys.path:
            sys.path.append(folder)
    for name in names:
        try:
            importlib.import_module(name)
        except ConfigError:
            raise
        except Exception as error:
            where = ", ".join(map(str, map(Path, folders))) or "no folder of your own (--config-dir FOLDER)"
            raise ConfigError(
                f"modules: {name} can't be imported ({type(error).__name__}: {first_line(error)}). It is looked "
                f"for in {where}, and in the packages of {sys.executable}"
            ) from error
    NEUTRAL_VALUES.update({f"model.{axis.name}": axis.neutral for axis in AXES.values()})


def registered_configs() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the content of each config that modules have registered, by group and name; they have no files."""
    groups: dict[str, dict[str, dict[str, Any]]] = {
        f"model/{axis.name}": {choice: {axis.name: choice} for choice in axis.choices} for axis in AXES.values()
    }
    groups |= {f"model/{axis}": {choice: {axis: choice} for choice in own} for axis, own in CHOICES.items()}
    groups["data"] = {name: source.values for name, source in SOURCES.items()}
    # as in conf/logger/none.yaml
    settings = {"mode": WandbMode.offline.value, "project": "roadmap", "entity": None}
    groups["logger"] = {name: {"name": name, **settings} for name in CUSTOM_LOGGERS}
    return groups
