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
    """The network of a composed configuration, images (N, 3, H, W) to logits (N, classes).

    Touches no data; under `torch.device("meta")` it takes no memory either. Weights are drawn from torch's
    global generator. `cfg.init_from` is left to the caller.

    Raises:
        roadmap.errors.ConfigError: a key, value or combination that cannot be used.
    """
    from roadmap.config import read_config  # torch takes seconds to import; composing should not
    from roadmap.model.build import build

    config = read_config(cfg)
    return build(config.model, config.regime, config.reference, config.data.image_size)
