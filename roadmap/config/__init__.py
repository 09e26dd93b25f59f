"""The configuration: its composition from overrides, and its typed content."""

from roadmap.config.advice import advise, advise_on_length
from roadmap.config.command import PlannedRun, plan_run, plan_runs
from roadmap.config.compose import CONF_DIR, compose, prepare_overrides
from roadmap.config.spec import Config, Mode, StepSpec, read_config
from roadmap.config.sweep import Kind, Sweep, read_sweep

__all__ = [
    "CONF_DIR",
    "Config",
    "Kind",
    "Mode",
    "PlannedRun",
    "StepSpec",
    "Sweep",
    "advise",
    "advise_on_length",
    "compose",
    "plan_run",
    "plan_runs",
    "prepare_overrides",
    "read_config",
    "read_sweep",
]
