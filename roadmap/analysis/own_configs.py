"""Search path of an experiment: the folders and modules of the user's own that its runs recorded."""

import logging
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from roadmap.config.search_path import (
    MODULES,
    PRIMARY,
    SEARCH_PATH,
    SearchPath,
    current,
    read_search_path,
    use,
)
from roadmap.errors import ConfigError, DamagedError
from roadmap.runs.overrides import read_overrides
from roadmap.runs.read_run import Run

OWN_CONFIGS = ("--config-dir=", "--config-name=", f"{SEARCH_PATH}=", f"{MODULES}=")  # recorded with a run

log = logging.getLogger(__name__)


def find_search_path(runs: Iterable[Run]) -> SearchPath:
    """Return the search path of these runs, with its modules imported: the one in use, or what they recorded.

    Published runs record their modules only, which are looked for in the environment, also beside a path in use.
    What is gone is named in a warning, and the runs are read without it.
    """
    runs = list(runs)
    found = current()
    if found == SearchPath():
        found = _join(_recorded_folders(run) for run in runs if run.overrides is None)
    modules = _published_modules(runs)
    path = replace(found, modules=tuple(dict.fromkeys([*found.modules, *modules])))
    try:
        with use(path):
            return path
    except ConfigError as error:
        published = "The published runs need it: name its folder by PYTHONPATH=FOLDER. " if modules else ""
        log.warning("%s. %sWithout it, steps and axes of your own are shown by their names alone", error, published)
        return current()


def _join(recorded: Iterable[Sequence[str]]) -> SearchPath:
    """Return the folders and modules of all runs, in order, and the first primary config other than the default."""
    paths = []
    for words in dict.fromkeys(map(tuple, recorded)):
        flags = {word.partition("=")[0]: word.partition("=")[2] for word in words if word.startswith("--")}
        try:
            paths.append(read_search_path(words, flags.get("--config-dir"), flags.get("--config-name")))
        except ConfigError as error:
            log.warning("%s. Without it, steps and axes of your own are shown by their names alone", error)
    names = [*(path.config_name for path in paths if path.config_name != PRIMARY), PRIMARY]
    return SearchPath(
        tuple(dict.fromkeys(folder for path in paths for folder in path.folders)),
        names[0],
        tuple(dict.fromkeys(name for path in paths for name in path.modules)),
    )


def _recorded_folders(run: Run) -> list[str]:
    with suppress(DamagedError):  # reported where it is needed
        return [word for word in read_overrides(run.path) or () if word.startswith(OWN_CONFIGS)]
    return []


def _published_modules(runs: Iterable[Run]) -> list[str]:
    words = {word for run in runs for word in shlex.split(run.overrides or "") if word.startswith(f"{MODULES}=")}
    return [name for word in sorted(words) for name in read_search_path([word]).modules]
