"""The configuration: its composition from overrides, and its typed content."""

from roadmap.config.compose import compose, prepare_overrides
from roadmap.config.plan_runs import Command, Job, PlannedRun, plan_command, plan_job, plan_run, plan_runs
from roadmap.config.schema import Config, Mode, read_config
from roadmap.config.search_path import CONF_DIR, SearchPath, list_choices, quote, read_search_path, use
from roadmap.config.setting_warnings import list_length_warnings, list_warnings
from roadmap.config.sweep import Kind, Sweep, read_sweep

__all__ = [
    "CONF_DIR", "Command", "Config", "Job", "Kind", "Mode", "PlannedRun", "SearchPath", "Sweep",
    "compose", "list_choices", "list_length_warnings", "list_warnings", "plan_command", "plan_job", "plan_run",
    "plan_runs", "prepare_overrides", "quote", "read_config", "read_search_path", "read_sweep", "use",
]  # fmt: skip
