"""Registration of design axes, and of choices of existing axes, by functions that edit lists of layers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, make_dataclass, replace
from enum import StrEnum
from functools import cache
from math import prod
from typing import Any, Literal, get_type_hints

from roadmap.errors import ConfigError
from roadmap.model.planned_layers import FORMAT, Layer
from roadmap.model.spec import Form, Init, ModelSpec
from roadmap.system.registration import check_function, check_name

Edit = Callable[[list[Layer]], list[Layer]]
Part = Literal["stem", "downsample", "branch", "shortcut", "after", "head"]  # of a NetworkPlan


@dataclass(frozen=True)
class CustomAxis:
    """A registered axis `model/NAME`; its first choice is neutral and changes nothing."""

    name: str
    edits: tuple[tuple[str, Edit | None], ...]  # by choice; the neutral one has none
    part: Literal["branch", "stem"]

    @property
    def neutral(self) -> str:
        return self.edits[0][0]

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(choice for choice, _ in self.edits)


@dataclass(frozen=True)
class CustomChoice:
    """A registered choice of an existing axis: the network with the choice `like`, whose layers are edited."""

    axis: str
    name: str
    edit: Edit
    like: StrEnum
    part: Part | None  # the only one that is edited; None: all


AXES: dict[str, CustomAxis] = {}
CHOICES: dict[str, dict[str, CustomChoice]] = {}  # by axis and name
# Axes whose choices are names: all but the kernel size.
NAMED_AXES: dict[str, type[StrEnum]] = {
    name: kind
    for name, kind in get_type_hints(ModelSpec).items()
    if isinstance(kind, type) and issubclass(kind, StrEnum) and kind not in (Form, Init)
}


def register_axis(
    name: str, edits: Mapping[str, Edit], neutral: str = "none", part: Literal["branch", "stem"] = "branch"
) -> None:
    """Register an axis `model/NAME` for every network. Older runs count as having its neutral choice.

    Args:
        name: of the axis, as in `model/squeeze=se`.
        edits: by choice, a function from the layers of a part to its layers with this choice.
        neutral: the choice of all other networks.
        part: which layers the functions receive: those of each block's branch, or of the stem.

    Raises:
        ConfigError: the axis exists already, a name is not an identifier, or an edit does not take layers.
    """
    call = f"register_axis({name!r})"
    check_name(call, name, {*(field.name for field in fields(ModelSpec)), *AXES})
    if not isinstance(edits, Mapping) or not edits:
        raise ConfigError(f"{call}: give at least one choice beside {neutral}, as in {{'{name}': FUNCTION}}")
    _check_part(call, part, ("branch", "stem"))
    for choice, function in edits.items():
        check_name(call, choice, {neutral})
        check_function(call, function, "layers")
    AXES[name] = CustomAxis(name, ((neutral, None), *edits.items()), part)


def register_choice(axis: str, name: str, edit: Edit, like: str, part: Part | None = None) -> None:
    """Register a choice of an existing axis, such as a norm, an activation or a stem: `model/AXIS=NAME`.

    Args:
        axis: such as `norm`.
        name: of the choice.
        edit: a function from the layers of a part, planned with the choice `like`, to those with this choice.
        like: a choice of the axis that exists already.
        part: the only part whose layers the function receives; None: each part of the network in turn.

    Raises:
        ConfigError: there is no such axis, choice `like` or part, the name is taken, or the edit does not
            take layers.
    """
    call = f"register_choice({axis!r}, {name!r})"
    if axis not in NAMED_AXES:
        raise ConfigError(
            f"{call}: there is no axis {axis} whose choices are names. Allowed: {', '.join(NAMED_AXES)}"
        )
    known = list(NAMED_AXES[axis])
    check_name(call, name, {*known, *CHOICES.get(axis, {})})
    if like not in known:
        raise ConfigError(f"{call}: like={like!r}: there is no such choice. Allowed: {', '.join(known)}")
    _check_part(call, part, (None, *Part.__args__))  # type: ignore[attr-defined]
    check_function(call, edit, "layers")
    CHOICES.setdefault(axis, {})[name] = CustomChoice(axis, name, edit, NAMED_AXES[axis](like), part)


def _check_part(call: str, part: str | None, allowed: tuple[str | None, ...]) -> None:
    if part not in allowed:
        raise ConfigError(f"{call}: part={part!r}: there is no such part. Allowed: {', '.join(map(repr, allowed))}")


def extended(kind: type) -> type:
    """Return ModelSpec with a field for each registered axis; any other class unchanged."""
    return _extend(tuple(AXES.values())) if kind is ModelSpec and AXES else kind


@cache
def _extend(axes: tuple[CustomAxis, ...]) -> type:
    added = [(axis.name, str, axis.neutral) for axis in axes]

    def check(self: Any) -> None:
        ModelSpec.__post_init__(self)
        for axis in axes:
            if (value := getattr(self, axis.name)) not in axis.choices:
                allowed = ", ".join(axis.choices)
                raise ConfigError(f"model.{axis.name}={value}: there is no such choice. Allowed: {allowed}")

    def reduce(self: Any) -> tuple[Any, ...]:  # a class made here has no name that another process could import
        return _rebuild, ({field.name: getattr(self, field.name) for field in fields(self)},)

    namespace = {"__post_init__": check, "__reduce__": reduce}
    return make_dataclass("ModelSpec", added, bases=(ModelSpec,), frozen=True, namespace=namespace)


def _rebuild(values: Mapping[str, Any]) -> ModelSpec:
    spec: ModelSpec = extended(ModelSpec)(**values)
    return spec


def without_custom_choices(model: ModelSpec) -> ModelSpec:
    """Replace each registered choice by the built-in one that it is like."""
    changes: dict[str, Any] = {choice.axis: choice.like for choice in _chosen(model)}
    return replace(model, **changes)


def edit_for_axes(layers: list[Layer], model: ModelSpec, part: str) -> list[Layer]:
    """Apply the choices of registered axes to the layers of a part."""
    for axis in AXES.values():
        choice = getattr(model, axis.name, axis.neutral)
        change = dict(axis.edits).get(choice)
        if change is not None and axis.part == part:
            layers = _apply(change, layers, f"model.{axis.name}={choice}")
    return layers


def edit_for_choices(layers: list[Layer], model: ModelSpec, part: str) -> list[Layer]:
    """Apply the registered choices of existing axes to the layers of a part."""
    for choice in _chosen(model):
        if choice.part in (None, part):
            layers = _apply(choice.edit, layers, f"model.{choice.axis}={choice.name}")
    return layers


def _chosen(model: ModelSpec) -> list[CustomChoice]:
    chosen = ((choices, getattr(model, axis)) for axis, choices in CHOICES.items())
    return [choices[name] for choices, name in chosen if name in choices]


def _apply(change: Edit, layers: list[Layer], override: str) -> list[Layer]:
    edited = change(list(layers))
    name = getattr(change, "__name__", repr(change))
    if not isinstance(edited, list | tuple) or not all(isinstance(layer, Layer) for layer in edited):
        raise ConfigError(f"{override}: {name} returned {edited!r}: must return a list of layers of roadmap.extend")
    _check_names(f"{override}: {name} returned", edited)
    if (before := _ends(layers)) != (after := _ends(edited)):
        raise ConfigError(f"{override}: {name} returned layers with {after}, and must keep {before}")
    return list(edited)


def _check_names(returned: str, layers: Sequence[Layer]) -> None:
    """Raise ConfigError unless each layer has a name of its own, which modules and state dicts have as a key."""
    names = [layer.name for layer in layers]
    for layer in layers:
        name: Any = layer.name
        if not isinstance(name, str) or not name.isidentifier() or name.endswith(FORMAT):
            raise ConfigError(
                f"{returned} a layer named {name!r}: must be a name of letters, digits and underscores that does "
                f"not end in {FORMAT}"
            )
        if names.count(name) > 1:
            taken = ", ".join(dict.fromkeys(names))
            raise ConfigError(f"{returned} two layers named {name}: name yours differently. Taken: {taken}")


def _ends(layers: Sequence[Layer]) -> str:
    """Describe what an edit must keep: channels into and out of a part, and its stride."""
    convs: list[Any] = [layer for layer in layers if hasattr(layer, "out_channels")]
    stride = prod(getattr(layer, "stride", 2 if type(layer).__name__.endswith("Pool") else 1) for layer in layers)
    channels = f"{convs[0].in_channels} channels in, {convs[-1].out_channels} out" if convs else "no convolution"
    return f"{channels}, stride {stride}"
