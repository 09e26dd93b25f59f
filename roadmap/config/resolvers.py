"""Values of `conf/` that follow from others, as OmegaConf's resolvers."""

from omegaconf import DictConfig, OmegaConf

WARMUP_PART = 10  # of the epochs, if a recipe's own warm-up is longer than they are


def fit_warmup(warmup_epochs: float, epochs: object) -> float:
    """Return a recipe's warm-up; a tenth of the epochs if it would leave none of them."""
    if not isinstance(epochs, int | float):  # reported where recipe.epochs itself is read
        return warmup_epochs
    return warmup_epochs if warmup_epochs < epochs else round(epochs / WARMUP_PART, 2)


def count_classes(root: str) -> int:
    """See roadmap/data/folder_facts.py."""
    from roadmap.data.folder_facts import count_classes

    return count_classes(root)


def register_resolvers() -> None:
    """Register them once in a process."""
    OmegaConf.register_new_resolver("warmup", fit_warmup, replace=True)
    OmegaConf.register_new_resolver("count_classes", count_classes, replace=True)


def find_counted(cfg: DictConfig) -> list[str]:
    """Return the overrides that give what was counted here, for a command that must not depend on the folder."""
    written = OmegaConf.to_container(cfg.data, resolve=False)
    is_counted = isinstance(written, dict) and "count_classes" in str(written["num_classes"])
    return [f"data.num_classes={cfg.data.num_classes}"] if is_counted else []
