"""Weights & Biases: runs grouped by experiment, and named by step and seed for comparison.

Offline, the last `wandb/offline-run-*` folder of a run holds all of it: a resumed run logs the earlier epochs
again, and removes the folder of the process that ended, which W&B may not have written to disk. Online, the server
has the earlier epochs, and they are not sent again. W&B's step is the epoch in both modes.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import wandb

from roadmap.errors import RunError
from roadmap.runs.logger_spec import LoggerSpec, WandbMode
from roadmap.runs.loggers import ResumingLogger
from roadmap.runs.run_dir import RunDir

JOB_TYPE = "train"  # distinguishes it from the run that summarizes an experiment
SETTINGS = {
    "console": "off",
    "silent": True,
    "init_timeout": 20,  # seconds for the server to answer; the run continues without it after that
    "finish_timeout": 120,  # seconds to send the rest at the end; `wandb sync` sends what remains
    "finish_timeout_raises": True,
}


TAG_LENGTH = 64  # characters that W&B takes


def choose_mode(asked: WandbMode) -> Literal["online", "offline", "disabled"]:
    """The mode, or that of WANDB_MODE or W&B's own settings (`wandb offline`) if it sends less."""
    own = {"dryrun": "offline", "run": "online"}.get(wandb.setup().settings.mode, wandb.setup().settings.mode)
    if own == "disabled":
        return "disabled"
    return "online" if asked is WandbMode.online and own != "offline" else "offline"


def check_key() -> None:
    """Looks for credentials, since wandb.init would ask for them on a terminal and wait.

    Raises:
        RunError: there are none.
    """
    if not wandb.login(prompt=False, verify=False):
        server = wandb.setup().settings.base_url
        raise RunError(
            f"no API key for {server}: run `wandb login`, set WANDB_API_KEY, or take logger.mode=offline"
        )


def shorten_tags(tags: Iterable[str]) -> list[str]:
    """The tags, those that are too long for W&B without their end."""
    return [tag if len(tag) <= TAG_LENGTH else f"{tag[: TAG_LENGTH - 1]}…" for tag in tags]


class Logger(ResumingLogger):
    """A run on W&B.

    Raises:
        RunError: it is to be sent, and there are no credentials.
        Exception: whatever W&B raises where its service or its server is gone.
    """

    def __init__(self, spec: LoggerSpec, run: RunDir, facts: Mapping[str, Any]):
        identity = run.identity
        mode = choose_mode(spec.mode)
        if mode == "online":
            check_key()
        self.run = wandb.init(
            project=spec.project,
            entity=spec.entity,
            mode=mode,
            dir=run.path,
            id=run.dashboard_id(),  # a run that goes on is one run on the dashboard too
            resume="allow" if mode == "online" else None,  # offline, the new folder replaces the old
            group=identity.experiment,
            job_type=JOB_TYPE,
            name=f"{identity.name}-seed{identity.seed}",
            tags=shorten_tags([identity.regime, identity.data, identity.recipe]),
            config={**run.config, "identity": {**asdict(identity), "name": identity.name}},
            settings=SETTINGS,
        )
        for old in (run.path / "wandb").glob(f"offline-run-*-{self.run.id}"):
            if old.name not in self.run.dir:
                shutil.rmtree(old)
        super().__init__(run, logged=self.run.starting_step - 1 if self.run.resumed else 0)
        self.run.define_metric("epoch", hidden=True)
        self.run.define_metric("*", step_metric="epoch")
        self.run.summary.update({**asdict(identity), **facts})

    def log(self, metrics: Mapping[str, Any]) -> None:
        self._try(partial(super().log, metrics))

    def log_epoch(self, metrics: Mapping[str, Any]) -> None:
        # Without commit, W&B would wait for the next step, and the last epoch would overwrite the summary.
        self.run.log(dict(metrics), step=metrics["epoch"], commit=True)

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        if summary is not None:
            self.log_rest()
            self._try(lambda: self.run.summary.update(dict(summary)))
        self._try(lambda: self.run.finish(exit_code=0 if summary is not None else 1))

    def _try(self, act: Callable[[], None]) -> None:
        """Drop a service that does not answer, since it would report errors at the end and in later runs."""
        try:
            act()
        except Exception:
            with suppress(Exception):
                wandb.teardown()
            raise
