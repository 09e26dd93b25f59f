"""The modernization roadmap of "A ConvNet for the 2020s": every step from ResNet to ConvNeXt.

>>> import roadmap
>>> cfg = roadmap.compose("+roadmap=step5_inverted", "regime=resnet50", "data=imagenet")
>>> model = roadmap.build_model(cfg)
"""

from typing import TYPE_CHECKING

from roadmap.config import compose

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import nn

__all__ = ["__version__", "build_model", "compose"]
__version__ = "0.1.0"


def build_model(cfg: "DictConfig") -> "nn.Module":
    """Build the network of a composed configuration: images (N, 3, H, W) to logits (N, classes).

    Reads no data; under `torch.device("meta")` it also uses no memory. Weights are drawn from torch's global
    generator. Loading `cfg.init_from` is left to the caller.

    Raises:
        roadmap.errors.ConfigError: an unusable key, value or combination.
    """
    from roadmap.config import read_config  # torch takes seconds to import, which compose() does not need
    from roadmap.model.build import build

    config = read_config(cfg)
    return build(config.model, config.regime, config.reference, config.data.image_size)
