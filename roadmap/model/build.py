"""Builds the network of a configuration: a step of the roadmap or a timm reference."""

import torch
from torch import nn

from roadmap.model.layer_plan import check_image_size, needs_several_images
from roadmap.model.network import build_network
from roadmap.model.reference import build_reference
from roadmap.model.spec import ModelSpec, RegimeSpec


def build(
    model: ModelSpec, regime: RegimeSpec, reference: str | None, image_size: int, head_init_scale: float = 1.0
) -> nn.Module:
    """Build a network from images (N, 3, image_size, image_size) to logits (N, classes), on torch's default device.

    Args:
        head_init_scale: factor on the classifier's initial weights, for fine-tuning.

    Raises:
        ConfigError: the image is too small for the strides, timm has no such reference, or it can't take a value.
    """
    if reference is not None:
        network = build_reference(reference, model, image_size, regime.drop_path)
    else:
        check_image_size(model, regime, image_size)
        network = build_network(model, regime)
    if head_init_scale != 1:
        with torch.no_grad():
            for classifier in list_classifiers(network):
                for weight in classifier.parameters():
                    weight.mul_(head_init_scale)
    return network


def list_classifiers(network: nn.Module) -> tuple[nn.Module, ...]:
    """Return the classifiers of ours and of timm's models; distilled ones have two."""
    found = network.get_classifier()  # type: ignore[operator]
    return tuple(found) if isinstance(found, tuple | list | nn.ModuleList) else (found,)


def trains_on_one_image(model: ModelSpec, regime: RegimeSpec, reference: str | None, image_size: int) -> bool:
    """Return False if a BatchNorm would see a single value per channel in a micro-batch of one image."""
    if reference is None:
        return not needs_several_images(model, regime, image_size)
    with torch.device("meta"), torch.no_grad():
        network = build(model, regime, reference, image_size).train()
        try:
            network(torch.empty(1, 3, image_size, image_size))
        except ValueError as error:
            return "more than 1 value per channel" not in str(error)
        except RuntimeError:  # an operation without support for the meta device
            return True
    return True
