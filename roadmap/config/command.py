"""The runs of a command line, checked before the first one starts."""

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

MANY = 10  # runs, whose composition takes seconds
SEED = re.compile(r"seed=(0|[1-9]\d*)")  # an integer to Hydra, which reads 01 as a string


@dataclass(frozen=True)
class PlannedRun:
    config: Config
    variant: dict[str, str]

    @property
    def name(self) -> str:
        """The step with its variant, such as step7_kernel,kernel_size=9."""
        return network_name(self.config.step.name, self.variant)


def plan_runs(overrides: Sequence[str], is_sweep: bool) -> list[PlannedRun]:
    """Return every run of `python train.py [-m] OVERRIDES...`, in the order in which Hydra starts them.

    Raises:
        ConfigError: an unknown override or an empty sweep; lists what is allowed instead.
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
    """Check one composed configuration as far as possible without data and torch."""
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
    """Split a sweep with Hydra's own parser, including glob() and choices."""
    if any("glob(" in word for word in overrides):
        forget_variants()
    with own_hydra() as loader:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        _check_launcher(overrides, loader.get_group_options("hydra/launcher"))
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [[word for word in job if not word.startswith("hydra")] for job in jobs]


def _check_launcher(overrides: Sequence[str], known: Sequence[str]) -> None:
    """Check the launcher's name, which Hydra would reject only after the preparations."""
    for choice in (word.partition("=")[2] for word in overrides if word.startswith("hydra/launcher=")):
        if choice not in known:
            allowed = ", ".join(known)
            raise ConfigError(
                f"hydra/launcher={choice}: no such choice.{suggest(choice, known)} Allowed: {allowed}"
            )
        if choice == "slurm" and "submitit_slurm" not in known:
            raise ConfigError("hydra/launcher=slurm needs a package: pip install hydra-submitit-launcher")


def _compose_all(jobs: Sequence[Sequence[str]]) -> list[DictConfig]:
    """Compose all runs; runs that differ only in the seed share one composition, since it is slow."""
    configs = []
    for job in _count(jobs):
        seeds = [word.removeprefix("seed=") for word in job if SEED.fullmatch(word)]
        cfg = compose(*(word for word in job if not SEED.fullmatch(word)))
        if seeds:
            cfg.seed = int(seeds[-1])
        configs.append(cfg)
    return configs


def _count(jobs: Sequence[Sequence[str]]) -> Iterable[Sequence[str]]:
    """Return the jobs, with a progress bar on a terminal if there are many."""
    if len(jobs) <= MANY or not find_place().is_first:
        return jobs
    from rich.progress import track

    from roadmap.console import Console  # imported here so that `import roadmap` stays fast

    console = Console(stderr=True)
    return track(jobs, "checking each run", console=console, transient=True, disable=not console.is_terminal)
