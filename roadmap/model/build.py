"""The network that a configuration names: a step of the roadmap, or a reference beside it."""

import torch
from torch import nn

from roadmap.errors import ConfigError
from roadmap.model.network import build_network
from roadmap.model.reference import build_reference
from roadmap.model.spec import ModelSpec, RegimeSpec

CPU = torch.device("cpu")


def build(
    model: ModelSpec, regime: RegimeSpec, reference: str | None, image_size: int, device: torch.device = CPU
) -> nn.Module:
    """Images (N, 3, image_size, image_size) to logits (N, classes), on torch's default device,
    with blocks in the form that suits `device`, on which it is to run.

    Raises:
        ConfigError: the strides reduce the image to nothing, or timm has no such reference.
    """
    if reference is not None:
        return build_reference(reference, model, image_size)
    check_image_size(model, image_size)
    return build_network(model, regime, device)


def check_image_size(model: ModelSpec, image_size: int) -> None:
    """Refuses images that the stem, or the 2x2 downsampling of step 12, reduce to nothing.

    Raises:
        ConfigError: with the size after each stage.
    """
    sizes = [stem_output(model, image_size)]
    for _ in range(3):
        sizes.append(sizes[-1] // 2 if model.downsample == "separate" else (sizes[-1] + 1) // 2)
    if min(sizes) < 1:
        stages = ", ".join(map(str, sizes))
        raise ConfigError(
            f"data.image_size={image_size} with model.stem_stride={model.stem_stride}: the four stages would "
            f"see {stages} pixels; enlarge the image or lower the stride of the stem (4, 2 or 1)"
        )


def stem_output(model: ModelSpec, image_size: int) -> int:
    """Height and width of the first stage's map, in pixels."""
    if model.stem == "patchify":
        return image_size // model.stem_stride
    return -(-image_size // model.stem_stride)  # padded convolutions round up
