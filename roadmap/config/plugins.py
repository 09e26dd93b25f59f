"""Checks of a command's launcher and sweeper, which Hydra would make only after the preparations."""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from roadmap.config.compose import own_hydra
from roadmap.config.convert import suggest
from roadmap.errors import ConfigError

PLUGINS = ("hydra/launcher", "hydra/sweeper")
PACKAGES = {  # choices that a package provides, and the package
    "slurm": ("submitit_slurm", "hydra-submitit-launcher"),
    "submitit_slurm": ("submitit_slurm", "hydra-submitit-launcher"),
    "optuna": ("optuna", "hydra-optuna-sweeper"),
}


def check_plugins(overrides: Sequence[str]) -> None:
    """Raise ConfigError for a launcher or sweeper that does not exist or needs a package."""
    for group, _, choice in (word.partition("=") for word in overrides):
        if group not in PLUGINS:
            continue
        with own_hydra() as loader:
            known = loader.get_group_options(group)
        plugin, package = PACKAGES.get(choice, (choice, ""))
        if package and plugin not in known:
            raise ConfigError(f"{group}={choice} needs a package: pip install {package}")
        if choice not in known:
            allowed = ", ".join(known)
            raise ConfigError(f"{group}={choice}: no such choice.{suggest(choice, known)} Allowed: {allowed}")


def check_direction(sweeper: DictConfig) -> None:
    """Raise ConfigError for a sweeper that minimizes what runs return, which is their top-1."""
    direction = OmegaConf.select(sweeper, "direction")
    if direction is not None and str(direction).rpartition(".")[2] != "maximize":
        raise ConfigError(
            f"hydra.sweeper.direction={direction}: a run returns its top-1: hydra.sweeper.direction=maximize"
        )
