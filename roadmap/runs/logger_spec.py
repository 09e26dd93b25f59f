"""Settings of the dashboards that show a run's metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from roadmap.errors import ConfigError
from roadmap.system.registration import check_function, check_name

LOGGERS = Path(__file__).parent / "loggers"
CUSTOM_LOGGERS: dict[str, Callable[..., Any]] = {}  # registered, called like each module's `Logger`


class WandbMode(StrEnum):
    offline = "offline"  # written to the run's folder; `wandb sync` uploads it later
    online = "online"


@dataclass(frozen=True)
class LoggerSpec:
    """A dashboard that mirrors the run's files."""

    name: str  # none, a module of roadmap/runs/loggers, or a registered one
    mode: WandbMode  # of W&B; `wandb sync` uploads what offline runs wrote
    project: str  # on W&B
    entity: str | None  # the team on W&B; None: the user's default

    def __post_init__(self) -> None:
        if self.name not in (known := list_loggers()):
            raise ConfigError(f"logger.name={self.name}: there is no such logger. Allowed: {', '.join(known)}")


def list_loggers() -> list[str]:
    built_in = (file.stem for file in LOGGERS.glob("*.py") if file.stem != "__init__")
    return sorted({*built_in, *CUSTOM_LOGGERS})


def register_logger(name: str, logger: Callable[..., Any]) -> None:
    """Register a logger for `logger=NAME`.

    Args:
        name: of the logger.
        logger: a class, or a function, of (spec, run, facts): the LoggerSpec, the RunDir, whose `path` is the
            run's folder, and the values known before training. It has `log(metrics)`, called after each epoch, and
            `finish(summary)`, called at the end with the summary, or with None after a failure.

    Raises:
        ConfigError: the name is taken, or the logger does not take these arguments.
    """
    call = f"register_logger({name!r})"
    check_name(call, name, list_loggers())
    check_function(call, logger, "spec", "run", "facts")
    for method, argument in (("log", "metrics"), ("finish", "summary")):
        if isinstance(logger, type):
            check_function(f"{call}: {method}", getattr(logger, method, None), "self", argument)
    CUSTOM_LOGGERS[name] = logger
