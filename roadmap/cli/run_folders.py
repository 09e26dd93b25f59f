"""Folders of a command's planned runs: opened, counted, and checked after a launcher lost a process."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from roadmap.cli.console import show_error, warn
from roadmap.config import Job, PlannedRun
from roadmap.config.schema import recorded_values
from roadmap.errors import DamagedError, RunError
from roadmap.runs.read_run import Run, State, read_state
from roadmap.runs.run_dir import Identity, RunDir

SWEEP_FOLDER = ".sweep"  # Hydra's, in the folder of an experiment


def open_run_dir(planned: PlannedRun) -> RunDir:
    """Return the folder of a planned run, without writing anything."""
    config = planned.config
    identity = Identity(
        step=config.step.name,
        step_index=config.step.index,
        label=config.step.label,
        variant=planned.variant,
        reference=config.reference,
        experiment=config.experiment,
        seed=config.seed,
        regime=config.regime.name,
        data=config.data.name,
        recipe=config.recipe.name,
    )
    return RunDir(Path(config.output_dir), identity, recorded_values(config), planned.folders, planned.overrides)


def remove_empty_folders(folders: Sequence[RunDir]) -> None:
    """Remove the experiment folder that Hydra creates under the name before the swept values are known."""
    for output_dir in {folder.path.parents[2] for folder in folders}:
        for place in output_dir.glob(f"*/{SWEEP_FOLDER}"):
            with suppress(OSError):  # files of a launcher, or runs
                place.rmdir()
                place.parent.rmdir()


def split_lost(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Split the runs lost with a killed process into those that were running and those that had not started."""
    runs = [read_written_state(open_run_dir(job.planned)) for job in jobs]
    states = [run and run.state for run in runs]
    under_way = [job for job, state in zip(jobs, states, strict=True) if state == State.running]
    waiting = [job for job, state in zip(jobs, states, strict=True) if state in (None, State.pending)]
    names = ", ".join(f"{job.planned.name} seed {job.planned.config.seed}" for job in under_way)
    if len(jobs) > 1 and under_way:
        warn(f"a process of the launcher was killed, and with it {names}; they go on alone after the others")
    elif under_way:
        error = "its process was killed (often the system's answer to a lack of memory)"
        open_run_dir(under_way[0].planned).interrupt(error)
        show_error(RunError(f"{names}: {error}; run the same command again to go on from the last checkpoint"))
    else:
        show_error(RunError("a process of the launcher was killed before a run had begun; run the command again"))
    return under_way, waiting


def read_written_state(folder: RunDir) -> Run | None:
    """Return the state that a run last wrote; None if there is none, or it is damaged."""
    try:
        return read_state(folder.path)  # as written: its process is gone
    except DamagedError:  # told when the run is refused
        return None
