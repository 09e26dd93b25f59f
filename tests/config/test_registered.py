"""Parts that a user's own module registers: a choice of an axis, a data set and a logger, in their groups."""

import pickle
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from roadmap.config import compose, plan_runs, read_config
from roadmap.config.search_path import SearchPath, add_own_groups, list_choices, use
from roadmap.data.custom_sources import SOURCES
from roadmap.data.sources import open_images
from roadmap.errors import ConfigError, DataError
from roadmap.extend import (
    Act,
    Conv,
    Layer,
    Norm,
    OwnLayer,
    register_axis,
    register_choice,
    register_dataset,
    register_logger,
)
from roadmap.model.build import build
from roadmap.model.custom_axes import AXES, CHOICES
from roadmap.model.layer_plan import plan_network
from roadmap.runs.config_hash import NEUTRAL_VALUES
from roadmap.runs.logger_spec import CUSTOM_LOGGERS

PIXELS = np.zeros((6, 16, 16), dtype=np.uint8)
LABELS = np.arange(6) % 2


def group_norm(layers: list[Layer]) -> list[Layer]:
    return [
        OwnLayer(one.name, "GN", one.channels, lambda channels: nn.GroupNorm(2, channels))
        if isinstance(one, Norm)
        else one
        for one in layers
    ]


def silu(layers: list[Layer]) -> list[Layer]:
    return [OwnLayer(one.name, "SiLU", 0, lambda _: nn.SiLU()) if isinstance(one, Act) else one for one in layers]


def one_conv(layers: list[Layer]) -> list[Layer]:
    return [Conv("conv", 3, layers[0].out_channels, kernel=9, stride=2)]


class Pairs:
    """Images of several sizes as a data set of torchvision: Pillow's, with class indices."""

    classes = ("ape", "cat")

    def __init__(self, count: int):
        self.images = [Image.new("L", (8 + index, 9), 10 * index) for index in range(count)]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return self.images[index], index % 2


class Logger:
    def __init__(self, spec: object, run: object, facts: object):
        pass

    def log(self, metrics: object) -> None:
        pass

    def finish(self, summary: object) -> None:
        pass


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Parts of each kind, removed after the test."""
    register_choice("norm", "groupnorm", group_norm, like="batchnorm")
    register_choice("activation", "silu", silu, like="relu")
    register_choice("stem", "large", one_conv, like="resnet", part="stem")
    register_dataset("pairs", lambda _: (Pairs(6), Pairs(4)), num_classes=2, image_size=16, stem_stride=2)
    register_logger("mine", Logger)
    with use(SearchPath()):
        yield
    for parts in (AXES, CHOICES, SOURCES, CUSTOM_LOGGERS):
        parts.clear()  # type: ignore[attr-defined]


@pytest.mark.parametrize("step", ["step0_resnet", "step12_downsample"])
def test_a_choice_of_an_axis_is_in_every_part_of_a_network(step: str) -> None:
    words = ["model/norm=groupnorm", "model/activation=silu", "model/stem=large", "data=pairs", "logger=mine"]
    config = read_config(compose(f"+roadmap={step}", *words))
    network = build(config.model, config.regime, None, config.data.image_size)
    kinds = {type(module) for module in network.modules()}
    assert {nn.GroupNorm, nn.SiLU} <= kinds
    assert not kinds & {nn.BatchNorm2d, nn.ReLU, nn.LayerNorm, nn.GELU}
    assert network(torch.zeros(1, 3, 16, 16)).shape == (1, 2)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert convolutions[0].kernel_size == (9, 9)
    assert all(module.bias is not None for module in convolutions)  # which a BatchNorm would cancel


class OpenGate(nn.Module):
    """A gate that its constructor opens, beside weights that it draws."""

    def __init__(self, channels: int):
        super().__init__()
        self.drawn, self.linear = nn.Conv2d(channels, channels, 1), nn.Linear(channels, channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.constant_(self.linear.bias, 2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.linear(x.mean((2, 3))).sigmoid()[:, :, None, None]


@pytest.mark.parametrize("init", ["trunc_normal", "torchvision", "fan_in"])
@pytest.mark.parametrize(("step", "head"), [("step0_resnet", 0), ("step12_downsample", 1)])
def test_a_layer_of_ones_own_keeps_the_weights_of_its_constructor(step: str, head: int, init: str) -> None:
    """In every part, beside layers that the recipe initializes."""

    def open_gates(layers: list[Layer]) -> list[Layer]:
        """Replace all norms; the head has no other layer."""
        return [
            OwnLayer(one.name, "gate", one.channels, OpenGate) if isinstance(one, Norm) else one for one in layers
        ]

    register_choice("norm", "gates", open_gates, like="layernorm")
    config = read_config(compose(f"+roadmap={step}", "model/norm=gates", f"recipe.init={init}"))
    network = build(config.model, config.regime, None, 16)
    gates = {name: module for name, module in network.named_modules() if isinstance(module, OpenGate)}
    assert {name.split(".")[0] for name in gates} == ({"stem", "stages", "head"} if head else {"stem", "stages"})
    for gate in gates.values():
        assert not gate.linear.weight.any()
        assert (gate.linear.bias == 2).all()
        assert gate.drawn.bias is not None
        assert gate.drawn.bias.any()  # torch's own initialization
    others = [one for name, one in network.named_modules() if isinstance(one, nn.Conv2d) and "drawn" not in name]
    assert not any(one.bias.any() for one in others if one.bias is not None)


def test_a_convolution_has_the_bias_that_is_asked_for() -> None:
    """Else it has one unless a BatchNorm follows, also behind another choice's edit."""

    def add(layers: list[Layer]) -> list[Layer]:
        width = layers[0].out_channels
        names = {"without": False, "given": True, "by_rule": None}
        return [*layers, *(Conv(name, width, width, 3, bias=bias) for name, bias in names.items())]

    register_choice("stem", "biased", add, like="patchify", part="stem")
    config = read_config(compose("model/stem=biased", "model/norm=groupnorm", "regime=micro"))
    stem = build(config.model, config.regime, None, 16).stem
    assert [getattr(stem, name).bias is not None for name in ("without", "given", "by_rule")] == [False, True, True]
    assert [layer.bias for layer in plan_network(config.model, config.regime).stem] == [True, False, True, True]


