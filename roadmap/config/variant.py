"""Differences between a configuration and the step that it is based on."""

from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from roadmap.config.compose import CONF_DIR, compose

NO_DESIGN = ("form",)  # the implementation of a block, not its function


def find_variant(cfg: DictConfig) -> dict[str, str]:
    """Return the design overrides on top of a step, such as {"kernel_size": "9"}; empty for the step itself.

    Values from regime, data and recipe are no variant: they are the same for all steps.
    """
    if cfg.reference is not None:
        return {}
    step, own = _model_values(cfg.step.name), OmegaConf.to_container(cfg.model)
    assert isinstance(own, dict)
    return {
        str(key): "null" if value is None else str(value)
        for key, value in own.items()
        if key not in NO_DESIGN and value != step.get(str(key), value)
    }


@cache
def _model_values(step: str) -> dict[str, Any]:
    has_file = (CONF_DIR / "roadmap" / f"{step}.yaml").exists()
    values = OmegaConf.to_container(compose(*([f"+roadmap={step}"] if has_file else [])).model)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}
