"""The runs of a command line: composed once, in Hydra's environment, and checked before the first one starts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import yaml
from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from roadmap.config.command_words import find_words
from roadmap.config.compose import (
    compose_overrides,
    compose_with_hydra,
    divide_overrides,
    forget_variants,
    own_hydra,
    prepare_overrides,
    set_values,
)
from roadmap.config.convert import convert
from roadmap.config.file_cache import file_cached
from roadmap.config.hydra_errors import explain_hydra_error
from roadmap.config.modules import import_modules
from roadmap.config.overwritten_choices import check_one_network
from roadmap.config.plugins import check_direction, check_plugins
from roadmap.config.resolvers import find_read
from roadmap.config.roadmap_files import check_step, load_roadmap
from roadmap.config.schema import Config, Mode, read_config
from roadmap.config.search_path import (
    PRIMARY,
    SEARCH_PATH,
    SearchPath,
    current,
    find_config,
    parse_word,
    read_search_path,
    use,
)
from roadmap.config.variant import find_step_file, find_variant
from roadmap.config.yaml_errors import check_chosen, check_files, check_hidden
from roadmap.errors import ConfigError, RoadmapError
from roadmap.model.layer_plan import check_image_size, needs_several_images
from roadmap.runs.naming import network_name
from roadmap.system.rank import get_dist_info
from roadmap.training.spec import find_batch_rule, plan_accumulation

MANY = 10  # runs, whose composition takes seconds
# Raised by Hydra for a file of another structure, and for files that name each other in a circle.
SHAPES = (ValueError, TypeError, AttributeError, AssertionError, RecursionError)
BASIC = "basic"  # Hydra's own sweeper, whose runs are known in advance
HYDRAS_OWN = ("hydra", "main", "schema")  # config sources other than the user's folders
RESOLVES_HYDRA = ("${hydra:", "${hydra.")


@dataclass(frozen=True)
class PlannedRun:
    """A resolved run, which is the same in any process."""

    config: Config
    variant: dict[str, str]
    folders: tuple[str, ...] = ()  # the user's folders of configs that it was composed from
    overrides: tuple[str, ...] | None = None  # words of `python train.py` that plan it again; None: not a command's

    @property
    def name(self) -> str:
        """The step with its variant, such as step7_kernel,kernel_size=9."""
        return network_name(self.config.step.name, self.variant)

    @property
    def search_path(self) -> SearchPath:
        return SearchPath(self.folders, modules=self.config.modules)

    def values(self) -> dict[str, Any]:
        """Return plain values, to send between processes."""
        return asdict(self)

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> "PlannedRun":
        """Restore a run from the result of `values`."""
        import_modules(values["config"].get("modules", ()), values["folders"])
        config, overrides = convert(Config, values["config"]), values["overrides"]
        words = None if overrides is None else tuple(overrides)
        return cls(config, dict(values["variant"]), tuple(values["folders"]), words)


@dataclass(frozen=True)
class Job:
    overrides: tuple[str, ...]
    planned: PlannedRun


@dataclass(frozen=True)
class Command:
    overrides: tuple[str, ...]
    search_path: SearchPath
    is_sweep: bool
    sweeper: str  # the choice of hydra/sweeper
    launcher: str  # the choice of hydra/launcher
    jobs: list[Job] = field(repr=False)  # empty if another sweeper than Hydra's own chooses them
    cfg: DictConfig = field(repr=False)  # with Hydra's own node

    @property
    def is_known(self) -> bool:
        """True if all runs are known before the first one starts."""
        return not self.is_sweep or self.sweeper == BASIC

    @property
    def has_processes(self) -> bool:
        """True if child processes train the runs."""
        return self.is_sweep and "joblib" in str(self.cfg.hydra.launcher._target_)


def plan_runs(overrides: Sequence[str], is_sweep: bool) -> list[PlannedRun]:
    """Return every run of `python train.py [-m] OVERRIDES...`, in the order in which Hydra starts them.

    Raises:
        ConfigError: an unknown override or an empty sweep; lists what is allowed instead.
    """
    overrides = prepare_overrides(overrides)
    search_path = current()
    if any(word.startswith(f"{SEARCH_PATH}=") for word in overrides):
        search_path = read_search_path(overrides)
    with use(search_path):
        return [job.planned for job in plan_command(overrides, is_sweep).jobs]


def plan_command(overrides: Sequence[str], is_sweep: bool) -> Command:
    """Plan a command's runs on the current search path. Runs of a sweeper other than Hydra's are not known yet.

    Raises:
        ConfigError: as plan_runs.
    """
    try:
        return _plan_command(overrides, is_sweep)
    except OverrideParseException as error:
        raise ConfigError(explain_hydra_error(error, overrides)) from None
    except (RoadmapError, HydraException, OmegaConfBaseException, yaml.YAMLError, *SHAPES) as error:
        failure = error
    check_files(overrides)  # whose error names a line
    raise failure if isinstance(failure, RoadmapError) else ConfigError(explain_hydra_error(failure, overrides))


def _plan_command(overrides: Sequence[str], is_sweep: bool) -> Command:
    if any("glob(" in word for word in overrides):
        forget_variants()
    parsed = [parse_word(word) for word in overrides]
    common = [word for word, override in zip(overrides, parsed, strict=True) if not override.is_sweep_override()]
    check_hidden()
    check_chosen(overrides)
    check_plugins(overrides)
    cfg = compose_overrides(current(), common if is_sweep else overrides)
    hydra = cfg.hydra
    is_sweep = is_sweep or hydra.mode == RunMode.MULTIRUN
    sweeper, launcher = hydra.runtime.choices["hydra/sweeper"], hydra.runtime.choices["hydra/launcher"]
    if hydra.job.chdir:
        raise ConfigError(
            "hydra.job.chdir=true: a run's folder is OUTPUT_DIR/EXPERIMENT/STEP/seedN whatever the working "
            "directory is, and relative paths start where the command does: leave it out"
        )
    if is_sweep:
        check_direction(hydra.sweeper)
    jobs: list[Job] = []
    if not is_sweep or sweeper == BASIC:
        split = _split_sweep(overrides, hydra.sweeper.params or {}) if is_sweep else [list(overrides)]
        jobs = [Job(tuple(job), planned) for job, planned in zip(split, _plan_all(split, is_sweep), strict=True)]
        if not split:
            raise ConfigError(f"{' '.join(overrides)} is a sweep of no run: glob() found no name that fits")
    with open_dict(cfg.hydra):
        cfg.hydra.mode = RunMode.MULTIRUN if is_sweep else RunMode.RUN
    return Command(tuple(overrides), current(), is_sweep, sweeper, launcher, jobs, cfg)


def plan_run(cfg: DictConfig) -> PlannedRun:
    """Check a composed configuration, with or without Hydra's node, as far as possible without data and torch.

    Raises:
        ConfigError: a key, value or combination that cannot be used.
    """
    config = read_config(cfg)
    step = config.step.name
    varies = load_roadmap(config.step.roadmap).setting_axes
    config = replace(config, step=replace(config.step, varies=varies))
    if (file := find_step_file(cfg)) is not None:
        check_step(file, config.step.roadmap)
    if config.reference is not None and find_config(f"roadmap/{step}") is not None:
        check_one_network({"roadmap": step, "reference": config.reference})  # of values, without choices
    single = False
    if config.reference is None:
        check_image_size(config.model, config.regime, config.data.image_size)
        single = needs_several_images(config.model, config.regime, config.data.image_size)
    if config.mode is Mode.train:
        rule = find_batch_rule(config.recipe, not_one=single)
        plan_accumulation(
            config.recipe.total_batch, config.hardware.per_device_batch, get_dist_info().world_size, rule
        )
    return PlannedRun(config, find_variant(cfg), current().folders)


def plan_job(cfg: DictConfig) -> PlannedRun:
    """Plan the run of a job that Hydra composed itself, as for a sweeper that chooses values step by step.

    Raises:
        ConfigError: as plan_run.
    """
    sources = HydraConfig.get().runtime.config_sources
    own = [source for source in sources if source.provider not in HYDRAS_OWN]
    folders = tuple(f"pkg://{source.path}" if source.schema == "pkg" else source.path for source in own)
    check_one_network(HydraConfig.get().runtime.choices)
    search_path = SearchPath(folders, HydraConfig.get().job.config_name or PRIMARY, tuple(cfg.get("modules", ())))
    with use(search_path):
        planned = plan_run(cfg)
        return replace(planned, overrides=find_words(HydraConfig.get().overrides.task, planned.config, search_path))


def _split_sweep(overrides: Sequence[str], params: Mapping[str, str]) -> list[list[str]]:
    """Split a sweep with Hydra's own parser, including glob(), choices and a config's hydra.sweeper.params."""
    overrides = [*(f"{key}={value}" for key, value in params.items()), *overrides]
    with own_hydra() as loader:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
        for override in parsed:
            if override.is_sweep_override() and override.is_hydra_override():
                raise ConfigError(f"{override.input_line}: a sweep is over a run's keys, not over Hydra's own")
        (jobs,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return jobs


def _plan_all(jobs: Sequence[Sequence[str]], is_sweep: bool) -> Iterator[PlannedRun]:
    """Plan all runs; those that differ only in plain values share one composition, since it is slow."""
    copies: dict[tuple[Sequence[str], tuple[str, ...]], DictConfig] = {}
    first: DictConfig | None = None
    for number, job in enumerate(_count(jobs)):
        base, values = divide_overrides([word for word in job if not parse_word(word).is_hydra_override()])
        reads_hydra = _reads_hydra(current(), base) or any(
            "${hydra" in str(parse_word(word).value()) for word in job
        )
        if reads_hydra:
            base, values = divide_overrides(job)
        key = base, tuple(values)
        if key not in copies:
            copies[key] = compose_with_hydra(current(), base)
        cfg = set_values(copies[key], values, current(), job)
        first = cfg if first is None else first
        OmegaConf.copy_cache(first, cfg)  # one ${now:} for all runs of a command
        planned = _plan_in_hydra(cfg, job, number if is_sweep else None) if reads_hydra else plan_run(cfg)
        words = find_words(job, planned.config, current())
        yield replace(planned, overrides=(*words, *find_read(cfg)))


@file_cached
def _reads_hydra(search_path: SearchPath, base: tuple[str, ...]) -> bool:
    """Return True if a value of a composition is one of Hydra's."""
    values = OmegaConf.to_container(compose_with_hydra(search_path, base))
    assert isinstance(values, dict)
    text = str({key: value for key, value in values.items() if key != "hydra"})
    return any(word in text for word in RESOLVES_HYDRA)


