"""Runs from Python, in this process, as `train.py` does them: `roadmap.train`, `sweep` and `evaluate`."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from roadmap.analysis.read_runs import read_runs
from roadmap.cli import console
from roadmap.cli.job import claimed, evaluate, load_run, run_job, terminal
from roadmap.cli.launch import launch
from roadmap.cli.prepare import Plan, prepare
from roadmap.cli.run_folders import open_run_dir
from roadmap.cli.train import settled_folders, stop_signals
from roadmap.config import Mode, read_search_path, use
from roadmap.errors import ConfigError, RunError
from roadmap.runs.read_run import Run, State, read_run


def train_run(overrides: Sequence[str], show_progress: bool) -> Run:
    """Train one run, or skip or resume it, and return its record; see `roadmap.train`."""
    with _planned(overrides, is_sweep=False, show_progress=show_progress) as plan:
        planned = plan.runs[0]
        if planned.config.mode is not Mode.train:
            raise ConfigError("mode=eval: roadmap.evaluate evaluates weights, roadmap.train trains")
        with settled_folders(plan), claimed(planned, plan.folders[0], retries=True) as is_mine:
            if is_mine:
                load_run().train(planned.config, plan.folders[0], terminal(), console.warn)
    return _read(plan.folders[0].path)


def sweep_runs(overrides: Sequence[str], show_progress: bool) -> list[Run]:
    """Train all runs of a sweep, and return their records; see `roadmap.sweep`."""
    with _planned(overrides, is_sweep=True, show_progress=show_progress) as plan:
        if plan.evaluated:
            raise ConfigError("mode=eval: roadmap.evaluate evaluates weights, roadmap.sweep trains")
        with settled_folders(plan), stop_signals(plan):
            launch(plan.command, run_job)
        if not plan.command.is_known:  # the sweeper chose the runs
            cfg = plan.command.cfg
            return read_runs(Path(cfg.output_dir) / cfg.experiment)
    return [run for folder in plan.folders if (run := read_run(folder.path))]


def evaluate_run(overrides: Sequence[str], show_progress: bool) -> float:
    """Evaluate the weights that `init_from` names; see `roadmap.evaluate`."""
    with (
        _planned([*overrides, "mode=eval"], is_sweep=False, show_progress=show_progress) as plan,
        closing(open_run_dir(plan.runs[0])) as folder,
    ):
        top1 = evaluate(plan.runs[0], folder)
    assert top1 is not None  # only ranks other than 0 have none
    return top1


@contextmanager
def _planned(overrides: Sequence[str], is_sweep: bool, show_progress: bool) -> Iterator[Plan]:
    """Yield the checked plan of a command, on its search path; progress is printed only if asked for."""
    console.forget()
    was_quiet = console.OUT.quiet
    console.OUT.quiet = was_quiet or not show_progress
    arguments = Namespace(overrides=list(overrides), multirun=is_sweep, config_dir=None, config_name=None)
    try:
        with use(read_search_path(overrides)):
            plan = prepare(arguments)
            if plan.command.is_sweep and not is_sweep:
                raise ConfigError("hydra.mode=MULTIRUN: roadmap.sweep trains several runs, roadmap.train one")
            yield plan
    finally:
        console.OUT.quiet = was_quiet


def _read(path: Path) -> Run:
    """Return the record of a run that has ended.

    Raises:
        RunError: it is not done, for a reason that was printed with its traceback.
    """
    run = read_run(path)
    if run is None or run.state is not State.done:
        reason = "it left no record" if run is None else f"{run.state}: {run.error}"
        raise RunError(f"{path} is not done, {reason}")
    return run
