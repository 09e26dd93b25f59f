"""Modules for the layers of a plan, in two equivalent forms, with LayerNorm for both data formats.

A block's branch can run as convolutions on (N, C, H, W), or with its 1x1 convolutions and LayerNorms as
linear maps on (N, H, W, C), as in the released ConvNeXt. Outputs, gradients and state dicts are equal. With
channels_last memory the format changes are views.

The linear form is the default: it was never slower by more than 2% and up to 26% faster (benchmarks/README.md).
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import zip_longest

import torch.nn.functional as F
from timm.layers import LayerScale, LayerScale2d
from timm.layers.grn import GlobalResponseNorm
from torch import Tensor, nn

from roadmap.errors import ConfigError
from roadmap.model.ops.depthwise import DepthwiseConv2d
from roadmap.model.ops.layer_norm import LayerNorm, LayerNorm2d
from roadmap.model.ops.patchify import PatchConv2d
from roadmap.model.planned_layers import FORMAT, Act, AvgPool, Conv, Grn, Layer, MaxPool, Norm, OwnLayer, Scale
from roadmap.model.spec import Activation, Form, NormKind

OWN = "keeps_initialization"  # attribute of a module that an OwnLayer built
LAYER_NORM_EPS = 1e-6  # the released code's; torch's default is 1e-5


class PointwiseLinear(nn.Conv2d):
    """A 1x1 convolution computed as a linear map on (N, H, W, C); parameters are the convolution's."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.flatten(1), self.bias)


class ToChannelsLast(nn.Module):
    """(N, C, H, W) to (N, H, W, C), as a view."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class ToChannelsFirst(nn.Module):
    """(N, H, W, C) to (N, C, H, W), as a view."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


def build_layers(layers: Sequence[Layer], form: Form = Form.conv) -> nn.Sequential:
    """Build a sequence from (N, C, H, W) to (N, C', H', W') whose modules are named as in the plan.

    In the linear form, a format change precedes each layer that needs the other format. It has no parameters,
    so the state dict is the same.

    Raises:
        ConfigError: a layer has no module, or its name cannot be a module's.
    """
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    container = nn.Sequential()
    is_channels_last = False
    for layer, following in zip_longest(layers, layers[1:]):
        wants_channels_last = _wants_channels_last(layer, is_channels_last, form)
        if wants_channels_last != is_channels_last:
            modules[f"{layer.name}{FORMAT}"] = ToChannelsLast() if wants_channels_last else ToChannelsFirst()
            is_channels_last = wants_channels_last
        if hasattr(container, layer.name):
            raise ConfigError(f"a layer is named {layer.name}, as an attribute of torch's modules: rename it")
        modules[layer.name] = build_layer(layer, is_channels_last, isinstance(following, Conv))
    if is_channels_last:
        modules[f"out{FORMAT}"] = ToChannelsFirst()
    return nn.Sequential(modules)


def build_layer(layer: Layer, is_channels_last: bool = False, before_convolution: bool = False) -> nn.Module:
    """Build the module of one layer, for (N, H, W, C) if `is_channels_last`, else for (N, C, H, W)."""
    match layer:
        case Conv() if layer.is_depthwise:
            return DepthwiseConv2d(layer.in_channels, layer.kernel, layer.stride, layer.padding, layer.has_bias)
        case Conv() if layer.is_patchify:
            return PatchConv2d(layer.in_channels, layer.out_channels, layer.kernel, layer.has_bias)
        case Conv():
            kind = PointwiseLinear if is_channels_last else nn.Conv2d
            return kind(
                layer.in_channels,
                layer.out_channels,
                layer.kernel,
                layer.stride,
                layer.padding,
                groups=layer.groups,
                bias=layer.has_bias,
            )
        case Norm(kind=NormKind.layernorm):
            norm = LayerNorm if is_channels_last else LayerNorm2d
            return norm(layer.channels, LAYER_NORM_EPS, before_convolution)
        case Norm(kind=NormKind.batchnorm):
            return nn.BatchNorm2d(layer.channels)
        case Scale():
            scale = LayerScale if is_channels_last else LayerScale2d
            return scale(layer.channels, init_values=layer.init)
        case Act(kind=Activation.gelu):
            return nn.GELU()
        case Act(kind=Activation.relu):
            return nn.ReLU(inplace=True)
        case MaxPool():
            return nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        case AvgPool():
            return nn.AvgPool2d(kernel_size=2, stride=2, ceil_mode=True, count_include_pad=False)
        case Grn():
            return GlobalResponseNorm(layer.channels, channels_last=is_channels_last)
        case OwnLayer():
            module: nn.Module = layer.build(layer.channels)
            setattr(module, OWN, True)
            return module
    raise ConfigError(f"{layer}: roadmap/model/layers.py has no module for it yet")


def _wants_channels_last(layer: Layer, is_channels_last: bool, form: Form) -> bool:
    match layer:
        case _ if form is Form.conv:
            return False
        case Conv():
            return layer.is_pointwise
        case Norm():
            return layer.kind is NormKind.layernorm
        case Act() | Grn() | Scale():
            return is_channels_last  # works in either format
        case MaxPool() | AvgPool() | OwnLayer():
            return False
