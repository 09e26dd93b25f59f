"""Search path of a command's configs: `conf/`, and the user's own folders."""

import importlib.util
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from roadmap.config.file_source import CONF_DIR, FileConfigSource
from roadmap.config.modules import import_modules, registered_configs
from roadmap.errors import ConfigError
from roadmap.runs.naming import natural_key

PRIMARY = "config"  # the config that a command starts from, unless --config-name names another
SEARCH_PATH = "hydra.searchpath"
MODULES = "modules"
# A string that Hydra reads unquoted, and not as a number, boolean or null; a leading digit is quoted.
PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf)$)(?:[a-z_/]|\.+/)[\w./+-]*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class SearchPath:
    """The search path of one command."""

    folders: tuple[str, ...] = ()  # after conf/, in Hydra's order: a path, file://PATH or pkg://PACKAGE
    config_name: str = PRIMARY
    modules: tuple[str, ...] = ()  # of the user's own Python code

    def places(self) -> list[Path]:
        """Return the folders, conf/ first; a package's only if it is in one."""
        return [CONF_DIR, *filter(None, map(_locate, self.folders))]


_current = SearchPath()


def current() -> SearchPath:
    """Return the search path of the current command."""
    return _current


@contextmanager
def use(search_path: SearchPath) -> Iterator[None]:
    """Use a search path for every composition in the block.

    Raises:
        ConfigError: one of its modules can't be imported, or registers a config that has a file too.
    """
    global _current
    outer = _current
    import_modules(search_path.modules, search_path.folders)
    _check_registered(search_path)
    add_own_groups()
    _current = search_path
    try:
        yield
    finally:
        _current = outer


def add_own_groups() -> None:
    """Give Hydra the configs that the user's modules have registered, which have no files."""
    for group, configs in registered_configs().items():
        for name, node in configs.items():
            ConfigStore.instance().store(name=name, node=node, group=group, package=group.partition("/")[0])


def _check_registered(search_path: SearchPath) -> None:
    """Raise ConfigError if a config that a module has registered has a file too: Hydra would take the file's."""
    if not search_path.modules:
        return
    for group, configs in registered_configs().items():
        for name in configs:
            if (file := find_config(f"{group}/{name}", search_path)) is not None:
                modules = ", ".join(search_path.modules)
                raise ConfigError(
                    f"modules: {modules} registered {group}={name}, and {file} is of that name too: rename one"
                )


class OwnFolders(SearchPathPlugin):
    """Adds the current command's folders to every Hydra of this process."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in current().folders:
            search_path.append(provider="own", path=folder)


def register() -> None:
    """Register `OwnFolders` and the source of files; a launcher's process loses its plugins with each job."""
    Plugins.instance().register(OwnFolders)
    # Its public method refuses a second source of files.
    SourcesRegistry.instance().types["file"] = FileConfigSource


def read_search_path(
    overrides: Sequence[str], config_dir: str | None = None, config_name: str | None = None
) -> SearchPath:
    """Read the search path from `--config-dir`, `--config-name` and the overrides of a command, as Hydra does.

    Raises:
        ConfigError: a folder or config does not exist.
    """
    folders = []
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise ConfigError(f"--config-dir {config_dir}: there is no such folder")
        folders = [str(Path(config_dir).resolve())]
    name = (config_name or PRIMARY).removesuffix(".yaml")
    primary = find_config(name, SearchPath(tuple(folders)))
    if primary is None:
        places = " or ".join(map(str, SearchPath(tuple(folders)).places()))
        raise ConfigError(f"--config-name {name}: there is no {name}.yaml in {places}")
    typed = [word for word in overrides if word.startswith(f"{SEARCH_PATH}=")]
    more = _read_typed(typed[0]) if typed else _read_list(primary, SEARCH_PATH)
    folders += [folder if folder.startswith("pkg://") else _absolute(folder) for folder in more]
    for folder in folders:
        if _locate(folder) is None:
            raise ConfigError(f"{SEARCH_PATH}: there is no {folder}; a folder is written file:///PATH")
    named = [word for word in overrides if word.startswith(f"{MODULES}=")]
    modules = _read_typed(named[-1]) if named else _read_list(primary, MODULES)
    return SearchPath(tuple(folders), name, tuple(modules))


def _read_typed(word: str) -> list[str]:
    value = parse_word(word).value()
    if not isinstance(value, list) or not all(isinstance(folder, str) for folder in value):
        modules = word.startswith(f"{MODULES}=")
        expected = (
            f"modules, as in '{MODULES}=[mine]'" if modules else f"folders, as in '{SEARCH_PATH}=[file:///PATH]'"
        )
        raise ConfigError(f"{word}: must be a list of {expected}")
    return [str(folder) for folder in value]


def _read_list(path: Path, key: str) -> list[str]:
    """Return a list of the primary config; empty if it is unreadable, which its composition reports."""
    group, _, name = key.rpartition(".")
    try:
        text = path.read_text(encoding="utf-8")
        content: Any = yaml.safe_load(text) if name in text else {}
        found = content.get(key) or (content.get(group, {}).get(name, []) if group else [])
    except (ValueError, yaml.YAMLError, AttributeError):
        return []
    return [str(folder) for folder in found] if isinstance(found, list) else []


def _absolute(folder: str) -> str:
    return str(Path(folder.removeprefix("file://")).resolve())


def _locate(folder: str) -> Path | None:
    if not folder.startswith("pkg://"):
        return Path(folder) if Path(folder).is_dir() else None
    return _locate_package(folder.removeprefix("pkg://").replace("/", "."))


@cache
def _locate_package(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return next((Path(place) for place in (spec.submodule_search_locations or [])), None) if spec else None


def find_config(name: str, search_path: SearchPath | None = None) -> Path | None:
    """Return the file of a config, such as roadmap/step5_inverted: the first on the search path."""
    files = (place / f"{name}.yaml" for place in (search_path or current()).places())
    return next((file for file in files if file.is_file()), None)


def is_group(name: str) -> bool:
    """Return True if a name is a group of configs, such as model/norm, and not a key."""
    return name in registered_configs() or any((place / name).is_dir() for place in current().places())


def takes_one_choice(group: str) -> bool:
    """Return True for a group of `conf/` or of a module; one in a user's folder may join several of its configs."""
    return group in registered_configs() or (CONF_DIR / group).is_dir()


def list_groups() -> list[str]:
    """Return every group of the search path."""
    found = {
        file.parent.relative_to(place).as_posix()
        for place in current().places()
        for file in place.rglob("*/*.yaml")
        if not any(part.startswith(".") for part in file.relative_to(place).parts)
    }
    return sorted(found | set(registered_configs()))


def list_choices(group: str) -> list[str]:
    """Return the configs of a group, with step2 before step10, and an own axis' choices in its order."""
    names = {file.stem for place in current().places() for file in (place / group).glob("*.yaml")}
    registered = registered_configs().get(group, {})
    return sorted(names | set(registered), key=natural_key) if names else list(registered)


def quote(name: str) -> str:
    """Quote a name so that Hydra reads the same text in an override: 100, true, a comma, a quote."""
    return name if PLAIN.fullmatch(name) else QuotedString(name, Quote.single).with_quotes()


@cache
def parse_word(word: str) -> Override:
    """Parse an override with Hydra, cached: it takes milliseconds, and a sweep's runs share most overrides.

    Raises:
        hydra.errors.OverrideParseException: a word that is no override.
    """
    (override,) = OverridesParser.create().parse_overrides([word])
    return override