def test_a_choice_is_a_level_of_its_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list_choices("model/norm") == ["batchnorm", "groupnorm", "layernorm"]
    with pytest.raises(ConfigError, match="Did you mean groupnorm"):
        read_config(compose("model.norm=groupnrom"))
    monkeypatch.setitem(NEUTRAL_VALUES, "model.excite", "none")  # which is undone after the test
    register_axis("excite", {"squeeze": silu})
    add_own_groups()
    with pytest.raises(ConfigError, match=r"Did you mean squeeze\? Allowed: none, squeeze"):
        plan_runs(["model/excite=sqeeze"], is_sweep=False)
    model = read_config(compose("model/excite=squeeze")).model
    assert pickle.loads(pickle.dumps(model)) == model  # as a process beside this one receives it


def test_images_of_a_data_set_are_pixels_with_named_classes() -> None:
    train, val = open_images(read_config(compose("data=pairs")).data)
    assert (len(train), len(val), train.images.classes) == (6, 4, ["ape", "cat"])  # type: ignore[attr-defined]
    pixels, label = train[3]
    assert (pixels.shape, int(pixels[0, 0, 2]), label) == ((9, 11, 3), 30, 1)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((PIXELS, LABELS), "6 images, but class indices uint8 (6, 16). Return a pair"),  # of one part
        (((PIXELS, LABELS + 1),) * 2, "class indices from 1 to 2: must be from 0 to 1, with data.num_classes=2"),
        (((PIXELS, LABELS[:3]),) * 2, "6 images, but class indices int64 (3,). Return a pair of arrays"),
        (((PIXELS / 255, LABELS),) * 2, "float64 (16, 16), expected a Pillow image, or a uint8 array"),
        ((None, None), "data=broken: NoneType: object of type 'NoneType' has no len(). Return a pair of arrays"),
        (3, "its function returned int: must return the training and the validation images"),
    ],
)
def test_wrong_images_are_one_line(parts: Any, message: str) -> None:
    register_dataset("broken", lambda _: parts, num_classes=2, image_size=16)
    add_own_groups()
    with pytest.raises(DataError) as caught:
        open_images(read_config(compose("data=broken")).data)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# Untyped, since a type checker would refuse the mistakes.
