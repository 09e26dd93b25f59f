"""The roadmaps of the search path, each read from its folder with checks that name the file and what to write."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from roadmap.config.convert import suggest
from roadmap.config.file_cache import file_cached, note_read
from roadmap.config.paper import PaperRow, read_published
from roadmap.config.roadmap_toml import convert_tables, read_about
from roadmap.config.roadmaps import (
    AXIS_GROUP,
    DEFAULT,
    INHERITED,
    About,
    Choice,
    Design,
    Roadmap,
    Section,
    is_axis,
    is_setting,
)
from roadmap.config.search_path import SearchPath, current, find_config, list_choices, use
from roadmap.config.step_files import (
    ROADMAPS,
    StepFile,
    check_index,
    check_places,
    check_roadmap,
    follow_bases,
    read_listed,
    read_step_file,
)
from roadmap.config.yaml_errors import default_choices
from roadmap.errors import ConfigError

ABOUT = "roadmap.toml"
PUBLISHED = "published.csv"


def load_roadmap(name: str = DEFAULT) -> Roadmap:
    """Return a roadmap of the current search path.

    A user's own step that continues the default roadmap, with no folder, is a roadmap by the step's name.

    Raises:
        ConfigError: there is none of that name, or its files contradict each other.
    """
    return _load(current(), name)


def check_step(path: Path, roadmap: str) -> None:
    """Raise ConfigError if a step's file contradicts its base, or is in the folder of another roadmap than its own.

    Args:
        roadmap: the composed step.roadmap.
    """
    check_index(path)
    own = path.parent.name
    if own not in (ROADMAPS, roadmap) and (path.parent / ABOUT).is_file():
        raise ConfigError(
            f"{path}: step.roadmap={roadmap}, and it is in the folder of {own}: write roadmap: {own} below step: "
            "in the first step"
        )


def list_roadmaps() -> list[str]:
    """Return the names of the roadmaps, the default one first.

    >>> roadmap.list_roadmaps()[0]
    'convnext'
    """
    found = {file.parent.name for place in current().places() for file in (place / ROADMAPS).glob(f"*/{ABOUT}")}
    return [DEFAULT, *sorted(found)]


def list_steps(roadmap: str = DEFAULT) -> list[str]:
    """Return the names of a roadmap's steps, in order.

    >>> roadmap.list_steps()[:3]
    ['step0_resnet', 'step1_stage_ratio', 'step2_patchify']

    Raises:
        roadmap.errors.ConfigError: there is no such roadmap.
    """
    return list(load_roadmap(roadmap).steps)


def list_figures() -> dict[str, list[str]]:
    """Return the steps of each figure, as choices of `+roadmap=`: by its key, of another roadmap by NAME/KEY."""
    roadmaps = map(load_roadmap, list_roadmaps())
    return {
        key if one.name == DEFAULT else f"{one.name}/{key}": [one.override(step) for step in steps]
        for one in roadmaps
        for key, steps in one.figures.items()
    }


def list_axes() -> dict[str, list[str]]:
    """Return each design axis with its choices, for overrides such as `model/norm=batchnorm`.

    >>> roadmap.list_axes()["norm"]
    ['batchnorm', 'layernorm']
    """
    return {axis: list_choices(f"{AXIS_GROUP}{axis}") for axis in load_roadmap().all_axes}


def find_roadmap(names: Sequence[str], recorded: Collection[str | None] = ()) -> Roadmap:
    """Return the roadmap that has the most of these networks' steps; the default one if others have no more.

    Args:
        names: of networks, such as step12_downsample,norm=batchnorm.
        recorded: the roadmaps that the runs name as theirs; of those that are on the search path, it is one.
    """
    steps = {name.partition(",")[0] for name in names}
    known = [name for name in list_roadmaps() if name in recorded] or list_roadmaps()
    if DEFAULT not in known:
        return _most_steps(known, steps)
    default = load_roadmap()
    if (extended := _find_used_extension(default, names)) is not None:
        return extended
    return default if steps <= set(default.steps) else _most_steps(known, steps)


def _most_steps(roadmaps: Sequence[str], steps: Set[str]) -> Roadmap:
    """Return the roadmap that has the most of these steps, the first of equals."""
    return max(map(load_roadmap, roadmaps), key=lambda roadmap: len(steps & set(roadmap.steps)))


def _find_extension(step: str) -> Roadmap | None:
    """Return the default roadmap with a user's own step after its last one; None if the step is none such."""
    with suppress(ConfigError):
        return load_roadmap(step) if find_config(f"{ROADMAPS}/{step}") else None
    return None


def _find_used_extension(default: Roadmap, names: Sequence[str]) -> Roadmap | None:
    """Return the default roadmap with those of the user's own steps that these networks use; None if they use none.

    Steps are used if networks are variants of the last of them, or none are of the default roadmap's last step. Of
    several such roadmaps, take one with variants of its last step, then the one that has the most of the steps.
    """
    steps = {name.partition(",")[0] for name in names}
    variants = Counter(name.partition(",")[0] for name in names if "," in name)
    extensions = [found for step in sorted(steps - set(default.steps)) if (found := _find_extension(step))]
    used = [one for one in extensions if variants[one.steps[-1]] or not variants[default.steps[-1]]]

    def rank(extended: Roadmap) -> tuple[bool, int, int]:
        last = variants[extended.steps[-1]]
        return last > 0, len(steps & set(extended.steps)), last

    return max(used, key=rank, default=None)


