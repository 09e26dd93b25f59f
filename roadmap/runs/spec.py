"""Settings of the dashboards that show a run's metrics."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from roadmap.errors import ConfigError

LOGGERS = Path(__file__).parent / "loggers"


class WandbMode(StrEnum):
    offline = "offline"  # written to the run's folder; `wandb sync` uploads it later
    online = "online"


@dataclass(frozen=True)
class LoggerSpec:
    """A dashboard that mirrors the run's files."""

    name: str  # none, or a module of roadmap/runs/loggers
    mode: WandbMode  # of W&B; `wandb sync` uploads what offline runs wrote
    project: str  # on W&B
    entity: str | None  # the team on W&B; None: the user's default

    def __post_init__(self) -> None:
        known = sorted(file.stem for file in LOGGERS.glob("*.py") if file.stem != "__init__")
        if self.name not in known:
            raise ConfigError(f"logger.name={self.name}: there is no such logger. Allowed: {', '.join(known)}")
