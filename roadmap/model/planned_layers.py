"""Layers, blocks and stages of a plan, as plain values. `layer_plan.py` creates them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from roadmap.model.spec import Activation, NormKind


@dataclass(frozen=True)
class Conv:
    """A convolution; padding keeps the size at stride 1, and is 0 for patches (kernel = stride)."""

    name: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    bias: bool | None = None  # None: yes, unless a BatchNorm follows, which would cancel it

    @property
    def has_bias(self) -> bool:
        """True unless the plan, or whoever wrote the layer, set it to False."""
        return self.bias is not False

    @property
    def padding(self) -> int:
        """Zeros added on each side, in positions."""
        return 0 if self.kernel == self.stride else self.kernel // 2

    @property
    def is_pointwise(self) -> bool:
        """True if the convolution is a linear map of each position's channels."""
        return self.kernel == self.stride == self.groups == 1

    @property
    def is_patchify(self) -> bool:
        """True if the convolution is a linear map of non-overlapping patches."""
        return self.kernel == self.stride > 1 and self.groups == 1

    @property
    def is_depthwise(self) -> bool:
        """True if each channel has its own filter."""
        return self.groups == self.in_channels == self.out_channels > 1


@dataclass(frozen=True)
class Norm:
    name: str
    kind: NormKind
    channels: int


@dataclass(frozen=True)
class Act:
    name: str
    kind: Activation


@dataclass(frozen=True)
class MaxPool:
    """3x3 max pooling with stride 2, as in ResNet's stem."""

    name: str


@dataclass(frozen=True)
class AvgPool:
    """2x2 average pooling with stride 2; at an odd border, over the pixels that exist."""

    name: str


@dataclass(frozen=True)
class Grn:
    """Global Response Normalization: x + gamma * x * norm(x) / mean norm + beta; the identity at its start."""

    name: str
    channels: int


@dataclass(frozen=True)
class Scale:
    """LayerScale: one learned factor per channel, initialized to `init`."""

    name: str
    channels: int
    init: float


@dataclass(frozen=True)
class OwnLayer:
    """A custom layer: `build(channels)` returns its module, which maps (N, C, H, W) to the same shape.

    The module keeps the weights that its constructor sets; `model.init` does not apply to it.
    """

    name: str  # in the state dict
    label: str  # in diagrams
    channels: int
    build: Callable[[int], Any]


FORMAT = "_format"  # ends the names of format changes between layers (layers.py), and of no layer
Layer = Conv | Norm | Act | MaxPool | AvgPool | Grn | Scale | OwnLayer


def output_channels(layers: Sequence[Layer]) -> int:
    """Return the channels of the last convolution's output."""
    return [layer.out_channels for layer in layers if isinstance(layer, Conv)][-1]


@dataclass(frozen=True)
class BlockPlan:
    """out = after(shortcut(x) + drop_path(branch(x))); an empty shortcut is the identity."""

    branch: tuple[Layer, ...]
    shortcut: tuple[Layer, ...]
    after: tuple[Layer, ...]
    drop_path: float  # probability that a sample's branch is dropped


@dataclass(frozen=True)
class StagePlan:
    downsample: tuple[Layer, ...]  # before the blocks; empty until step 12
    blocks: tuple[BlockPlan, ...]


@dataclass(frozen=True)
class NetworkPlan:
    """Stem, stages, global average pooling, the head's norm (if any) and the linear classifier."""

    stem: tuple[Layer, ...]
    stages: tuple[StagePlan, ...]
    head_norm: tuple[Layer, ...]
    features: int  # channels into the classifier
    num_classes: int
