"""Words of `python train.py` that plan one run again, to be recorded with it."""

import json
from collections.abc import Sequence
from dataclasses import is_dataclass
from functools import reduce
from typing import Any

from roadmap.config.compose import prepare_overrides
from roadmap.config.schema import Config
from roadmap.config.search_path import PRIMARY, SEARCH_PATH, SearchPath, is_group, parse_word, quote


def find_words(overrides: Sequence[str], config: Config, search_path: SearchPath) -> tuple[str, ...]:
    """Return the words that plan a run again, from the overrides of its job.

    Hydra's own overrides, such as a launcher, are left out. Interpolations are resolved, since ${now:} or
    ${hydra:job.num} differ in the next command.
    """
    task = [word for word in overrides if not parse_word(word).is_hydra_override()]
    return (*_locate(search_path), *(_unquote(_resolve(word, config)) for word in task))


def _locate(search_path: SearchPath) -> list[str]:
    """Return the flags and overrides that give a search path."""
    words, folders = [], list(search_path.folders)
    if folders and not folders[0].startswith("pkg://"):  # a flag, since it may hold the primary config
        words.append(f"--config-dir={folders.pop(0)}")
    if search_path.config_name != PRIMARY:
        words.append(f"--config-name={search_path.config_name}")
    return words + ([f"{SEARCH_PATH}=[{','.join(map(quote, folders))}]"] if folders else [])


def _resolve(word: str, config: Config) -> str:
    override = parse_word(word)
    if "${" not in str(override.value()) or is_group(override.key_or_group):
        return word
    value = reduce(getattr, override.key_or_group.split("."), config)
    return word if is_dataclass(value) else f"{override.get_key_element()}={_write(value)}"


def _write(value: Any) -> str:
    """Write a value so that Hydra reads the same one."""
    if isinstance(value, tuple):
        return f"[{','.join(map(_write, value))}]"
    return quote(value) if isinstance(value, str) else json.dumps(value)


def _unquote(word: str) -> str:
    """Return an override without the quotes that `prepare_overrides` adds again."""
    plain = word.replace("'", "")
    return plain if plain != word and prepare_overrides([plain]) == [word] else word
