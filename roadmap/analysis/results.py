"""Rows of results: one per step (or variant of one), over its seeds, in the order of the roadmap."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from roadmap.analysis.other_images import warn_of_other_images
from roadmap.analysis.own_configs import find_search_path
from roadmap.analysis.stats import mean
from roadmap.config.paper import PaperRow
from roadmap.config.roadmap_files import find_own_base, find_roadmap, load_roadmap
from roadmap.config.roadmaps import Roadmap
from roadmap.config.search_path import use
from roadmap.runs.naming import natural_key, network_name
from roadmap.runs.read_run import Run, State

MOST_ABLATIONS = 6  # most ablations that the roadmap's figure draws

# What the runs of a row have in common.
SHARED = ("step", "step_index", "label", "variant", "reference", "experiment", "regime", "data", "recipe")

Setting = tuple[str, str, str]  # regime, data and recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """A step, or a variant of one, over its finished seeds; also a step without any."""

    step: str
    step_index: int | None
    label: str  # as printed; names the variant
    variant: dict[str, str]
    reference: str | None
    experiment: str
    regime: str
    data: str
    recipe: str
    seeds: tuple[int, ...] = ()  # of the finished runs
    top1: tuple[float, ...] = ()  # percent, last epoch, one per seed
    best_top1: tuple[float, ...] = ()  # percent, best epoch on the validation set, one per seed
    ema_top1: float | None = None  # percent, mean over seeds
    gmacs: float | None = None  # 1e9 multiply-accumulates per image
    parameters: float | None = None  # count
    images_per_s: float | None = None  # training, mean over seeds
    devices: tuple[str, ...] = ()
    setting_hashes: frozenset[str] = frozenset()  # of the finished runs; one if all have the same settings
    failed: int = 0  # runs
    unfinished: int = 0  # runs that are pending, running, interrupted or damaged
    roadmap: Roadmap = field(default_factory=load_roadmap, repr=False)  # whose steps the experiment has

    @property
    def setting(self) -> Setting:
        """What comparable rows have in common."""
        return self.regime, self.data, self.recipe

    @property
    def name(self) -> str:
        """The step and its variant, as in the name of the run's folder."""
        return network_name(self.step, self.variant)

    @property
    def choices(self) -> list[str]:
        """What the variant changes, such as `kernel_size=9`."""
        return [f"{key}={value}" for key, value in self.variant.items()]

    def accuracies(self, best: bool) -> tuple[float, ...]:
        """Return top-1 in percent of the last or of the best epoch, one value per seed."""
        return self.best_top1 if best else self.top1

    @property
    def paper(self) -> PaperRow | None:
        """The paper's row for this step on ImageNet; of its first regime if the paper lacks this one."""
        return self.roadmap.find_published(self.regime, self.step, self.variant)

    @property
    def is_original(self) -> bool:
        """True for the row before the first step, which has a recipe of its own."""
        return self.step == self.roadmap.original

    @property
    def on_imagenet(self) -> bool:
        """True if the paper's accuracies were measured on the same data with the same size of network."""
        return self.data == "imagenet" and self.regime in self.roadmap.regimes


def curve_value(row: Row) -> int | None:
    """Return the value of the roadmap's curve, such as the kernel size; None for a row that is not on it."""
    choice = row.roadmap.choice_of(row.step) if row.step == row.roadmap.curve else None
    if choice is None or row.variant.keys() - {choice.axis}:
        return None
    text = row.variant.get(choice.axis, choice.end)
    return int(text) if text.isdecimal() else None


def is_combination(row: Row) -> bool:
    """Return True if several designs change at once, as in a factorial or along a sampled order."""
    one_choice = any(set(row.variant) == set(choice.axes) for choice in row.roadmap.choices)
    return len(row.variant) > 1 and not one_choice


def is_ablation(row: Row) -> bool:
    """Return True if a step varies in designs other than its own choice, as in a leave-one-out sweep."""
    choice = row.roadmap.choice_of(row.step)
    return bool(row.variant.keys() - set(choice.axes if choice else ()))


