"""Dashboards behind a small interface. Each logger is a module here with a class `Logger`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, Protocol

from roadmap.errors import ConfigError, first_line
from roadmap.runs.run_dir import RunDir
from roadmap.runs.spec import LoggerSpec


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


def open_logger(
    spec: LoggerSpec,
    run: RunDir,
    facts: Mapping[str, Any],
    warn: Callable[[str], None],
) -> RunLogger:
    """Return the logger that the configuration names; imports only its own module and library.

    Args:
        facts: values known before training: GMACs, parameters, the paper's figures.
        warn: called if the dashboard fails.

    Raises:
        ConfigError: its library is not installed, or too old.
    """
    try:
        module = import_module(f"{__name__}.{spec.name}")
    except ImportError as error:
        package = (error.name or spec.name).partition(".")[0]
        raise ConfigError(
            f"logger={spec.name} needs the package {package}: pip install --upgrade {package} ({first_line(error)})"
        ) from error
    return GuardedLogger(lambda: module.Logger(spec, run, facts), spec.name, warn)
