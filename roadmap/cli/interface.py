"""Runs from Python, in this process, as `train.py` does them: `roadmap.train`, `sweep` and `evaluate`."""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from roadmap.analysis.frames import frame_of
from roadmap.analysis.read_runs import read_runs
from roadmap.cli import console, job
from roadmap.cli.job import claimed, load_run, run_job, terminal
from roadmap.cli.launch import launch
from roadmap.cli.prepare import Plan, prepare
from roadmap.cli.run_folders import open_run_dir
from roadmap.cli.train import settled_folders, stop_signals
from roadmap.config import Mode
from roadmap.config.keywords import use_words
from roadmap.errors import ConfigError, RunError
from roadmap.runs.commit import find_commit
from roadmap.runs.read_run import Run, State, read_run


def train(*overrides: str, progress: bool = True, **values: Any) -> Run:
    """Train one run in this process, with the folder, checks and resuming of `python train.py OVERRIDES...`.

    A run that is done is not trained again. After Ctrl-C (a notebook's stop button) the same call resumes it.
    Sets torch's seed, number of threads and deterministic algorithms, as every run does.

    Args:
        progress: print a line per epoch.

    Returns:
        the run's record: top1 (percent), best_top1, loss, seconds, path and others.

    >>> where = {"experiment": "example", "output_dir": folder}
    >>> run = roadmap.train(roadmap="step12_downsample", recipe={"epochs": 1}, progress=False, **where)
    >>> run.state.value, run.epochs, run.path.name
    ('done', 1, 'seed0')

    Raises:
        roadmap.errors.RoadmapError: a wrong override, unusable data or folder, or a failed run.
        KeyboardInterrupt: the run was stopped; everything is saved.
    """
    with _planned(overrides, values, is_sweep=False, show_progress=progress) as plan:
        planned = plan.runs[0]
        if planned.config.mode is not Mode.train:
            raise ConfigError("mode=eval: roadmap.evaluate evaluates weights, roadmap.train trains")
        folder = plan.folders[0]
        with settled_folders(plan), claimed(planned, folder, retries=True) as is_mine:
            if is_mine:
                load_run().train(planned.config, folder, terminal(), console.warn)
    run = read_run(folder.path)
    if run is None or run.state is not State.done:
        reason = "it left no record" if run is None else f"{run.state}: {run.error}"  # printed with its traceback
        raise RunError(f"{folder.path} is not done, {reason}")
    return run


def sweep(*overrides: str, progress: bool = True, **values: Any) -> pd.DataFrame:
    """Train every run of a sweep, as `python train.py -m OVERRIDES...`, and return them as `load_results` does.

    A list or range is one run per item. A failed run is recorded in its row (state, error), and the sweep goes on.
    Runs are trained one after the other in this process; `hydra/launcher=processes` trains several at once.

    >>> where = {"experiment": "example", "output_dir": folder}
    >>> steps = ["step0_resnet", "step12_downsample"]
    >>> runs = roadmap.sweep(roadmap=steps, seed=range(1), recipe={"epochs": 1}, progress=False, **where)
    >>> runs[["network", "state"]].values.tolist()
    [['step0_resnet', 'done'], ['step12_downsample', 'done']]

    Raises:
        roadmap.errors.RoadmapError: a run cannot be composed, so that none is trained.
        KeyboardInterrupt: the sweep was stopped; everything is saved.
    """
    with _planned(overrides, values, is_sweep=True, show_progress=progress) as plan:
        if plan.evaluated:
            raise ConfigError("mode=eval: roadmap.evaluate evaluates weights, roadmap.sweep trains")
        with settled_folders(plan), stop_signals(plan):
            launch(plan.command, run_job)
        if not plan.command.is_known:  # the sweeper chose the runs
            cfg = plan.command.cfg
            return frame_of(read_runs(Path(cfg.output_dir) / cfg.experiment))
    return frame_of([run for folder in plan.folders if (run := read_run(folder.path))])


def evaluate(*overrides: str, progress: bool = True, **values: Any) -> float:
    """Evaluate the weights of `init_from` on the validation images; return top-1 in percent, and record it.

    >>> step = {"roadmap": "step12_downsample", "experiment": "example", "output_dir": folder, "progress": False}
    >>> run = roadmap.train(recipe={"epochs": 1}, **step)
    >>> top1 = roadmap.evaluate(init_from=run.path / "checkpoint.pt", **step)
    >>> 0 <= top1 <= 100
    True

    Raises:
        roadmap.errors.RoadmapError: data or weights cannot be used.
    """
    with (
        _planned(overrides, values | {"mode": "eval"}, is_sweep=False, show_progress=progress) as plan,
        closing(open_run_dir(plan.runs[0])) as folder,
    ):
        top1 = job.evaluate(plan.runs[0], folder)
    assert top1 is not None  # only ranks other than 0 have none
    return top1


@contextmanager
def _planned(
    overrides: Sequence[str], values: Mapping[str, Any], is_sweep: bool, show_progress: bool
) -> Iterator[Plan]:
    """Yield the checked plan of a command, on its search path; progress is printed only if asked for."""
    console.forget()
    was_quiet = console.OUT.quiet
    console.OUT.quiet = was_quiet or not show_progress
    try:
        with use_words(overrides, values, is_sweep) as words:
            plan = prepare(Namespace(overrides=words, multirun=is_sweep, config_dir=None, config_name=None))
            if plan.command.is_sweep and not is_sweep:
                raise ConfigError("hydra.mode=MULTIRUN: roadmap.sweep trains several runs, roadmap.train one")
            from roadmap.cli.same_inputs import record_images  # imported here, since it imports torch

            record_images.cache_clear()  # images and files may have changed since an earlier call
            find_commit.cache_clear()
            yield plan
    finally:
        console.OUT.quiet = was_quiet
