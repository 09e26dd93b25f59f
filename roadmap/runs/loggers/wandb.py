"""Weights & Biases: runs grouped by experiment, named by step and seed, comparable without hand work."""

from collections.abc import Mapping
from typing import Any

import wandb

from roadmap.runs.folder import RunFolder, identity_values
from roadmap.runs.spec import LoggerSpec


class Logger:
    def __init__(self, spec: LoggerSpec, run: RunFolder, facts: Mapping[str, Any]):
        identity = run.identity
        self.run = wandb.init(
            project=spec.project,
            entity=spec.entity,
            mode=spec.mode.value,
            dir=run.path,
            id=run.dashboard_id(),  # a run that goes on is one run on the dashboard too
            resume="allow",
            group=identity.experiment,
            name=f"{identity.name}-seed{identity.seed}",
            tags=[identity.regime, identity.data, identity.recipe],
            config={**run.config, "identity": identity_values(identity)},
            settings=wandb.Settings(console="off", silent=True),
        )
        self.run.define_metric("epoch", hidden=True)
        self.run.define_metric("*", step_metric="epoch")
        self.run.summary.update({**identity_values(identity), **facts})

    def log(self, metrics: Mapping[str, Any]) -> None:
        self.run.log(dict(metrics))

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        if summary is not None:
            self.run.summary.update(dict(summary))
        self.run.finish(exit_code=0 if summary is not None else 1)
