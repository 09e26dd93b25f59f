"""What a command does before its first run starts: its plan, the checks of all runs, warnings and cost."""

import shlex
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from roadmap.cli.console import is_done, print_line, warn
from roadmap.cli.flags import flags_of
from roadmap.cli.keep_run_names import expand
from roadmap.cli.main_process import DIST_INFO
from roadmap.cli.processes import LAUNCHER
from roadmap.cli.run_folders import SWEEP_FOLDER, check_folders, open_run_dir
from roadmap.config import (
    Command,
    Mode,
    PlannedRun,
    Sweep,
    list_warnings,
    plan_command,
    prepare_overrides,
    read_sweep,
)
from roadmap.config.plan_runs import BASIC
from roadmap.config.roadmap_files import load_roadmap
from roadmap.data.inspect_folder import (
    check_class_count,
    find_training_folder,
    fit_size,
    fit_stem_stride,
    list_classes,
    measure_short_side,
)
from roadmap.data.spec import Source
from roadmap.errors import RoadmapError
from roadmap.runs.atomic import check_disk_space, make_folder
from roadmap.runs.conflicts import describe_damage, describe_other_settings
from roadmap.runs.run_dir import RunDir
from roadmap.system.commands import printed

NO_STEP = "resnet"  # the name that conf/config.yaml gives a network without +roadmap or +reference
LOCAL = (BASIC, "joblib", LAUNCHER)  # launchers whose runs see the folders that are here
ENLARGED = 2  # times an image's size from which on a warning says so


@dataclass(frozen=True)
class Plan:
    """A command with the folder of each of its runs."""

    command: Command
    folders: list[RunDir]  # in the order of the command's jobs

    @property
    def runs(self) -> list[PlannedRun]:
        return [job.planned for job in self.command.jobs]

    @property
    def trained(self) -> list[RunDir]:
        return self._of(Mode.train)

    @property
    def evaluated(self) -> list[RunDir]:
        return self._of(Mode.eval)

    def _of(self, mode: Mode) -> list[RunDir]:
        pairs = zip(self.runs, self.folders, strict=True)
        return [folder for planned, folder in pairs if planned.config.mode is mode]


def prepare(arguments: Namespace) -> Plan:
    """Plan a command, check all of its runs, and report what there is to know before the first one starts.

    Raises:
        RoadmapError: a run cannot be composed, or a folder cannot be used.
    """
    overrides = prepare_overrides(arguments.overrides)
    if sweep := read_sweep(overrides, arguments.multirun):
        overrides = expand(sweep)
    command = plan_command(overrides, arguments.multirun)
    plan = Plan(command, [open_run_dir(job.planned) for job in command.jobs])
    check_folders(plan.trained)
    if command.launcher in LOCAL and DIST_INFO.is_main_process:
        _check_data(plan)
    if DIST_INFO.is_main_process:
        for experiment in {folder.path.parents[1] for folder in plan.folders}:
            make_folder(experiment)
            if command.is_sweep:  # so that many runs do not each report a full disk
                check_disk_space(experiment)
                make_folder(experiment / SWEEP_FOLDER)  # before Hydra, which has no message if a file is there
    _advise(plan.runs)
    for text in (*describe_damage(plan.trained), *describe_other_settings(plan.trained)):
        warn(text)
    if any(run.config.step.name == NO_STEP for run in plan.runs):
        first = load_roadmap().steps[0]
        print_line(f"no step is chosen: step 0's network under the name {NO_STEP}; +roadmap={first} is step 0")
    if sweep:
        _say_cost(sweep, flags_of(arguments) + arguments.overrides, plan.trained)
    if command.is_sweep and DIST_INFO.is_main_process:
        for folder in plan.trained:  # so that runs not reached yet are listed as missing
            with suppress(RoadmapError):  # reported when the run is refused
                folder.plan()
        _say_where(command.launcher, plan.folders)
    return plan


def _check_data(plan: Plan) -> None:
    """Check the image folders of all runs that are not done, before torch is imported and a run's folder is made.

    Raises:
        DataError: a folder is missing, or has another number of classes.
    """
    left = (run for run, folder in zip(plan.runs, plan.folders, strict=True) if not is_done(folder))
    for data in dict.fromkeys(run.config.data for run in left if run.config.data.source is Source.folder):
        folder = find_training_folder(data.root or "data")
        if folder is None:
            continue
        check_class_count(str(folder), list_classes(folder), data.num_classes)
        side = measure_short_side(folder)
        if side is not None and ENLARGED * side <= data.image_size:
            size = fit_size(side)
            warn(
                f"the images in {folder} have about {side:.0f} pixels and are enlarged to {data.image_size}, which "
                f"costs {(data.image_size / size) ** 2:.0f} times the time of data.image_size={size} "
                f"data.stem_stride={fit_stem_stride(size)}; data=small_images chooses these by itself"
            )
        elif side is not None:
            print_line(
                f"the images in {folder} have about {side:.0f} pixels: data.image_size={data.image_size} "
                f"data.stem_stride={data.stem_stride}"
            )


def _advise(runs: Sequence[PlannedRun]) -> None:
    """Print each warning once, in a sweep with the steps that it concerns."""
    names = list(dict.fromkeys(planned.config.step.name for planned in runs))
    concerned: dict[str, list[str]] = {}
    for planned in runs:
        for text in list_warnings(planned.config):
            concerned.setdefault(text, []).append(planned.config.step.name)
    for text, steps in concerned.items():
        is_sweep = len(runs) > 1
        warn(f"{text} ({', '.join(name for name in names if name in steps)})" if is_sweep else text)


def _say_cost(sweep: Sweep, overrides: Sequence[str], folders: Sequence[RunDir]) -> None:
    """Print what a sweep will train, how to estimate its hours, and how to read its results."""
    if not folders:
        return
    done = sum(map(is_done, folders))
    print_line(f"{len(folders):,} runs: {done:,} done already, {len(folders) - done:,} to train")
    if done < len(folders):
        print_line(f"  hours: {shlex.join(printed('plan', '-m', *overrides))}")
    for experiment in sorted({str(folder.path.parents[1]) for folder in folders}):
        print_line(f"  effects: {shlex.join(printed('attribute', experiment, *sweep.spec.options()))}")


def _say_where(launcher: str, folders: Sequence[RunDir]) -> None:
    """Print where jobs run, since a launcher may queue them far from this terminal."""
    if launcher != BASIC and folders:
        experiment = folders[0].path.parents[1]
        runs = "1 run is" if len(folders) == 1 else f"{len(folders)} runs are"
        print_line(
            f"{runs} with hydra/launcher={launcher}; {shlex.join(printed('status', str(experiment)))} "
            "--watch shows them"
        )
