"""Trackio: a local database, where runs are grouped by experiment and named by step, seed and their id.

Trackio's own variables choose another place: TRACKIO_DIR, TRACKIO_SPACE_ID or TRACKIO_SERVER_URL. A resumed run
goes on as the same run: Trackio finds it by its name, and keeps every value, so epochs it has are not sent again.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import trackio

from roadmap.errors import RunError
from roadmap.runs.logger_spec import LoggerSpec
from roadmap.runs.loggers import SUMMARY_PREFIX, ResumingLogger, numbers, run_parameters
from roadmap.runs.run_dir import RunDir


class Logger(ResumingLogger):
    """Curves by epoch, the configuration and the facts, and at the end the summary's numbers.

    Raises:
        RunError: Trackio could not log, of which it only warns.
        Exception: whatever Trackio raises if its database or server cannot be used.
    """

    def __init__(self, spec: LoggerSpec, run: RunDir, facts: Mapping[str, Any]):
        identity = run.identity
        with strictly():
            self.run = trackio.init(
                project=spec.project,
                name=f"{identity.name}-seed{identity.seed}-{run.dashboard_id()}",
                group=identity.experiment,
                config=dict(run_parameters(run, facts)),
                resume="allow",
                embed=False,  # else it opens its page in a notebook that calls roadmap.train
                auto_log_gpu=False,  # every few seconds, on another axis than the epochs
                auto_log_cpu=False,
            )
        # No public attribute has the last step of a resumed run.
        super().__init__(run, logged=self.run._next_step - 1)

    def log_epoch(self, metrics: Mapping[str, Any]) -> None:
        curves = {name: value for name, value in numbers(metrics).items() if name != "epoch"}  # the step
        with strictly():
            self.run.log(curves, step=metrics["epoch"])

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        if summary is not None:
            self.log_rest()
            results = {f"{SUMMARY_PREFIX}{name}": value for name, value in numbers(summary).items()}
            with strictly():
                self.run.log(results, step=summary["epochs"])
        with strictly():
            trackio.finish()  # not run.finish: at exit, Trackio would finish it again, and print so


@contextmanager
def strictly() -> Iterator[None]:
    """Raise what Trackio only warns of, and print none of its messages among ours.

    Raises:
        RunError: Trackio warned that it could not do what it was asked.
    """
    with warnings.catch_warnings(record=True) as caught, redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        yield
    if caught:
        raise RunError(str(caught[0].message))