def find_own_base(roadmap: Roadmap, step: str) -> str | None:
    """Return the step that a step beside a roadmap is based on; None if it has no readable file there."""
    for folder in (f"{ROADMAPS}/{roadmap.name}", ROADMAPS):
        if (path := find_config(f"{folder}/{step}", roadmap.search_path)) is not None:
            with suppress(ConfigError):
                base = read_step_file(path).base
                return None if base is None else base.rpartition("/")[2]
    return None


@file_cached
def _load(search_path: SearchPath, name: str) -> Roadmap:
    with use(search_path):
        folder = ROADMAPS if name == DEFAULT else f"{ROADMAPS}/{name}"
        places = [place / folder for place in search_path.places() if (place / folder / ABOUT).is_file()]
        if not places and (path := find_config(f"{ROADMAPS}/{name}")) is not None:
            return replace(_extend(load_roadmap(), path), search_path=search_path)
        if not places:
            known = list_roadmaps()
            raise ConfigError(f"there is no roadmap {name}.{suggest(name, known)} Allowed: {', '.join(known)}")
        return replace(_read(places[0], folder), search_path=search_path)


def _extend(roadmap: Roadmap, path: Path) -> Roadmap:
    """Return the default roadmap with a user's own step, and possibly others between, after its last one."""
    own = read_step_file(path)
    chain = [*follow_bases(own), own]
    steps = tuple(file.path.stem for file in chain)
    if steps[: len(roadmap.steps)] != roadmap.steps or len(steps) == len(roadmap.steps):
        raise ConfigError(
            f"{path} does not continue the roadmap {roadmap.name}: begin its defaults with {roadmap.steps[-1]}, or "
            f"make a roadmap of its own with a {ABOUT} (docs/roadmaps.md)"
        )
    return replace(roadmap, name=path.stem, **_describe_path(path.stem, chain))


def _describe_path(name: str, chain: Sequence[StepFile]) -> dict[str, Any]:
    """Return the fields of a Roadmap that follow from its steps' files."""
    choices, start = _find_choices(name, chain)
    changed = {axis for choice in choices for axis in choice.axes}
    return {
        "steps": tuple(file.path.stem for file in chain),
        "folders": tuple(file.folder for file in chain),
        "labels": tuple(file.label for file in chain),
        "choices": tuple(choices),
        "fixed": {axis: value for axis, value in start.items() if axis not in changed and is_axis(axis)},
    }


def _read(place: Path, folder: str) -> Roadmap:
    path = place / ABOUT
    note_read(path)
    note_read(place / PUBLISHED)
    name = DEFAULT if folder == ROADMAPS else place.name
    about, sections, tables = read_about(path, name)
    read = read_listed(path, folder, [step for section in sections for step in section.steps])
    before = follow_bases(read[0])
    check_places(path, read, len(before))
    check_roadmap(path, before, read, name)
    described = _describe_path(about.name, [*before, *read])
    steps = described["steps"]
    tables = convert_tables(path, tables, steps)
    if about.curve is not None and about.curve not in steps[1:]:
        raise ConfigError(f"{path}: curve={about.curve}: must be a step after the first: {', '.join(steps[1:])}")
    return Roadmap(
        **asdict(about),
        **described,
        **tables,
        sections=(*_inherited_sections(read, folder), *sections),
        published=_read_anchors(place / PUBLISHED, steps, about, tables["references"]),
    )


def _inherited_sections(read: Sequence[StepFile], folder: str) -> tuple[Section, ...]:
    base = read[0].base
    if base is None or base.rpartition("/")[0] == folder:
        return ()
    other = base.rpartition("/")[0]
    return load_roadmap(DEFAULT if other == ROADMAPS else other.rpartition("/")[2]).sections


def _find_choices(name: str, chain: Sequence[StepFile]) -> tuple[list[Choice], Design]:
    """Return the choice of each step after the first, and every axis' value in the first step."""
    groups = default_choices().items()
    start = {group.removeprefix(AXIS_GROUP): name for group, name in groups if group.startswith(AXIS_GROUP)}
    start.update(chain[0].changes)
    now = dict(start)
    made: dict[str, StepFile] = {}
    choices = []
    for file in chain[1:]:
        unknown = [axis for axis in file.changes if axis not in start and is_setting(axis)]
        if unknown:
            raise ConfigError(
                f"{file.path} changes {unknown[0]}, whose value before it is nowhere: write it into the first "
                f"step, {chain[0].path.name}"
            )
        changes = {axis: value for axis, value in file.changes.items() if now.get(axis) != value}
        if not changes:
            raise ConfigError(f"{file.path} changes nothing: a step has at least one value of its own")
        for axis in changes:
            if axis in made:
                raise ConfigError(
                    f"{file.path} changes {axis}, as {made[axis].path.name} does: in a roadmap ({name}), one axis "
                    "is one step's choice: leave it out of one of them"
                )
            made[axis] = file
        now |= changes
        starts = {axis: start.get(axis, INHERITED) for axis in changes}
        choices.append(Choice(file.path.stem, starts, changes))
    return choices, start


def _read_anchors(
    path: Path, steps: Sequence[str], about: About, references: Mapping[str, str]
) -> tuple[PaperRow, ...]:
    if not path.is_file():
        return ()
    beside = [*([about.original] if about.original else []), *(["reference"] if references else [])]
    return read_published(path, {step: place for place, step in enumerate(steps)} | dict.fromkeys(beside))
