"""Differences between a configuration and the step that it is based on."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from roadmap.config.compose import compose
from roadmap.config.file_cache import file_cached
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.roadmaps import DEFAULT, value_text
from roadmap.config.search_path import SearchPath, current, find_config, quote, use

NO_DESIGN = ("form",)  # the implementation of a block, not its function


def find_variant(cfg: DictConfig) -> dict[str, str]:
    """Return the overrides on top of a step, such as {"kernel_size": "9"}; empty for the step itself.

    These are of the network, and of settings that the step's roadmap changes, such as recipe.mixup. Other values
    from regime, data and recipe are no variant: they are the same for all steps.
    """
    if cfg.reference is not None:
        return {}
    settings = load_roadmap(cfg.step.roadmap).setting_axes
    base, own = _read_step(current(), find_base(cfg), settings), _read_values(cfg, settings)
    return {key: value_text(value) for key, value in own.items() if value != base.get(key, value)}


def find_base(cfg: DictConfig) -> str | None:
    """Return the step of a configuration, by its name or Hydra's choice; None for the plain network."""
    folder = "" if cfg.step.roadmap == DEFAULT else f"{cfg.step.roadmap}/"
    if find_config(f"roadmap/{folder}{cfg.step.name}") is not None:
        return f"{folder}{cfg.step.name}"
    choices = cfg.hydra.runtime.choices if "hydra" in cfg else {}
    return choices.get("roadmap")


def find_step_file(cfg: DictConfig) -> Path | None:
    """Return the file of a configuration's step, as Hydra chose it; None for a reference and the plain network."""
    if cfg.reference is not None:
        return None
    chosen = cfg.hydra.runtime.choices.get("roadmap") if "hydra" in cfg else None
    step = chosen or find_base(cfg)
    return None if step is None else find_config(f"roadmap/{step.partition(',')[0]}")


@file_cached
def _read_step(search_path: SearchPath, step: str | None, settings: tuple[str, ...]) -> dict[str, Any]:
    with use(search_path):
        return _read_values(compose(*([] if step is None else [f"+roadmap={quote(step)}"])), settings)


def _read_values(cfg: DictConfig, settings: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of the network, and those of `settings`; of a group, its name."""
    model = OmegaConf.to_container(cfg.model)
    assert isinstance(model, dict)
    keys = {axis: axis if "." in axis else f"{axis}.name" for axis in settings}
    found = {axis: OmegaConf.select(cfg, key) for axis, key in keys.items()}
    return {str(key): value for key, value in model.items() if key not in NO_DESIGN} | found
