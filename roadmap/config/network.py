"""Network of a composed configuration, and its cost; the only module of this package that imports torch."""

from omegaconf import DictConfig
from torch import nn

from roadmap.config.schema import read_config
from roadmap.model.build import build
from roadmap.model.cost import Cost, measure_cost


def build_model(cfg: DictConfig) -> nn.Module:
    """Build the network of a composed configuration: images (N, 3, H, W) to logits (N, classes).

    Reads no data; under `torch.device("meta")` it also uses no memory. Weights are drawn from torch's global
    generator. Loading `cfg.init_from` is left to the caller.

    >>> sum(p.numel() for p in roadmap.build_model(roadmap.compose("+roadmap=step12_downsample")).parameters())
    670714

    Raises:
        roadmap.errors.ConfigError: an unusable key, value or combination.
    """
    config = read_config(cfg)
    scale = config.recipe.head_init_scale
    return build(config.model, config.regime, config.reference, config.data.image_size, scale)


def count(cfg: DictConfig) -> Cost:
    """Count multiply-accumulates (1e9), parameters and activations of a network for one image.

    >>> cost = roadmap.count(roadmap.compose("+roadmap=step0_resnet", "regime=resnet50", "data=imagenet"))
    >>> round(cost.gmacs, 2), cost.parameters
    (4.09, 25557032)

    Raises:
        roadmap.errors.ConfigError: as build_model.
    """
    return measure_cost(lambda: build_model(cfg), cfg.data.image_size)
