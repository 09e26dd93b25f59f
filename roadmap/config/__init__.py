"""The configuration: its composition from overrides, and its typed content."""

from roadmap.config.advice import advise, advise_on_length
from roadmap.config.command import Command, Job, PlannedRun, plan_command, plan_job, plan_run, plan_runs
from roadmap.config.compose import compose, prepare_overrides
from roadmap.config.search_path import CONF_DIR, SearchPath, list_choices, quote, read_search_path, use
from roadmap.config.spec import Config, Mode, StepSpec, read_config
from roadmap.config.sweep import Kind, Sweep, read_sweep

__all__ = [
    "CONF_DIR",
    "Command",
    "Config",
    "Job",
    "Kind",
    "Mode",
    "PlannedRun",
    "SearchPath",
    "StepSpec",
    "Sweep",
    "advise",
    "advise_on_length",
    "compose",
    "list_choices",
    "plan_command",
    "plan_job",
    "plan_run",
    "plan_runs",
    "prepare_overrides",
    "quote",
    "read_config",
    "read_search_path",
    "read_sweep",
    "use",
]
