"""Where a run's numbers are shown besides its own files."""

from dataclasses import dataclass
from enum import StrEnum


class WandbMode(StrEnum):
    offline = "offline"  # written to the run's folder; `wandb sync` sends it later
    online = "online"


@dataclass(frozen=True)
class LoggerSpec:
    """A dashboard that mirrors the run's files."""

    name: str  # none, or a module of roadmap/runs/loggers
    mode: WandbMode
    project: str
    entity: str | None  # the team on W&B; None: the user's default
