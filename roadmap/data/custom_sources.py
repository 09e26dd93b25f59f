"""Data sets registered by a user's Python module: the function that opens them, and the values of `data=NAME`."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from roadmap.data.spec import DataSpec, Source
from roadmap.errors import ConfigError
from roadmap.system.registration import check_function, check_name

OpenParts = Callable[[DataSpec], tuple[Any, Any]]
REQUIRED = ("num_classes", "image_size")
DEFAULTS: dict[str, Any] = {
    "root": None,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "stem_stride": 4,
    "crop_pct": 1.0,
    "interpolation": "bicubic",
    "on_error": "raise",
    "cache": None,
    "holdout": 0,
    "mirror": True,
    "note": None,
}


@dataclass(frozen=True)
class CustomSource:
    open_parts: OpenParts
    values: dict[str, Any]  # of the group data


SOURCES: dict[str, CustomSource] = {}


def register_dataset(name: str, open_parts: OpenParts, **values: Any) -> None:
    """Register a data set for `data=NAME`.

    Args:
        name: of the data set, and of its `data.source`.
        open_parts: a function from the run's DataSpec to the training and the validation images. Each is a pair of
            arrays, uint8 (N, H, W, 3) or (N, H, W) and class indices (N,); or has a length, and by index an image
            (Pillow's, or such an array) and its class index, as torchvision's data sets. If a part has `classes`,
            they are the names of the classes; if it has `targets`, the class indices need no reading of images.
        values: of the group `data`, as in conf/data/digits.yaml: num_classes and image_size, and any other.

    Raises:
        ConfigError: the name is taken, a value is missing or unknown, or open_parts does not take a DataSpec.
    """
    call = f"register_dataset({name!r})"
    check_name(call, name, {*Source, *SOURCES})
    check_function(call, open_parts, "data")
    known = [field.name for field in fields(DataSpec) if field.name not in ("name", "source")]
    for key in values:
        if key not in known:
            raise ConfigError(f"{call}: there is no value {key}. Allowed: {', '.join(known)}")
    if missing := [key for key in REQUIRED if key not in values]:
        raise ConfigError(f"{call}: no value yet for {' and '.join(missing)}: give them, as in {missing[0]}=10")
    SOURCES[name] = CustomSource(open_parts, {"name": name, "source": name, **DEFAULTS, **values})
