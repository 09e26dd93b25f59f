"""`train.py --help`: steps in their order, groups with their choices, and keys with value, meaning and unit."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from roadmap.config.field_docs import KeyDoc, document_keys, read_comments
from roadmap.config.roadmap_files import list_roadmaps, load_roadmap
from roadmap.config.roadmaps import AXIS_GROUP, DEFAULT
from roadmap.config.schema import Config
from roadmap.config.search_path import find_config, list_choices, list_groups
from roadmap.config.sweep import SPECS
from roadmap.errors import RoadmapError
from roadmap.model.spec import ModelSpec
from roadmap.runs.naming import natural_key
from roadmap.system.commands import printed

WIDTH = 80
COLUMN = 29  # where a meaning begins
GROUPS = ("setting", "regime", "data", "recipe", "logger", "reference", "sweep", "hydra/launcher")
ADDED = ("reference", "sweep")  # groups that the configuration has no choice of, so Hydra wants a plus sign
OF_HYDRA = {"hydra/launcher": ("basic", "joblib")}  # choices without a file in conf/
SECTIONS = ("recipe", "data", "hardware", "logger")


def help_lines(cfg: DictConfig) -> Iterator[str]:
    """Yield the help of a command, whose composed configuration gives the values. Imports no torch."""
    train = " ".join(printed("train"))
    yield f"usage: {train} [+roadmap=STEP] [GROUP=CHOICE ...] [KEY=VALUE ...]"
    yield f"       {train} -m +sweep=NAME seed=0,1,2 [GROUP=CHOICE ...] ..."
    yield ""
    yield from _step_lines()
    yield "== Groups: GROUP=CHOICE =="
    for group in GROUPS:
        if choices := sorted({*list_choices(group), *OF_HYDRA.get(group, ())}, key=natural_key):
            yield from _entry(f"{'+' if group in ADDED else ''}{group}=", ", ".join(choices))
    yield ""
    yield "== Design choices, each switched alone: model/AXIS=CHOICE =="
    yield from _axis_lines()
    for title, docs in _sections():
        yield ""
        yield f"== {title} =="
        for doc in docs:
            value = "" if doc.key.startswith("sweep.") else _value(cfg, doc.key)
            yield from _entry(f"{doc.key}{value}", doc.meaning)
    yield ""
    yield "--cfg job prints the configuration as YAML, --hydra-help Hydra's own flags."


def _step_lines() -> Iterator[str]:
    """Yield a line per step, also of a user's own folder; the files are read, not composed, which takes longer."""
    roadmap = load_roadmap()
    labels = dict(zip(roadmap.steps, roadmap.labels, strict=True))
    names = list_choices("roadmap")
    labels |= {name: _read_label(name) for name in names if name not in labels}
    width, label_width = max(map(len, names)), max(map(len, labels.values()))
    regime = roadmap.regimes[0]
    yield f"== Steps: +roadmap=STEP; with the paper's top-1 (%) of {regime} on ImageNet =="
    for name in names:
        paper = roadmap.find_published(regime, name, {})
        top1 = f"{paper.top1:.2f}" if paper else ""
        yield f"{name:<{width}}  {labels[name]:<{label_width}}  {top1}".rstrip()
    for other in list_roadmaps():
        if other != DEFAULT:
            steps = load_roadmap(other).steps
            yield from _wrapped(f"+roadmap={other}/STEP: ", f"{len(steps)} steps, {steps[0]} to {steps[-1]}", 4)
    yield ""


def _read_label(name: str) -> str:
    file = find_config(f"roadmap/{name}")
    label = OmegaConf.select(OmegaConf.load(file), "step.label") if file else None
    return "" if label is None else str(label)


def _axis_lines() -> Iterator[str]:
    comments = read_comments(ModelSpec)
    types = {field.name: field.type for field in fields(ModelSpec)}
    for group in list_groups():
        if group.startswith(AXIS_GROUP):
            axis = group.removeprefix(AXIS_GROUP)
            kind: Any = types.get(axis)
            doc = comments.get(axis) or (kind.__doc__ if isinstance(kind, type) else "") or "an axis of your own"
            yield from _entry(
                f"{group}=", f"{', '.join(list_choices(group))}: {doc[0].lower()}{doc[1:].rstrip('.')}"
            )


def _sections() -> Iterator[tuple[str, list[KeyDoc]]]:
    docs = list(document_keys(Config))
    top = [doc for doc in docs if "." not in doc.key]
    yield "Keys of a run: KEY=VALUE, here with their present values", top
    for name in SECTIONS:
        yield f"Keys of {name}", [doc for doc in docs if doc.key.startswith(f"{name}.")]
    yield "Keys of a sweep, beside +sweep=NAME", list(_sweep_docs())


def _sweep_docs() -> Iterator[KeyDoc]:
    """Yield each key once, with the sweeps that have it."""
    meanings: dict[str, str] = {}
    sweeps: dict[str, list[str]] = {}
    for kind, spec in SPECS.items():
        for doc in document_keys(spec, "sweep."):
            meanings[doc.key] = doc.meaning
            sweeps.setdefault(doc.key, []).append(kind)
    for key, meaning in meanings.items():
        if key != "sweep.kind":
            names = "any sweep" if len(sweeps[key]) == len(SPECS) else ", ".join(sweeps[key])
            yield KeyDoc(key, f"{names}: {meaning}")


def _value(cfg: DictConfig, key: str) -> str:
    """Return the value of a key as it is typed; nothing if it has none yet, or depends on images."""
    try:
        value = OmegaConf.select(cfg, key, throw_on_missing=True)
    except (OmegaConfBaseException, RoadmapError):
        return ""
    if value is None or isinstance(value, bool):
        value = json.dumps(value)
    elif OmegaConf.is_config(value):
        value = "[" + ",".join(map(str, value)) + "]"
    text = str(value)
    return f"={text}" if len(text) <= WIDTH // 2 else "=..."


def _entry(term: str, meaning: str) -> Iterator[str]:
    """Yield a term with its meaning beside it, or below it if the term is long."""
    if len(term) > COLUMN - 2:
        yield term
        term = ""
    yield from _wrapped(f"{term:<{COLUMN}}", meaning, COLUMN)


def _wrapped(start: str, text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=" " * indent, break_on_hyphens=False
    ) or [start.rstrip()]