def _plan_in_hydra(cfg: DictConfig, overrides: Sequence[str], number: int | None) -> PlannedRun:
    """Plan with the values of `${hydra:...}` that the job itself has."""
    outer = HydraConfig.instance().cfg
    task = [word for word in overrides if not parse_word(word).is_hydra_override()]
    with read_write(cfg.hydra), open_dict(cfg.hydra):
        cfg.hydra.overrides.task = task
        dirname = cfg.hydra.job.config.override_dirname
        cfg.hydra.job.override_dirname = get_overrides_dirname(
            [parse_word(word) for word in task], dirname.exclude_keys, dirname.item_sep, dirname.kv_sep
        )
        cfg.hydra.mode = RunMode.RUN if number is None else RunMode.MULTIRUN
        if number is not None:
            cfg.hydra.job.num = number
    HydraConfig.instance().set_config(cfg)
    try:
        return plan_run(cfg)
    finally:
        HydraConfig.instance().cfg = outer


def _count(jobs: Sequence[Sequence[str]]) -> Iterable[Sequence[str]]:
    """Return the jobs, with a progress bar on a terminal if there are many."""
    if len(jobs) <= MANY or not get_dist_info().is_main_process:
        return jobs
    from rich.progress import track

    from roadmap.system.console import Console  # imported here so that `import roadmap` stays fast

    console = Console(stderr=True)
    return track(jobs, "checking each run", console=console, transient=True, disable=not console.is_terminal)
