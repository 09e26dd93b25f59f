"""Dashboards behind a small interface. Each logger is a module here with a class `Logger`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib import import_module
from typing import Any, Protocol

from roadmap.errors import ConfigError, first_line
from roadmap.runs.config_hash import defining_values
from roadmap.runs.logger_spec import CUSTOM_LOGGERS, LoggerSpec
from roadmap.runs.metrics import read_metrics
from roadmap.runs.run_dir import RunDir

SUMMARY_PREFIX = "summary/"  # separates a finished run's results from its curves, which have the plain names


class RunLogger(Protocol):
    """Mirrors a run's metrics elsewhere."""

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Log one epoch's metrics, including `epoch`."""

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """Close the logger with the summary of a finished run, or None after a failure."""


@contextmanager
def finished_on_error(logger: RunLogger) -> Iterator[None]:
    """Close the logger after an error or Ctrl-C in this context, so that the dashboard shows how the run ended."""
    try:
        yield
    except BaseException:
        logger.finish(None)
        raise


class ResumingLogger(ABC):
    """A dashboard that keeps all values of a run: it gets the epochs that it lacks, whichever process trained them.

    Args:
        logged: the last epoch that it has.
    """

    def __init__(self, run: RunDir, logged: int):
        self.folder = run
        self._logged = logged

    @abstractmethod
    def log_epoch(self, metrics: Mapping[str, Any]) -> None:
        """Send one epoch's metrics."""

    def log(self, metrics: Mapping[str, Any]) -> None:
        earlier = [past for past in read_metrics(self.folder.path) if past["epoch"] < metrics["epoch"]]
        for epoch in (*earlier, metrics):
            if epoch["epoch"] > self._logged:
                self.log_epoch(epoch)
                self._logged = epoch["epoch"]

    def log_rest(self) -> None:
        """Send the epochs in the run's files, the last of which a process without a dashboard may have trained."""
        for last in read_metrics(self.folder.path)[-1:]:
            self.log(last)


class GuardedLogger:
    """A dashboard that cannot stop a training: its first error is reported, and then it is dropped."""

    def __init__(self, open_logger: Callable[[], RunLogger], name: str, warn: Callable[[str], None]):
        self._name = name
        self._warn = warn
        self._logger: RunLogger | None = None
        self._try(lambda: setattr(self, "_logger", open_logger()))

    def log(self, metrics: Mapping[str, Any]) -> None:
        if self._logger is not None:
            self._try(partial(self._logger.log, metrics))

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        if self._logger is not None:
            self._try(partial(self._logger.finish, summary))

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # the service and its library may raise any error
            self._logger = None
            self._warn(
                f"logger={self._name} is left out from here on: {describe_error(error)}. "
                "The metrics stay in the run's own files"
            )


def describe_error(error: Exception) -> str:
    """Kind and first line of a library's error; all lines of pydantic's, whose first only counts the errors."""
    text = " ".join(str(error).split()) if type(error).__name__ == "ValidationError" else first_line(error)
    return f"{type(error).__name__}: {text.rstrip('.')}"


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the values that a dashboard can plot."""
    return {name: value for name, value in values.items() if isinstance(value, int | float)}


def run_parameters(run: RunDir, facts: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Return name, identity, defining values and facts of a run, in types that every dashboard takes."""
    identity = {**asdict(run.identity), "name": run.identity.name}
    values = {**defining_values(run.config), **identity, **facts}
    return {key: value if isinstance(value, bool | int | float) else str(value) for key, value in values.items()}


def open_logger(spec: LoggerSpec, run: RunDir, facts: Mapping[str, Any], warn: Callable[[str], None]) -> RunLogger:
    """Return the logger that the configuration names; imports only its own module and library.

    Args:
        facts: values known before training: GMACs, parameters, the paper's figures.
        warn: called if the dashboard fails.

    Raises:
        ConfigError: its library is not installed, or too old.
    """
    if spec.name in CUSTOM_LOGGERS:
        return GuardedLogger(lambda: CUSTOM_LOGGERS[spec.name](spec, run, facts), spec.name, warn)
    try:
        module = import_module(f"{__name__}.{spec.name}")
    except ImportError as error:
        package = (error.name or spec.name).partition(".")[0]
        raise ConfigError(
            f"logger={spec.name} needs the package {package}: pip install --upgrade {package} ({first_line(error)})"
        ) from error
    return GuardedLogger(lambda: module.Logger(spec, run, facts), spec.name, warn)
