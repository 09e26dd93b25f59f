"""Import of a user's own Python modules, which register design axes; they are named by the key `modules`."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from roadmap.errors import ConfigError, first_line
from roadmap.model.custom_axes import AXES
from roadmap.runs.config_hash import NEUTRAL_VALUES


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
