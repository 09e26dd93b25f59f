"""A step as a value that a notebook shows: its layers as text, its block as a diagram, and what it changes."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roadmap.analysis.figures.block_files import Panel, arrange, svg_text, write_png, write_svg
from roadmap.config import Config, PlannedRun, plan_runs, quote
from roadmap.config.keywords import use_words
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.search_path import find_config
from roadmap.config.step_files import ROADMAPS, read_step_file
from roadmap.errors import ConfigError
from roadmap.model.describe import (
    HEADER,
    Line,
    Section,
    compare_lines,
    describe_changes,
    describe_network,
    describe_sizes,
    describe_values,
    show_lines,
)
from roadmap.model.layer_plan import plan_network
from roadmap.model.planned_layers import NetworkPlan
from roadmap.runs.config_hash import defining_values

SETTINGS = ("data", "recipe")  # whose values a step may change; those of a regime are seen in the sizes
PAPER_SETTING = "setting=paper"
# Fields of the model that the recipe sets.
FROM_RECIPE = ("model.layer_scale_init", "model.drop_path", "model.init")


@dataclass(frozen=True, repr=False)
class StepDescription:
    """A step's network. `print` shows its layers; a notebook shows the diagram of its block.

    Attributes:
        name: the step with its variant, such as step7_kernel,kernel_size=9.
        label: its name in tables and figures.
        changes: what it changes in the step before, such as "block bottleneck -> inverted"
            or "recipe.mixup 0 -> 0.2".
        before: the step that it is compared with; None for the first one.
        network: stem, stages and head, each with its layers.
    """

    name: str
    label: str
    changes: tuple[str, ...]
    before: "StepDescription | None"
    network: tuple[Section, ...]

    @property
    def svg(self) -> str:
        """The diagram of the block, with the changes marked, as the text of an SVG file."""
        return svg_text(arrange([self.panel]))

    @property
    def diff(self) -> str:
        """The layers marked `-` if only the step before has them, and `+` if only this one has them."""
        return "\n".join(map(str, self.lines))

    @property
    def lines(self) -> list[Line]:
        """The lines of `diff`, for a terminal."""
        lines = compare_lines(self.before.network, self.network) if self.before else show_lines(self.network)
        return [Line(" ", HEADER), *lines]

    def save(self, path: str | Path) -> None:
        """Write the diagram as an SVG file, or as PNG if the name ends in .png."""
        picture = arrange([self.panel])
        (write_png if Path(path).suffix == ".png" else write_svg)(picture, Path(path))

    @property
    def panel(self) -> Panel:
        """The block and its captions, to be drawn."""
        lines = (self.label, *([", ".join(self.changes)] if self.changes else []))
        return Panel(self.name, lines, self.network, self.before.network if self.before else None)

    def __str__(self) -> str:
        changes = [f"changed: {change}" for change in self.changes]
        title = f"{self.name}: {self.label}"
        return "\n".join([title, *changes, "", *map(str, [Line(" ", HEADER), *show_lines(self.network)])])

    def __repr__(self) -> str:
        changes = ", ".join(self.changes) or no_change(self.before.name if self.before else None)
        return f"<{self.name}: {changes}>"

    def _repr_svg_(self) -> str:
        return self.svg


def describe(step: str, *overrides: str, against: str | None = None, **values: Any) -> StepDescription:
    """Describe a step: `print` shows its layers, a notebook the diagram of its block.

    Sizes are the paper's (setting=paper) unless overrides say otherwise.

    Args:
        step: such as step5_inverted, or a variant such as step7_kernel,kernel_size=9.
        against: the step to compare with; by default the one that the step is based on.

    >>> step = roadmap.describe("step5_inverted")
    >>> step.changes
    ('block bottleneck -> inverted',)
    >>> step.svg.startswith("<svg")
    True

    `diff` is the layers that differ, as text; `save("step5.svg")` or `.png` writes the diagram.

    Raises:
        roadmap.errors.ConfigError: no such step or override.
    """
    if not isinstance(step, str):
        raise ConfigError(f"{step!r} is no step: name one, as in describe('step5_inverted')")
    with use_words(overrides, values) as words:
        run = load_step(step, words)
        own = step.partition(",")[0]
        base = against or (own if own != step else find_base(step, run.config))
        return describe_run(run, load_step(base, words) if base else None)


def describe_run(run: PlannedRun, before: PlannedRun | None, stage: int | None = None) -> StepDescription:
    """Describe a run's step and what it changes in the step before; only one stage if `stage` is given."""
    network = describe_network(_plan(run.config), run.config.data.image_size)
    return StepDescription(
        run.name,
        run.config.step.label,
        tuple(short_changes(before.config, run.config)) if before else (),
        describe_run(before, None, stage) if before else None,
        tuple(section for section in network if stage is None or section.name == f"stage {stage}"),
    )


def load_step(step: str, overrides: Sequence[str]) -> PlannedRun:
    """Compose the step at the paper's size, or at the one given by the overrides."""
    setting = [] if any(word.startswith("setting=") for word in overrides) else [PAPER_SETTING]
    (run,) = plan_runs([*setting, f"+roadmap={quote(step)}", *overrides], is_sweep=False)
    if run.config.reference is not None:
        raise ConfigError(f"reference={run.config.reference}: only steps of a roadmap have a plan to show")
    return run


def find_base(name: str, config: Config) -> str | None:
    """Return the step on which a step's file is based; the first step is compared with its roadmap's original."""
    file = find_config(f"{ROADMAPS}/{name}")
    assert file is not None  # it was composed
    base = read_step_file(file).base
    if base is not None:
        return base.removeprefix(f"{ROADMAPS}/")
    own = load_roadmap(config.step.roadmap)
    before = f"{name.rpartition('/')[0]}/{own.original}".lstrip("/")
    return before if config.step.name == own.steps[0] and find_config(f"{ROADMAPS}/{before}") else None


def no_change(before: str | None) -> str:
    """Describe a step that changes nothing in the step before it, or that has none before it."""
    return "the start" if before is None else f"no change from {before}"


def find_changes(before: Config, after: Config) -> list[str]:
    """Return the differences, such as "model.block bottleneck -> inverted", or "recipe.mixup 0 -> 0.2".

    Of another recipe, data set or regime it is only the name.
    """
    pairs = {name: (getattr(before, name).name, getattr(after, name).name) for name in (*SETTINGS, "regime")}
    names = {group: f"{group} {old} -> {new}" for group, (old, new) in pairs.items() if old != new}
    changes = describe_changes(before.model, after.model)
    if "recipe" in names:
        changes = [change for change in changes if not change.startswith(FROM_RECIPE)]
    known = {change.removeprefix("model.") for change in changes}
    old, new = (_setting_values(config, set(SETTINGS) - names.keys()) for config in (before, after))
    settings = [one for one in describe_values(old, new) if one.partition(".")[2] not in known]  # as drop_path
    return [*names.values(), *changes, *settings, *describe_sizes(_plan(before), _plan(after))]


def _setting_values(config: Config, groups: Collection[str]) -> dict[str, Any]:
    """Return the values of groups, by dotted key, that a result depends on."""
    values = defining_values(asdict(config))
    return {key: value for key, value in values.items() if key.partition(".")[0] in groups}


def short_changes(before: Config, after: Config) -> list[str]:
    """Return the differences without `model.`, such as "block bottleneck -> inverted"."""
    return [change.removeprefix("model.") for change in find_changes(before, after)]


def _plan(config: Config) -> NetworkPlan:
    return plan_network(config.model, config.regime)
