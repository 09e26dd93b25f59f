"""Dashboards behind one small interface. A logger is one module here with a class `Logger`."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from roadmap.runs.folder import Identity
from roadmap.runs.spec import LoggerSpec


class RunLogger(Protocol):
    """Mirrors a run's metrics elsewhere."""

    def log(self, metrics: Mapping[str, Any]) -> None:
        """One epoch's metrics; `epoch` is among them."""

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        """The end: the summary of a run that is done, None for one that failed."""


def open_logger(
    spec: LoggerSpec, identity: Identity, config: Mapping[str, Any], facts: Mapping[str, Any], path: Path
) -> RunLogger:
    """The logger that the configuration names; only its own module and its library are imported.

    Args:
        config: the resolved configuration.
        facts: what is known before training: GMACs, parameters, the paper's figures.
        path: the run's folder, for the logger's files.
    """
    module = import_module(f"{__name__}.{spec.name}")
    return module.Logger(spec, identity, config, facts, path)
