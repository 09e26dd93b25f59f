"""Plans a network: the list of its layers from the design choices. The steps of the roadmap differ only here.

`plan_network` is a pure function and needs no torch, so a plan can be printed, compared, drawn and tested.
`network.py` builds modules from it. `c` is the number of channels into a block, `w` the stage's width, `o` the
channels out, `k` the kernel size.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from roadmap.errors import ConfigError
from roadmap.model.custom_axes import edit_for_axes, edit_for_choices, without_custom_choices
from roadmap.model.planned_layers import (
    Act,
    AvgPool,
    BlockPlan,
    Conv,
    Grn,
    Layer,
    MaxPool,
    NetworkPlan,
    Norm,
    Scale,
    StagePlan,
)
from roadmap.model.spec import (
    BlockShape,
    Count,
    Downsample,
    ModelSpec,
    NormKind,
    Position,
    RegimeSpec,
    ResponseNorm,
    Shortcut,
    SpatialConv,
    StageRatio,
    Stem,
    StrideConv,
    Width,
)

EXPANSION = 4  # of both block shapes: a bottleneck has 4w channels out, an inverted one 4o inside
IMAGE_CHANNELS = 3


def plan_network(model: ModelSpec, regime: RegimeSpec) -> NetworkPlan:
    """Return all layers of the network with the choices of `model` at the size of `regime`.

    Raises:
        ConfigError: a registered function does not return layers, or changes the part's channels or stride.
    """
    base = without_custom_choices(model)
    plan = _plan_roadmap(base, regime)
    if base != model:
        plan = _edit_parts(plan, lambda layers, part: tuple(edit_for_choices(list(layers), model, part)))
    return _edit_parts(plan, lambda layers, _: _set_biases(layers))


def _plan_roadmap(model: ModelSpec, regime: RegimeSpec) -> NetworkPlan:
    """Plan a network with built-in choices and registered axes."""
    depths = regime.depths.resnet if model.stage_ratio is StageRatio.resnet else regime.depths.modern
    width = _first_width(model, regime)
    blocks_in_all = sum(depths)
    # stochastic depth rises linearly from 0 at the first block
    rates = (model.drop_path * i / max(blocks_in_all - 1, 1) for i in range(blocks_in_all))
    channels = width  # out of the stem
    stages = []
    for index, depth in enumerate(depths):
        stage_width = width * 2**index
        out = stage_width * (EXPANSION if model.block is BlockShape.bottleneck else 1)
        stride = 2 if index > 0 else 1
        downsample: tuple[Layer, ...] = ()
        if index > 0 and model.downsample is Downsample.separate:
            downsample = (Norm("norm", model.norm, channels), Conv("conv", channels, out, kernel=2, stride=2))
            channels, stride = out, 1
        blocks = []
        for _ in range(depth):
            blocks.append(_plan_block(model, channels, stage_width, out, stride, next(rates)))
            channels, stride = out, 1
        stages.append(StagePlan(downsample, tuple(blocks)))
    head_norm = (Norm("norm", model.norm, channels),) if model.downsample is Downsample.separate else ()
    return NetworkPlan(_plan_stem(model, width), tuple(stages), head_norm, channels, model.num_classes)


def _edit_parts(plan: NetworkPlan, change: Callable[[tuple[Layer, ...], str], tuple[Layer, ...]]) -> NetworkPlan:
    """Return the plan with a change of the layers of every part that has some."""

    def edit(layers: tuple[Layer, ...], part: str) -> tuple[Layer, ...]:
        return change(layers, part) if layers else ()

    def edit_block(block: BlockPlan) -> BlockPlan:
        branch, shortcut = edit(block.branch, "branch"), edit(block.shortcut, "shortcut")
        return BlockPlan(branch, shortcut, edit(block.after, "after"), block.drop_path)

    stages = (
        StagePlan(edit(stage.downsample, "downsample"), tuple(map(edit_block, stage.blocks)))
        for stage in plan.stages
    )
    stem, head_norm = edit(plan.stem, "stem"), edit(plan.head_norm, "head")
    return replace(plan, stem=stem, stages=tuple(stages), head_norm=head_norm)


def check_image_size(model: ModelSpec, regime: RegimeSpec, image_size: int) -> None:
    """Check that the image is large enough for the stem and for the 2x2 downsampling of step 12.

    Raises:
        ConfigError: a stage would see no pixels; the message has the size after each stage.
    """
    sizes = _stage_sizes(model, regime, image_size)
    if min(sizes) < 1:
        stages = ", ".join(map(str, sizes))
        raise ConfigError(
            f"data.image_size={image_size} with model.stem_stride={model.stem_stride}: the {len(sizes)} stages "
            f"would see {stages} pixels; enlarge the image or lower the stride of the stem (4, 2 or 1)"
        )


def needs_several_images(model: ModelSpec, regime: RegimeSpec, image_size: int) -> bool:
    """Return True if a BatchNorm sees a 1x1 map, which has no variance for a single image.

    The smallest map that is normalized is the last stage's, or in step 12 the pooled one before the classifier.
    """
    if model.norm is not NormKind.batchnorm:
        return False
    return model.downsample is Downsample.separate or _stage_sizes(model, regime, image_size)[-1] == 1


def _stage_sizes(model: ModelSpec, regime: RegimeSpec, image_size: int) -> list[int]:
    """Return height and width of each stage's map, in pixels."""
    model = without_custom_choices(model)
    stem_padding = 0 if model.stem is Stem.patchify else model.stem_stride - 1  # padded convolutions round up
    padding = 0 if model.downsample is Downsample.separate else 1
    sizes = [(image_size + stem_padding) // model.stem_stride]
    for _ in regime.depths.resnet[1:]:
        sizes.append((sizes[-1] + padding) // 2)
    return sizes


def _first_width(model: ModelSpec, regime: RegimeSpec) -> int:
    if model.width is Width.modern:
        return regime.width.modern
    return regime.width.resnet if model.stage_ratio is StageRatio.resnet else regime.width.stage_ratio


def _plan_stem(model: ModelSpec, width: int) -> tuple[Layer, ...]:
    """Plan a stem of total stride 4, 2 or 1; a patch has the stride's size (4x4, 2x2, 1x1).

    ResNet's stem has no pool at stride 2, and at stride 1 its convolution is 3x3, as He et al. do on CIFAR-10
    (section 4.2 of arXiv 1512.03385). The deep stem's first two convolutions have half the width.
    """
    stride = model.stem_stride
    if model.stem is Stem.patchify:
        layers: list[Layer] = [Conv("conv", IMAGE_CHANNELS, width, kernel=stride, stride=stride)]
    elif model.stem is Stem.deep:
        channels = (IMAGE_CHANNELS, width // 2, width // 2, width)
        layers = []
        for number, (c, o) in enumerate(pairwise(channels), start=1):
            conv_stride = 2 if number == 1 and stride > 1 else 1
            layers += [
                Conv(f"conv{number}", c, o, kernel=3, stride=conv_stride),
                Norm(f"norm{number}", model.norm, o),
                Act(f"act{number}", model.activation),
            ]
    else:
        kernel, conv_stride = (3, 1) if stride == 1 else (7, 2)
        layers = [
            Conv("conv", IMAGE_CHANNELS, width, kernel=kernel, stride=conv_stride),
            Norm("norm", model.norm, width),
            Act("act", model.activation),
        ]
    if model.stem is not Stem.patchify and stride == 4:
        layers.append(MaxPool("pool"))
    if model.downsample is Downsample.separate:
        layers.append(Norm("out_norm", model.norm, width))
    return tuple(edit_for_axes(layers, model, "stem"))


def _plan_block(model: ModelSpec, c: int, w: int, o: int, stride: int, drop_path: float) -> BlockPlan:
    convs = _plan_convs(model, c, w, o, stride)
    branch: list[Layer] = []
    for index, conv in enumerate(convs, start=1):
        is_last = index == len(convs)
        is_spatial = conv.name == "spatial"
        branch.append(replace(conv, name=f"conv{index}"))
        if model.norm_count is Count.all or is_spatial:
            branch.append(Norm(f"norm{index}", model.norm, conv.out_channels))
        # "all": an activation after each convolution, the last one after the addition. "one": before the
        # projection, which is "between the two 1x1 convs" for either position of the spatial convolution.
        is_before_projection = index == len(convs) - 1
        if not is_last and (model.activation_count is Count.all or is_before_projection):
            branch.append(Act(f"act{index}", model.activation))
        if is_before_projection and model.response_norm is ResponseNorm.grn:
            branch.append(Grn("grn", conv.out_channels))
    if model.layer_scale_init is not None:
        branch.append(Scale("layer_scale", o, model.layer_scale_init))
    after = (Act("act", model.activation),) if model.activation_count is Count.all else ()
    branch = edit_for_axes(branch, model, "branch")
    return BlockPlan(tuple(branch), _plan_shortcut(model, c, o, stride), after, drop_path)


def _plan_convs(model: ModelSpec, c: int, w: int, o: int, stride: int) -> tuple[Conv, Conv, Conv]:
    """Plan the three convolutions of a block, in their order.

    At position=first (steps 6 to 12), the spatial convolution has c channels and the hidden dimension is 4o. With
    4c, or with a depthwise convolution that widens c to o, the count differs from the paper's (3.81 and 4.24 GFLOPs
    instead of 4.07).
    """
    hidden = w if model.block is BlockShape.bottleneck else EXPANSION * o
    spatial_channels = c if model.position is Position.first else hidden
    into_stride = stride if model.stride_conv is StrideConv.first and model.position is Position.middle else 1
    spatial = Conv(
        "spatial",
        spatial_channels,
        spatial_channels,
        kernel=model.kernel_size,
        stride=stride // into_stride,
        groups=spatial_channels if model.conv is SpatialConv.depthwise else 1,
    )
    into, out = Conv("into", c, hidden, kernel=1, stride=into_stride), Conv("out", hidden, o, kernel=1)
    return (spatial, into, out) if model.position is Position.first else (into, spatial, out)


def _plan_shortcut(model: ModelSpec, c: int, o: int, stride: int) -> tuple[Layer, ...]:
    """Plan the identity if the sizes agree, else a 1x1 convolution with a norm.

    The projection keeps its norm from step 0 until step 12 removes the projection. A bottleneck with separate
    downsampling keeps one projection, from w to 4w in the first block of the first stage.
    """
    if stride == 1 and c == o:
        return ()
    pool: list[Layer] = []
    if model.shortcut is Shortcut.avgpool and stride > 1:
        pool, stride = [AvgPool("pool")], 1
    return (*pool, Conv("conv", c, o, kernel=1, stride=stride), Norm("norm", model.norm, o))


def _set_biases(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Give each convolution a bias, unless a BatchNorm follows it, which would cancel the bias.

    Step 0 then has ResNet's parameters and step 12 ConvNeXt's. A registered function may decide otherwise.
    """
    result: list[Layer] = []
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, Conv) and layer.bias is None:
            is_cancelled = isinstance(following, Norm) and following.kind is NormKind.batchnorm
            layer = replace(layer, bias=not is_cancelled)
        result.append(layer)
    return tuple(result)
