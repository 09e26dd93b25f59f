"""Start of a command's runs by Hydra, each with its planned configuration."""

import copy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hydra_plugins.convnet_roadmap import PlannedSweeper
from roadmap.cli.run_folders import split_lost
from roadmap.config import Command, Job, PlannedRun
from roadmap.config.compose import own_hydra
from roadmap.errors import RoadmapError, RunError, first_line

PLANNED = "planned"  # key of a job's configuration with the planned run
SWEEPER = f"{PlannedSweeper.__module__}.{PlannedSweeper.__name__}"
Task = Callable[[DictConfig], float | None]


def launch(command: Command, task: Task) -> None:
    """Start every run of a command, and return when all have ended.

    Raises:
        RunError: a sweeper that chooses runs by itself ended with an error of its own.
    """
    with own_hydra() as loader:
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        start = hydra.multirun if command.is_sweep else hydra.run
        overrides: list[str] = []
        if command.is_known:
            hydra.config_loader = cast(ConfigLoader, PlannedConfigs(command, loader))
            Plugins.instance().register(PlannedSweeper)
        else:
            overrides = [*command.overrides, "hydra.mode=MULTIRUN"]
        try:
            start(command.search_path.config_name, task_function=task, overrides=overrides)
        except Exception as error:
            if command.is_known or isinstance(error, RoadmapError) or os.environ.get("HYDRA_FULL_ERROR") == "1":
                raise
            raise RunError(
                f"hydra/sweeper={command.sweeper} ended with {type(error).__name__}: {first_line(error)} "
                "(HYDRA_FULL_ERROR=1 shows the trace)"
            ) from error


class PlannedConfigs:
    """Hydra's loader of configs, which returns a command's planned configuration in place of composing it again."""

    def __init__(self, command: Command, loader: ConfigLoader):
        self.command = command
        self.loader = loader

    def load_configuration(self, *_: object, **__: object) -> DictConfig:
        cfg = _configure(self.command.cfg, self.command.jobs[0].planned.values())
        if self.command.is_sweep:
            with open_dict(cfg.hydra):
                cfg.hydra.sweeper._target_ = SWEEPER
        return cfg

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


class HandedJob(str):
    """The overrides of a job, which launchers log, and its planned run."""

    run: Mapping[str, Any]


class HandedConfigs:
    """A launcher's loader of configs: returns each job's planned run, and composes nothing."""

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        (job,) = sweep_overrides
        assert isinstance(job, HandedJob)
        return _configure(master_config, job.run)


def _configure(composed: DictConfig, run: Mapping[str, Any]) -> DictConfig:
    """Return Hydra's own node as composed, beside the resolved values of a run."""
    cfg = copy.deepcopy(composed)  # not by pickle: in joblib's process Hydra has loaded the launcher's class twice
    plain = json.loads(json.dumps(run))  # without enums and tuples
    with read_write(cfg), open_dict(cfg):
        for key in [key for key in cfg if key != "hydra"]:
            del cfg[key]
        for key, value in (plain["config"] | {PLANNED: plain}).items():
            cfg[key] = OmegaConf.create(value, flags={"allow_objects": False}) if isinstance(value, dict) else value
    return cfg


def planned_of(cfg: DictConfig) -> PlannedRun | None:
    """Return the planned run of a job; None if Hydra composed it."""
    if PLANNED not in cfg:
        return None
    values = OmegaConf.to_container(cfg[PLANNED], resolve=False)
    assert isinstance(values, dict)
    return PlannedRun.of_values({str(key): value for key, value in values.items()})


def launch_planned(context: HydraContext, task: Task, cfg: DictConfig) -> None:
    """Launch the runs of a sweep, in batches if hydra.sweeper.max_batch_size is set."""
    planned, hydra = cast(PlannedConfigs, context.config_loader), GlobalHydra.instance().hydra
    assert hydra is not None
    hydra.config_loader = planned.loader  # launchers send Hydra's state to each process, and not all runs with it
    command = planned.command
    handed = HydraContext(cast(ConfigLoader, HandedConfigs()), context.callbacks)
    launcher = Plugins.instance().instantiate_launcher(handed, task, cfg)
    most = cfg.hydra.sweeper.max_batch_size or len(command.jobs)
    for start in range(0, len(command.jobs), most):
        launch_jobs(launcher, command.jobs[start : start + most], start)


def launch_jobs(launcher: Launcher, jobs: Sequence[Job], first: int) -> None:
    """Launch all runs. A killed process ends its launcher's whole pool; runs not started yet get a new one.

    Interrupted runs come last and one at a time, so that a run that kills its process affects no other.
    """
    try:
        for result in launcher.launch([[_hand(job)] for job in jobs], initial_job_idx=first):
            _ = result.return_value
    except BrokenProcessPool:
        under_way, waiting = split_lost(jobs)
        if len(jobs) == 1 or not under_way:
            return
        if waiting:
            launch_jobs(launcher, waiting, first)
        for job in under_way:
            launch_jobs(launcher, [job], first)


def _hand(job: Job) -> HandedJob:
    handed = HandedJob(" ".join(job.overrides))
    handed.run = job.planned.values()
    return handed
