"""Differences between a configuration and the step that it is based on."""

from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from roadmap.config.compose import compose
from roadmap.config.search_path import SearchPath, current, find_config, quote, use

NO_DESIGN = ("form",)  # the implementation of a block, not its function


def find_variant(cfg: DictConfig) -> dict[str, str]:
    """Return the design overrides on top of a step, such as {"kernel_size": "9"}; empty for the step itself.

    Values from regime, data and recipe are no variant: they are the same for all steps.
    """
    if cfg.reference is not None:
        return {}
    step, own = _model_values(current(), find_base(cfg)), OmegaConf.to_container(cfg.model)
    assert isinstance(own, dict)
    differing = [
        str(key) for key, value in own.items() if key not in NO_DESIGN and value != step.get(str(key), value)
    ]
    return {key: "null" if cfg.model[key] is None else str(cfg.model[key]) for key in differing}


def find_base(cfg: DictConfig) -> str | None:
    """Return the step of a configuration, by its name or Hydra's choice; None for the plain network."""
    if find_config(f"roadmap/{cfg.step.name}") is not None:
        return str(cfg.step.name)
    choices = cfg.hydra.runtime.choices if "hydra" in cfg else {}
    return choices.get("roadmap")


@cache
def _model_values(search_path: SearchPath, step: str | None) -> dict[str, Any]:
    with use(search_path):
        values = OmegaConf.to_container(compose(*([] if step is None else [f"+roadmap={quote(step)}"])).model)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
