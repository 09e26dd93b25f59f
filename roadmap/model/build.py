"""Building the network that a configuration names: a step of the roadmap or a timm reference."""

from torch import nn

from roadmap.model.network import build_network
from roadmap.model.plan import check_image_size
from roadmap.model.reference import build_reference
from roadmap.model.spec import ModelSpec, RegimeSpec


def build(model: ModelSpec, regime: RegimeSpec, reference: str | None, image_size: int) -> nn.Module:
    """Build a network from images (N, 3, image_size, image_size) to logits (N, classes), on torch's default device.

    Raises:
        ConfigError: the strides reduce the image to nothing, or timm has no such reference.
    """
    if reference is not None:
        return build_reference(reference, model, image_size)
    check_image_size(model, regime, image_size)
    return build_network(model, regime)
