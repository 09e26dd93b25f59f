"""Start of a command's runs by Hydra's launcher, each with its planned configuration."""

import copy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log, run_job
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from roadmap.cli.folders import split_lost
from roadmap.config import Command, Job, PlannedRun
from roadmap.config.compose import own_hydra
from roadmap.errors import RoadmapError, RunError, first_line

PLANNED = "planned"  # key of a job's configuration with the planned run
Task = Callable[[DictConfig], float | None]


class HandedJob(str):
    """The overrides of a job, which launchers log, and its planned run."""

    run: Mapping[str, Any]


class HandedConfigs(ConfigLoaderImpl):
    """Replaces Hydra's loader in a launcher's jobs: returns each job's planned run, and composes nothing."""

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        (job,) = sweep_overrides
        assert isinstance(job, HandedJob)
        return _configure(master_config, job.run)


def _configure(composed: DictConfig, run: Mapping[str, Any]) -> DictConfig:
    """Return Hydra's own node as composed, beside the resolved values of a run."""
    cfg = copy.deepcopy(composed)
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


def launch(command: Command, task: Task) -> None:
    """Start every run of a command, and return when all have ended."""
    with own_hydra() as loader:
        if not command.is_known:
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            _search(hydra, command, task)
            return
        cfg = _configure(command.cfg, command.jobs[0].planned.values())
        context = HydraContext(HandedConfigs(loader.get_search_path()), Callbacks(cfg))
        if command.is_sweep:
            _launch_sweep(command, task, cfg, context)
        else:
            _launch_single(command, task, cfg, context)


def _search(hydra: Hydra, command: Command, task: Task) -> None:
    """Launch by a sweeper that chooses each run from the results of earlier ones.

    Raises:
        RunError: the sweeper ended with an error of its own.
    """
    overrides = [*command.overrides, "hydra.mode=MULTIRUN"]
    try:
        hydra.multirun(command.search_path.config_name, task_function=task, overrides=overrides)
    except RoadmapError:  # of a run
        raise
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        raise RunError(
            f"hydra/sweeper={command.sweeper} ended with {type(error).__name__}: {first_line(error)} "
            "(HYDRA_FULL_ERROR=1 shows the trace)"
        ) from error


def _launch_single(command: Command, task: Task, cfg: DictConfig, context: HydraContext) -> None:
    name = command.search_path.config_name
    configure_log(cfg.hydra.hydra_logging, cfg.hydra.verbose)
    context.callbacks.on_run_start(config=cfg, config_name=name)
    job = run_job(
        task, cfg, job_dir_key="hydra.run.dir", job_subdir_key=None, hydra_context=context, configure_logging=True
    )
    context.callbacks.on_run_end(config=cfg, config_name=name, job_return=job)
    _ = job.return_value  # raises the job's error


def _launch_sweep(command: Command, task: Task, cfg: DictConfig, context: HydraContext) -> None:
    name = command.search_path.config_name
    context.callbacks.on_multirun_start(config=cfg, config_name=name)
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=cfg)
    most = command.cfg.hydra.sweeper.max_batch_size or len(command.jobs)
    for start in range(0, len(command.jobs), most):
        _launch_all(launcher, command.jobs[start : start + most], start)
    context.callbacks.on_multirun_end(config=cfg, config_name=name)


def _launch_all(launcher: Launcher, jobs: Sequence[Job], first: int) -> None:
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
            _launch_all(launcher, waiting, first)
        for job in under_way:
            _launch_all(launcher, [job], first)


def _hand(job: Job) -> HandedJob:
    handed = HandedJob(" ".join(job.overrides))
    handed.run = job.planned.values()
    return handed
