"""Weights & Biases: runs grouped by experiment, and named by step and seed for comparison.

Offline, the last `wandb/offline-run-*` folder of a run holds all of it: a resumed run logs the earlier epochs
again, and removes the folder of the process that ended, which W&B may not have written to disk. Online, the server
has the earlier epochs, and they are not sent again. W&B's step is the epoch in both modes.
"""

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import wandb

from roadmap.runs.folder import RunFolder, identity_values, read_metrics
from roadmap.runs.spec import LoggerSpec, WandbMode

JOB_TYPE = "train"  # distinguishes it from the run that summarizes an experiment
SETTINGS = {
    "console": "off",
    "silent": True,
    "init_timeout": 20,  # seconds for the server to answer; the run continues without it after that
    "finish_timeout": 120,  # seconds to send the rest at the end; `wandb sync` sends what remains
    "finish_timeout_raises": True,
}


class Logger:
    """A run on W&B.

    Raises:
        Exception: whatever W&B raises if its service or server is gone.
    """

    def __init__(self, spec: LoggerSpec, run: RunFolder, facts: Mapping[str, Any]):
        identity = run.identity
        self.folder = run
        self.run = wandb.init(
            project=spec.project,
            entity=spec.entity,
            mode=spec.mode.value,
            dir=run.path,
            id=run.dashboard_id(),  # a resumed run stays one run on the dashboard
            resume="allow" if spec.mode is WandbMode.online else None,  # offline, a new folder replaces the old
            group=identity.experiment,
            job_type=JOB_TYPE,
            name=f"{identity.name}-seed{identity.seed}",
            tags=[identity.regime, identity.data, identity.recipe],
            config={**run.config, "identity": {**identity_values(identity), "name": identity.name}},
            settings=SETTINGS,
        )
        for old in (run.path / "wandb").glob(f"offline-run-*-{self.run.id}"):
            if old.name not in self.run.dir:
                shutil.rmtree(old)
        self._logged = self.run.starting_step - 1 if self.run.resumed else 0  # epochs that W&B has
        self.run.define_metric("epoch", hidden=True)
        self.run.define_metric("*", step_metric="epoch")
        self.run.summary.update({**identity_values(identity), **facts})

    def log(self, metrics: Mapping[str, Any]) -> None:
        self._try(partial(self._log_to, metrics["epoch"], metrics))

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        if summary is not None:
            self._try(partial(self._log_to, summary["epochs"] + 1, None))
            self._try(lambda: self.run.summary.update(dict(summary)))
        self._try(lambda: self.run.finish(exit_code=0 if summary is not None else 1))

    def _log_to(self, epoch: int, metrics: Mapping[str, Any] | None) -> None:
        """Log the earlier epochs that W&B lacks, from a previous process, and then this one."""
        earlier = [past for past in read_metrics(self.folder.path) if past["epoch"] < epoch]
        for values in [*earlier, *([metrics] if metrics is not None else [])]:
            if values["epoch"] > self._logged:
                # Without commit, W&B would wait for the next step, and the last epoch would overwrite the summary.
                self.run.log(dict(values), step=values["epoch"], commit=True)
                self._logged = values["epoch"]

    def _try(self, act: Callable[[], None]) -> None:
        """Drop a service that does not answer, since it would report errors at the end and in later runs."""
        try:
            act()
        except Exception:
            with suppress(Exception):
                wandb.teardown()
            raise
