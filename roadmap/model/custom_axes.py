"""Design axes of a user's own Python module: each choice edits the layers of all branches, or of the stem."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, make_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from roadmap.errors import ConfigError
from roadmap.model.spec import ModelSpec

if TYPE_CHECKING:
    from roadmap.model.layer_plan import Layer  # it applies the edits

Edit = Callable[["list[Layer]"], "list[Layer]"]


@dataclass(frozen=True)
class OwnAxis:
    """An axis `model/NAME` whose first choice, the neutral one, changes nothing."""

    name: str
    edits: tuple[tuple[str, Edit | None], ...]  # by choice; the neutral one has none
    part: Literal["branch", "stem"]

    @property
    def neutral(self) -> str:
        return self.edits[0][0]

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(choice for choice, _ in self.edits)


AXES: dict[str, OwnAxis] = {}


def register_axis(
    name: str, edits: Mapping[str, Edit], neutral: str = "none", part: Literal["branch", "stem"] = "branch"
) -> None:
    """Add an axis `model/NAME` to every network. Runs without it count as having its neutral choice.

    Args:
        name: of the axis, as in `model/squeeze=se`.
        edits: by choice, a function from the layers of a part to its layers with this choice.
        neutral: the choice of all other networks.
        part: which layers the functions receive: those of each block's branch, or of the stem.

    Raises:
        ConfigError: the axis exists already, or a name is no identifier.
    """
    axis = OwnAxis(name, ((neutral, None), *edits.items()), part)
    known = {*ModelSpec.__dataclass_fields__, *AXES}
    if name in known:
        raise ConfigError(f"register_axis({name!r}): this axis exists already: name yours differently")
    if not all(map(str.isidentifier, (name, *axis.choices))) or neutral in edits or not edits:
        raise ConfigError(
            f"register_axis({name!r}): choices {', '.join(axis.choices)}: an axis has a neutral choice and at "
            "least one other, whose names are letters, digits and underscores"
        )
    AXES[name] = axis


def extended(kind: type) -> type:
    """Return the specification of a network with a field for each own axis; any other class unchanged."""
    return _extend(tuple(AXES.values())) if kind is ModelSpec and AXES else kind


@cache
def _extend(axes: tuple[OwnAxis, ...]) -> type:
    fields = [(axis.name, str, axis.neutral) for axis in axes]

    def check(self: Any) -> None:
        ModelSpec.__post_init__(self)
        for axis in axes:
            if (value := getattr(self, axis.name)) not in axis.choices:
                allowed = ", ".join(axis.choices)
                raise ConfigError(f"model.{axis.name}={value}: there is no such choice. Allowed: {allowed}")

    return make_dataclass("ModelSpec", fields, bases=(ModelSpec,), frozen=True, namespace={"__post_init__": check})


def edit(layers: "list[Layer]", model: ModelSpec, part: str) -> "list[Layer]":
    """Return the layers of a part with the own choices of a network."""
    for axis in AXES.values():
        change = dict(axis.edits).get(getattr(model, axis.name, axis.neutral))
        if change is not None and axis.part == part:
            layers = list(change(list(layers)))
    return layers
