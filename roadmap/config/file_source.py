"""Hydra's source of config files, which parses each file once: a composition reads some thirty of them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from hydra._internal.core_plugins.file_config_source import FileConfigSource as HydrasFileSource
from hydra.plugins.config_source import ConfigResult

from roadmap.config.copies import copier
from roadmap.config.file_cache import note_read
from roadmap.model.custom_axes import AXES

_PACKAGED = Path(__file__).resolve().parents[1] / "conf"  # of a wheel (setup.py)
CONF_DIR = _PACKAGED if _PACKAGED.is_dir() else _PACKAGED.parents[1] / "conf"  # of a checkout


class FileConfigSource(HydrasFileSource):
    """Returns a fresh copy of a file's parsed content, and parses again if the file has changed.

    To the defaults of `conf/config.yaml` it adds the neutral choices of the user's own axes.

    It has the name of Hydra's class: a launcher's process registers Hydra's again, and the registry compares names.
    """

    extended = CONF_DIR / "config"

    def load_config(self, config_path: str) -> ConfigResult:
        version = note_read(Path(self.path, self._normalize_file_name(config_path)))
        if version is None:
            return super().load_config(config_path)  # reports what is wrong
        result = _parse(self.provider, self.path, config_path, version)()
        if Path(self.path, config_path) == self.extended:
            own = [{f"model/{axis.name}": axis.neutral} for axis in AXES.values()]
            result.config["defaults"] = [*own, *result.config["defaults"]]
        return result


@cache
def _parse(provider: str, folder: str, config_path: str, version: tuple[int, ...]) -> Callable[[], ConfigResult]:
    return copier(HydrasFileSource(provider, folder).load_config(config_path))
