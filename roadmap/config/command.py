"""The runs that a command line asks for, checked before the first of them starts."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from roadmap.config.compose import CONF_DIR, compose, forget_variants, own_hydra
from roadmap.config.convert import suggest
from roadmap.config.explain import explain
from roadmap.config.spec import Config, Mode, read_config
from roadmap.config.variant import find_variant
from roadmap.errors import ConfigError
from roadmap.model.plan import check_image_size, needs_two_images
from roadmap.naming import network_name
from roadmap.training.processes import find_place
from roadmap.training.spec import find_rule, plan_accumulation

MANY = 10  # runs whose composition takes seconds
SEED = re.compile(r"seed=(0|[1-9]\d*)")  # a whole number to Hydra, which takes 01 for a word


@dataclass(frozen=True)
class PlannedRun:
    config: Config
    variant: dict[str, str]

    @property
    def name(self) -> str:
        """The step with its variant, such as step7_kernel,kernel_size=9."""
        return network_name(self.config.step.name, self.variant)


def plan_runs(overrides: Sequence[str], is_sweep: bool) -> list[PlannedRun]:
    """Every run of `python train.py [-m] OVERRIDES...`, in the order in which Hydra starts them.

    Raises:
        ConfigError: a word that means nothing, or a sweep over nothing; says what is allowed in its place.
    """
    try:
        jobs = _split_sweep(overrides) if is_sweep else [list(overrides)]
        configs = _compose_all(jobs)
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(explain(error, overrides)) from None
    if not configs:
        raise ConfigError(f"{' '.join(overrides)} is a sweep of no run: glob() found no name that fits")
    return [plan_run(cfg) for cfg in configs]


def plan_run(cfg: DictConfig) -> PlannedRun:
    """One composed configuration, checked as far as it can be without data and torch."""
    config = read_config(cfg)
    step = config.step.name
    if config.reference is not None and (CONF_DIR / "roadmap" / f"{step}.yaml").exists():
        raise ConfigError(
            f"{step} is a step of the roadmap, {config.reference} a network beside it: "
            "choose one of them, by +roadmap or by +reference"
        )
    if config.reference is None:
        check_image_size(config.model, config.regime, config.data.image_size)
    if config.mode is Mode.train:
        is_own = config.reference is None
        single = is_own and needs_two_images(config.model, config.regime, config.data.image_size)
        rule = find_rule(config.recipe, no_single=single)
        plan_accumulation(config.recipe.total_batch, config.hardware.per_device_batch, find_place().size, rule)
    return PlannedRun(config, find_variant(cfg))


def _split_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """Hydra's own reading of a sweep, glob() and choices included."""
    if any("glob(" in word for word in overrides):
        forget_variants()
    with own_hydra() as loader:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        _check_launcher(overrides, loader.get_group_options("hydra/launcher"))
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [[word for word in job if not word.startswith("hydra")] for job in jobs]


def _check_launcher(overrides: Sequence[str], known: Sequence[str]) -> None:
    """Hydra itself would tell only after all else is under way."""
    for choice in (word.partition("=")[2] for word in overrides if word.startswith("hydra/launcher=")):
        if choice not in known:
            allowed = ", ".join(known)
            raise ConfigError(
                f"hydra/launcher={choice}: no such choice.{suggest(choice, known)} Allowed: {allowed}"
            )
        if choice == "slurm" and "submitit_slurm" not in known:
            raise ConfigError("hydra/launcher=slurm needs a package: pip install hydra-submitit-launcher")


def _compose_all(jobs: Sequence[Sequence[str]]) -> list[DictConfig]:
    """Runs that differ in the seed alone share one composition, which takes its time."""
    configs = []
    for job in _count(jobs):
        seeds = [word.removeprefix("seed=") for word in job if SEED.fullmatch(word)]
        cfg = compose(*(word for word in job if not SEED.fullmatch(word)))
        if seeds:
            cfg.seed = int(seeds[-1])
        configs.append(cfg)
    return configs


def _count(jobs: Sequence[Sequence[str]]) -> Iterable[Sequence[str]]:
    """The same, with a bar on a terminal where they are many."""
    if len(jobs) <= MANY or not find_place().is_first:
        return jobs
    from rich.progress import track

    from roadmap.console import Console  # for which `import roadmap` need not wait

    console = Console(stderr=True)
    return track(jobs, "checking each run", console=console, transient=True, disable=not console.is_terminal)
