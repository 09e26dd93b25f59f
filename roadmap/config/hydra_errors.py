"""Readable versions of Hydra's errors: the wrong word, and what is allowed instead."""

import re
from collections.abc import Callable, Sequence

from hydra.errors import OverrideParseException

from roadmap.config.convert import suggest
from roadmap.config.schema import explain_key
from roadmap.config.search_path import is_group, list_choices, list_groups, quote

ADDED = ("roadmap", "reference", "sweep")  # groups without a default, whose choices take a plus


def explain_hydra_error(error: Exception, overrides: Sequence[str]) -> str:
    """Return a message for the error that Hydra raised on the `words` of a command line."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        return _explain_syntax(error.override, text.splitlines()[-2 if "See https" in text else -1])
    for pattern, answer in ANSWERS.items():
        if match := re.search(pattern, text):
            return answer(**match.groupdict())
    if "Config group override must be" in text:  # the only error that does not name its word
        for word in overrides:
            group, _, value = word.partition("=")
            for choice in value.replace("'", "").split(","):
                if is_group(group) and choice not in list_choices(group):
                    return _explain_choice(group, choice)
    return text.split("Config search path")[0].strip()


def _explain_syntax(word: str, reason: str) -> str:
    if "=" in word:
        return f"{word} can't be read: {reason}. A value with special characters is quoted: 'KEY=\"VALUE\"'"
    groups = [group for group in list_groups() if word in list_choices(group)]
    guesses = [f"{'+' if group in ADDED else ''}{group}={quote(word)}" for group in groups]
    return f"{word} is not of the form KEY=VALUE." + (f" Did you mean {' or '.join(guesses)}?" if guesses else "")


def _explain_group(group: str) -> str:
    """Return a message for a word that Hydra parses as a group without a default."""
    if group in ADDED:
        return f"{group} has no default to replace: a choice of it takes a plus, as in +{group}=NAME"
    groups = list_groups()
    near = [name for name in groups if name.startswith(f"{group.partition('/')[0]}/")] or groups
    return f"there is no group {group}.{suggest(group, near)} Allowed: {', '.join(near)}"


def _explain_choice(group: str, choice: str) -> str:
    choices = list_choices(group)
    allowed = ", ".join(choices) + (", or any timm model" if group == "reference" else "")
    return f"{group}={choice}: there is no such choice.{suggest(choice, choices)} Allowed: {allowed}"


def _explain_second_value(group: str, choice: str) -> str:
    if group in ADDED:
        return f"+{group} is given twice, the second time as {choice}: choose one, or sweep by -m +{group}=ONE,TWO"
    return f"{group} has a default, so a choice of it takes no plus: {group}={choice}"


def _explain_several(word: str) -> str:
    key, _, values = word.partition("=")
    as_list = "" if is_group(key.lstrip("+")) or "(" in values else f"; a list is written {key}=[{values}]"
    return f"{word} names several values. Runs over all of them take -m (in Python roadmap.sweep){as_list}"


ANSWERS: dict[str, Callable[..., str]] = {
    r"Could not override '(?P<group>[\w/]+)'\. No match in the defaults list": _explain_group,
    r"Could not override '(?P<group>\w+/[\w/]+)'": _explain_group,
    r"Could not override '(?P<full_key>[\w.]+)'": explain_key,
    r"Could not (find|load) '(?P<group>[\w/]+)/(?P<choice>[^']*)'": _explain_choice,
    r"Multiple values for (?P<group>[\w/]+)\. .*: (?P<choice>[^']*)'": _explain_second_value,
    r"Ambiguous value for argument '(?P<word>.*)'\n": _explain_several,
    r"Sweep parameters '(?P<word>.*)' requires --multirun": _explain_several,
    r"already at '(?P<key>[\w.]+)'": lambda key: f"{key} is there already, so it takes no plus: {key}=VALUE",
    r"force-add of config groups .*'\+\+(?P<word>.*)'": lambda word: f"++{word}: a group takes one plus or none",
}