def drawn_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows without ablations if these are too many to be bars among the steps.

    While no other row has a result, the ablations are all that there is to draw, and stay.
    """
    others = [row for row in rows if not is_ablation(row)]
    too_many = len(rows) - len(others) > MOST_ABLATIONS
    return others if too_many and any(row.seeds for row in others) else list(rows)


def short_names(rows: Sequence[Row]) -> list[str]:
    """Return a name for each row that no other row has: `step7`, or `step7 kernel_size=9`.

    The whole name of the step, and then the setting, is added where rows would else have the same name.
    """
    steps = [row.step if row.step_index is None else row.step.partition("_")[0] for row in rows]
    names = [" ".join([step, *row.choices]) for step, row in zip(steps, rows, strict=True)]
    whole = [" ".join([row.step, *row.choices]) for row in rows]
    with_setting = [f"{name} ({', '.join(row.setting)})" for name, row in zip(whole, rows, strict=True)]
    for longer in (whole, with_setting):
        counts = Counter(names)
        names = [other if counts[name] > 1 else name for name, other in zip(names, longer, strict=True)]
    return names


def range_text(counts: Iterable[int]) -> str:
    """Return `3`, or `1 to 3`."""
    ordered = sorted(counts)
    return f"{ordered[0]}" if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"


def aggregate(runs: Iterable[Run]) -> list[Row]:
    """Return one row for each step, variant and setting (regime, data, recipe), in the order of the roadmap.

    Steps of the paper without a run get an empty row: all of them if three steps of the roadmap have a run (a
    sweep), only those in between if two have one (a comparison), none if there is an ablation, which needs few
    steps. The runs that a sweep was asked for have rows in any case, since it records them all at its start.
    `original`, the variants and the references are optional and get none.
    """
    runs = list(runs)
    with use(find_search_path(runs)):
        roadmap = find_roadmap([run.name for run in runs], {run.roadmap for run in runs})
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        key = (run.step, tuple(sorted(run.variant.items())), run.regime, run.data, run.recipe)
        groups.setdefault(key, []).append(run)
    rows = [_row(group, roadmap) for group in groups.values()]
    _warn_mixed(rows)
    warn_of_other_images((run.setting_hash, run) for run in runs)
    rows = sorted(rows + _missing(rows, roadmap), key=_order)
    return _tell_apart(rows)


def _row(runs: list[Run], roadmap: Roadmap) -> Row:
    """Return the row of runs of one step, variant and setting."""
    done = sorted((run for run in runs if run.state is State.done), key=lambda run: run.seed)
    first = (done or runs)[0]

    def average(name: str) -> float | None:
        return mean([value for run in done if (value := getattr(run, name)) is not None])

    shared = {name: getattr(first, name) for name in SHARED}
    if (place := roadmap.place_of(first.step)) is not None:
        shared["step_index"] = place  # recorded ones may be of an earlier order
    row = Row(
        **shared,
        seeds=tuple(run.seed for run in done),
        top1=tuple(run.top1 for run in done if run.top1 is not None),
        best_top1=tuple(run.best_top1 for run in done if run.best_top1 is not None),
        ema_top1=average("ema_top1"),
        gmacs=average("gmacs"),
        parameters=average("parameters"),
        images_per_s=average("images_per_s"),
        devices=tuple(sorted({run.device for run in done if run.device})),
        setting_hashes=frozenset(run.setting_hash for run in done if run.setting_hash),
        failed=sum(run.state is State.failed for run in runs),
        unfinished=sum(run.state not in (State.done, State.failed) for run in runs),
        roadmap=roadmap,
    )
    return replace(row, label=_label(row))


def _label(row: Row) -> str:
    """Return the step's label, with the variant's changes."""
    value = curve_value(row)
    if row.variant and value is not None:
        return f"{next(iter(row.variant)).replace('_', ' ')} {value}"
    return ", ".join([row.label, *row.choices])


def _missing(rows: list[Row], roadmap: Roadmap) -> list[Row]:
    """Return empty rows for steps of the paper that have no run; `aggregate` has the rule."""
    steps = [row for row in rows if row.step in roadmap.steps]
    present = {row.step for row in steps}
    if len(present) < 2 or any(map(is_ablation, rows)):
        return []
    places = [place for row in steps if (place := row.step_index) is not None]
    first, last = (0, len(roadmap.steps) - 1) if len(present) > 2 else (min(places), max(places))
    ((common, _),) = Counter((row.experiment, *row.setting) for row in steps).most_common(1)
    return [
        Row(step, place, label, {}, None, *common, roadmap=roadmap)
        for place, (step, label) in enumerate(zip(roadmap.steps, roadmap.labels, strict=True))
        if first <= place <= last and step not in present
    ]


def _order(row: Row) -> tuple[object, ...]:
    """Return figure 2's sort key: `original`, steps with their variants, steps without an index, references.

    The values of the curve are in numeric order, so that kernel size 5 comes before the adopted 7.
    """
    if row.is_original:
        band = 0
    elif row.reference is not None:
        band = 3
    else:
        band = 2 if row.step_index is None else 1
    value = curve_value(row)
    changed = (value is None and bool(row.variant), value or 0, bool(row.variant))
    return band, row.step_index or 0, natural_key(row.step), changed, natural_key(str(row.variant)), row.setting


def step_before(row: Row, rows: Sequence[Row]) -> Row | None:
    """Return the adopted row one index lower in the same setting; None if there is none, or more than one.

    Of a user's step beside the roadmap, it is the step that its file is based on, if the file is there.

    The same holds for another choice of the step's own design, such as another kernel size. An ablation is
    compared with its own step, unless it changes several designs at once: then it belongs to a sweep, perhaps of
    hundreds, and ablation.py computes the effect of each of its designs.
    """
    if row.step_index is None or is_combination(row):
        return None
    if is_ablation(row):
        same = [other for other in rows if other.step == row.step and not other.variant]
        return next((other for other in same if other.setting == row.setting), None)
    is_beside = row.step not in (*row.roadmap.steps, row.roadmap.original)
    base = find_own_base(row.roadmap, row.step) if is_beside else None
    candidates = [
        other
        for other in rows
        if not other.variant
        and (other.regime, other.data) == (row.regime, row.data)
        and (
            other.is_original  # has its own recipe: the change to the first step is the recipe
            if row.step_index == 0
            else other.recipe == row.recipe
            and (other.step_index == row.step_index - 1 if base is None else other.step == base)
        )
    ]
    if len(candidates) > 1 and not is_beside:  # a user's steps beside the paper's, under one index
        candidates = [other for other in candidates if other.step in (*row.roadmap.steps, row.roadmap.original)]
    return candidates[0] if len(candidates) == 1 else None


def _warn_mixed(rows: list[Row]) -> None:
    """Warn of several settings, whose accuracies can't be compared; `original` may have its own recipe."""
    _warn_of_other_values(rows)
    for name in ("regime", "data", "recipe"):
        found = sorted({getattr(row, name) for row in rows if name != "recipe" or not row.is_original})
        if len(found) > 1:
            log.warning(
                "%s: more than one %s (%s); each has its rows, do not compare across them",
                rows[0].experiment,
                name,
                ", ".join(found),
            )


