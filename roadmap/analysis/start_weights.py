"""The setting `init_from` of a comparison: weights, without the folders of the machine that trained."""

from collections.abc import Iterable

from roadmap.analysis.configurations import read_words
from roadmap.analysis.publish import hide_folders
from roadmap.runs.read_run import Run

WEIGHTS = "init_from"


def hide_places(places: Iterable[str]) -> dict[str, str]:
    """Return each file's name with `...` for its folder; files of one name are numbered, since they differ."""
    named: dict[str, list[str]] = {}
    for place in dict.fromkeys(places):
        named.setdefault(hide_folders(place), []).append(place)
    return {
        place: name if len(same) == 1 else f"{name} ({number})"
        for name, same in named.items()
        for number, place in enumerate(same, 1)
    }


def match_published(places: Iterable[str]) -> dict[str, str]:
    """Return the names without a folder that are among the places, as of a published comparison, by the files'."""
    known = set(places)
    return {place: hidden for place in known if (hidden := hide_folders(place)) in known}


def read_weights(run: Run) -> dict[str, str]:
    """Return the setting as the run's overrides have it; the settings of an earlier version lack it."""
    words = [word for word in read_words(run) or () if word.lstrip("+").startswith(f"{WEIGHTS}=")]
    return {WEIGHTS: words[-1].partition("=")[2] if words else "null"}
