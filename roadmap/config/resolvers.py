"""Values of `conf/` that follow from others, as OmegaConf's resolvers."""

from functools import partial

from omegaconf import DictConfig, OmegaConf

READ_FROM_FOLDER = {"num_classes": "count_classes", "image_size": "fit_image_size"}  # resolver of each key
WARMUP_PART = 10  # of the epochs, if a recipe's own warm-up is longer than they are


def fit_warmup(warmup_epochs: float, epochs: object) -> float:
    """Return a recipe's warm-up; a tenth of the epochs if it would leave none of them."""
    if not isinstance(epochs, int | float):  # reported where recipe.epochs itself is read
        return warmup_epochs
    return warmup_epochs if warmup_epochs < epochs else round(epochs / WARMUP_PART, 2)


def read_fact(name: str, argument: object) -> object:
    """Return the value of a function of roadmap/data/inspect_folder.py."""
    from roadmap.data import inspect_folder  # imported here since most commands read no folder

    return getattr(inspect_folder, name)(argument)


def register_resolvers() -> None:
    """Register them once in a process."""
    OmegaConf.register_new_resolver("warmup", fit_warmup, replace=True)
    for name in ("fit_stem_stride", *READ_FROM_FOLDER.values()):
        OmegaConf.register_new_resolver(name, partial(read_fact, name), replace=True, use_cache=True)


def find_read(cfg: DictConfig) -> list[str]:
    """Return the overrides that give what was read from the folder, on which a recorded command must not depend."""
    written = OmegaConf.to_container(cfg.data, resolve=False)
    assert isinstance(written, dict)
    return [f"data.{key}={cfg.data[key]}" for key, name in READ_FROM_FOLDER.items() if name in str(written[key])]
