"""Reference networks from timm, trained with the same recipe: Swin and any other."""

import difflib
import warnings

import timm
from torch import nn

from roadmap.errors import ConfigError
from roadmap.model.spec import ModelSpec


def build_reference(name: str, model: ModelSpec, image_size: int, regimes_drop_path: float) -> nn.Module:
    """Build timm's model `name` for images (N, 3, image_size, image_size), initialized by timm.

    Uses only the number of classes and the stochastic depth of `model`; the other axes do not apply.
    Warns if the model has no stochastic depth, and the recipe takes a rate from the regime, `regimes_drop_path`.

    Raises:
        ConfigError: timm has no such model, the model can't take this image size, or it has no stochastic depth for
            the rate that is asked for.
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
        network = _create(name, options)
    except (AssertionError, ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"{name} can't take images of {image_size} pixels: {error}") from error
    if model.drop_path > 0 and not any("DropPath" in type(module).__name__ for module in network.modules()):
        text = f"{name} has no stochastic depth, so recipe.drop_path={model.drop_path:g} has no effect"
        if model.drop_path != regimes_drop_path:
            raise ConfigError(f"{text}: leave it out, or give recipe.drop_path=0")
        warnings.warn(f"{text}: recipe.drop_path=0 records that", stacklevel=2)
    return network


def _create(name: str, options: dict[str, object]) -> nn.Module:
    try:
        return timm.create_model(name, **options)
    except TypeError:  # an old model, whose constructor takes no rate
        return timm.create_model(name, **{key: value for key, value in options.items() if key != "drop_path_rate"})