def _warn_of_other_values(rows: Sequence[Row]) -> None:
    """Warn if regime, data and recipe have equal names but other values, as after recipe.lr=... for some runs."""
    for setting in dict.fromkeys(row.setting for row in rows):
        some = [row for row in rows if row.setting == setting and row.setting_hashes]
        counts = Counter(found for row in some for found in row.setting_hashes)
        if len(counts) > 1:
            ((usual, _),) = counts.most_common(1)
            others = [row.name for row in some if row.setting_hashes != {usual}]
            log.warning(
                "%s: runs of %s have other settings than the rest (config.yaml has them), so changes from and to "
                "them are no comparison",
                rows[0].experiment,
                " and ".join(others),
            )


def _tell_apart(rows: list[Row]) -> list[Row]:
    """Add the setting to the labels of a step that occurs in several, and the name to a label of several steps."""
    counts = Counter((row.step, str(row.variant)) for row in rows)
    rows = [
        replace(row, label=f"{row.label} [{row.regime}, {row.data}, {row.recipe}]")
        if counts[row.step, str(row.variant)] > 1
        else row
        for row in rows
    ]
    labels = Counter(row.label for row in rows)
    return [replace(row, label=f"{row.label} ({row.step})") if labels[row.label] > 1 else row for row in rows]
