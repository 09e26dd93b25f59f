"""Hydra's plugins of this project. Hydra loads only sweepers whose module is in the package `hydra_plugins`."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class PlannedSweeper(Sweeper):
    """Launches the runs of a command as they were planned and checked, in place of composing them again."""

    def __init__(self, **_: Any):  # the settings of Hydra's own sweeper, which `setup` brings, too
        pass

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> None:
        from roadmap.cli.launch import launch_planned  # imported here, since Hydra loads this file in any program

        assert self.config is not None  # Hydra calls setup first
        launch_planned(self.context, self.task, self.config)
