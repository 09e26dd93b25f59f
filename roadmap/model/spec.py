"""Design choices of the roadmap, one field per axis, and the sizes (regimes) of its networks.

Each axis is a config group under `conf/model/`; its members are the file names there.
"""

from dataclasses import dataclass
from enum import StrEnum

from roadmap.errors import ConfigError

STEM_STRIDES = (4, 2, 1)


class StageRatio(StrEnum):
    """Distribution of the blocks over the stages (section 2.2)."""

    resnet = "resnet"
    modern = "modern"


class Stem(StrEnum):
    """First layers, from the image to the first feature map (section 2.2)."""

    resnet = "resnet"
    patchify = "patchify"
    deep = "deep"  # three 3x3 convolutions in place of the 7x7 one (ResNet-C, arXiv 1812.01187)


class SpatialConv(StrEnum):
    """Kind of the k x k convolution: dense mixes channels, depthwise does not (section 2.3)."""

    dense = "dense"
    depthwise = "depthwise"


class Width(StrEnum):
    """Number of channels of the first stage (section 2.3)."""

    resnet = "resnet"
    modern = "modern"


class BlockShape(StrEnum):
    """Shape of the block: narrow (bottleneck) or wide (inverted) in the middle (section 2.4)."""

    bottleneck = "bottleneck"
    inverted = "inverted"


class Position(StrEnum):
    """Position of the k x k convolution among the 1x1 convolutions (section 2.5)."""

    middle = "middle"
    first = "first"


class Activation(StrEnum):
    """The nonlinearity (section 2.6)."""

    relu = "relu"
    gelu = "gelu"


class Count(StrEnum):
    """Number of norms or activations per block: all that ResNet has, or one (section 2.6)."""

    all = "all"
    one = "one"


class NormKind(StrEnum):
    """Kind of normalization layer (section 2.6)."""

    batchnorm = "batchnorm"
    layernorm = "layernorm"


class Downsample(StrEnum):
    """Place of stride 2: inside the first block of a stage, or in a separate layer (section 2.6)."""

    block = "block"
    separate = "separate"


class ResponseNorm(StrEnum):
    """Normalization of the channels' responses before a block's last convolution (arXiv 2301.00808, sec. 3.3)."""

    none = "none"
    grn = "grn"  # Global Response Normalization, as in ConvNeXt V2


class StrideConv(StrEnum):
    """Convolution of a block that has the stride: the k x k one, or the block's first (He et al., 1512.03385)."""

    spatial = "spatial"
    first = "first"


class Shortcut(StrEnum):
    """Stride of a shortcut's projection: in its 1x1 convolution, or in an average pool (arXiv 1812.01187)."""

    conv = "conv"
    avgpool = "avgpool"


class Form(StrEnum):
    """Implementation of a block; the linear one was faster where measured (layers.py)."""

    conv = "conv"
    linear = "linear"


class Init(StrEnum):
    """Initialization of the weights; part of the recipe (table in network.py)."""

    trunc_normal = "trunc_normal"
    fan_in = "fan_in"
    torchvision = "torchvision"


@dataclass(frozen=True)
class ModelSpec:
    """One network of the roadmap, for any regime."""

    stage_ratio: StageRatio
    stem: Stem
    conv: SpatialConv
    width: Width
    block: BlockShape
    position: Position
    kernel_size: int  # side of the spatial convolution's kernel, odd (section 2.5)
    activation: Activation
    activation_count: Count
    norm_count: Count
    norm: NormKind
    downsample: Downsample
    num_classes: int  # number of classes of the dataset
    stem_stride: int  # total stride of the stem: 4 as in the paper, 2 or 1 for small images
    layer_scale_init: float | None  # of the residual branch; the paper's recipe has 1e-6 (table 5)
    drop_path: float  # stochastic depth of the last block; rises linearly from 0 at the first (table 5)
    init: Init
    form: Form
    # Axes of later roadmaps. The default is what networks had before the axis existed, also for their hash
    # (NEUTRAL_VALUES in roadmap/runs/config_hash.py).
    response_norm: ResponseNorm = ResponseNorm.none
    stride_conv: StrideConv = StrideConv.spatial
    shortcut: Shortcut = Shortcut.conv

    def __post_init__(self) -> None:
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ConfigError(f"model.kernel_size={self.kernel_size}: must be odd, such as 3, 5, 7, 9 or 11")
        if self.stem_stride not in STEM_STRIDES:
            raise ConfigError(f"model.stem_stride={self.stem_stride}: must be 4, 2 or 1")
        if self.num_classes < 1:
            raise ConfigError(f"model.num_classes={self.num_classes}: must be at least 1")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"model.drop_path={self.drop_path}: must be at least 0 and below 1")


@dataclass(frozen=True)
class Depths:
    """Blocks in each stage, by `stage_ratio`: four stages as in the paper, or three for small images."""

    resnet: tuple[int, ...]
    modern: tuple[int, ...]

    def __post_init__(self) -> None:
        for name, depths in (("resnet", self.resnet), ("modern", self.modern)):
            if len(depths) not in (3, 4) or min(depths) < 1:
                raise ConfigError(f"regime.depths.{name}={depths}: must be three or four numbers of at least 1")
        if len(self.resnet) != len(self.modern):
            raise ConfigError(
                f"regime.depths.resnet={self.resnet} and modern={self.modern}: must have the same number of stages"
            )


@dataclass(frozen=True)
class Widths:
    """Channels of the first stage; each further stage doubles them."""

    resnet: int  # width=resnet under stage_ratio=resnet
    stage_ratio: int  # width=resnet under stage_ratio=modern: 84 for ResNet-200 (table 11)
    modern: int  # width=modern

    def __post_init__(self) -> None:
        # oneDNN (up to 3.12, in torch up to 2.14) writes out of bounds in the backward pass of a strided 1x1
        # convolution of fewer than 8 channels in channels_last: uxlfoundation/oneDNN issue 6035.
        if min(self.resnet, self.stage_ratio, self.modern) < 8:
            raise ConfigError(f"regime.width={self}: each must be at least 8")


@dataclass(frozen=True)
class RegimeSpec:
    """A size at which the whole roadmap is run: the values of "modern depths" and "modern width"."""

    name: str
    depths: Depths
    width: Widths
    drop_path: float  # as in the paper's recipe for this regime (table 5)
