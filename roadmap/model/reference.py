"""Reference networks from timm, trained with the same recipe: Swin and any other."""

import difflib

import timm
from torch import nn

from roadmap.errors import ConfigError
from roadmap.model.spec import ModelSpec


def build_reference(name: str, model: ModelSpec, image_size: int) -> nn.Module:
    """Build timm's model `name` for images (N, 3, image_size, image_size), initialized by timm.

    Uses only the number of classes and the stochastic depth of `model`; the other axes do not apply.

    Raises:
        ConfigError: timm has no such model, or the model can't take this image size.
    """
    if not timm.is_model(name):
        known = timm.list_models()
        close = difflib.get_close_matches(name, known, n=5) or [m for m in known if m.startswith(name[:5])][:5]
        raise ConfigError(f"timm has no model {name!r}; the closest are: {', '.join(close) or 'none'}")
    options: dict[str, object] = {"num_classes": model.num_classes, "drop_path_rate": model.drop_path}
    try:
        pretrained = timm.get_pretrained_cfg(name)
        if pretrained is not None and pretrained.fixed_input_size:
            options["img_size"] = image_size
        return timm.create_model(name, **options)
    except TypeError:  # an old model without stochastic depth
        del options["drop_path_rate"]
        return timm.create_model(name, **options)
    except (AssertionError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"{name} can't take images of {image_size} pixels: {error}") from error