AXIS: Any = register_axis
CHOICE: Any = partial(register_choice, like="batchnorm")
DATA: Any = partial(register_dataset, num_classes=2, image_size=8)
LOGGER: Any = register_logger
PLACE = Logger.__init__


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda: CHOICE("norm", "layernorm", silu), "layernorm exists already: name yours differently"),
        (lambda: CHOICE("norm", "groupnorm", silu), "groupnorm exists already: name yours differently"),
        (lambda: CHOICE("nrom", "mine", silu), "there is no axis nrom whose choices are names"),
        (lambda: CHOICE("norm", "mine", silu, like="bn"), "like='bn': there is no such choice. Allowed: batch"),
        (lambda: CHOICE("norm", "mine", silu, part="stm"), "part='stm': there is no such part. Allowed: None"),
        (lambda: CHOICE("norm", "a,b", silu), "'a,b' must be a name of letters, digits and underscores"),
        (lambda: CHOICE("norm", "mine", lambda: []), "give a function of (layers): <lambda>() can't be"),
        (lambda: AXIS("norm", {"a": silu}), "register_axis('norm'): norm exists already: name yours differently"),
        (lambda: AXIS("mine", {"none": silu}), "none exists already: name yours differently"),
        (lambda: AXIS("mine", {"a": "silu"}), "give a function of (layers), not 'silu'"),
        (lambda: DATA("digits", Pairs), "register_dataset('digits'): digits exists already"),
        (lambda: register_dataset("mine", Pairs, num_classes=2), "no value yet for image_size: give them, as in"),
        (lambda: DATA("mine", Pairs, size=2), "there is no value size. Allowed: root, num_classes, mean"),
        (lambda: DATA("mine", lambda a, b: a), "give a function of (data): <lambda>(a, b) can't be"),
        (lambda: LOGGER("wandb", Logger), "register_logger('wandb'): wandb exists already: name yours differently"),
        (lambda: LOGGER("other", object), "give a function of (spec, run, facts)"),
        (lambda: LOGGER("other", type("Bad", (), {"__init__": PLACE})), "log: give a function of (self, metrics)"),
    ],
)
def test_a_wrong_registration_is_one_line(register: Callable[[], None], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        register()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda layers: None, "model.stem=broken: <lambda> returned None: must return a list of layers"),
        (lambda layers: layers[1:], "and must keep 3 channels in, 16 out, stride 2"),
        (
            lambda layers: [*layers, Act("norm", layers[2].kind)],
            "model.stem=broken: <lambda> returned two layers named norm: ",
        ),
        (lambda layers: [*layers, Act("a.b", layers[2].kind)], "a layer named 'a.b': must be a name of letters"),
        (lambda layers: [*layers, Act("a_format", layers[2].kind)], "that does not end in _format"),
        (
            lambda layers: [*layers, Act("train", layers[2].kind)],
            "a layer is named train, as an attribute of torch",
        ),
    ],
)
def test_an_edit_that_returns_no_such_layers_is_one_line(edit: Any, message: str) -> None:
    register_choice("stem", "broken", edit, like="resnet", part="stem")
    add_own_groups()
    config = read_config(compose("model/stem=broken"))
    with pytest.raises(ConfigError) as caught:
        build(config.model, config.regime, None, config.data.image_size)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_axes_whose_layers_have_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's containers would keep the second one only."""

    def add(layers: list[Layer]) -> list[Layer]:
        return [*layers, OwnLayer("own", "own", 1, lambda _: nn.Identity())]

    for name in ("excite", "squeeze"):
        monkeypatch.setitem(NEUTRAL_VALUES, f"model.{name}", "none")  # which is undone after the test
        register_axis(name, {"on": add})
    add_own_groups()
    config = read_config(compose("model.excite=on", "model.squeeze=on"))
    expected = (
        r"model\.squeeze=on: add returned two layers named own: name yours .* Taken: conv1, norm1, act1, conv2"
    )
    with pytest.raises(ConfigError, match=expected):
        plan_network(config.model, config.regime)


@pytest.mark.parametrize("name", ["pairs", "imagenet"])  # a user's file, and one of this repository
def test_a_registered_config_that_has_a_file_too_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/pairs.yaml").write_text("name: pairs\n")
    if name == "imagenet":
        (tmp_path / "data/pairs.yaml").unlink()
        register_dataset(name, lambda _: (Pairs(6), Pairs(4)), num_classes=2, image_size=16)
    expected = rf"modules: json registered data={name}, and .*data/{name}\.yaml is of that name too: rename one"
    with pytest.raises(ConfigError, match=expected), use(SearchPath((str(tmp_path),), modules=("json",))):
        pass
