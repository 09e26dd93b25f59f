"""`train.py` and `convnet-roadmap train`: from the words of a command to its exit status.

A run's error is printed and recorded in its folder, but not raised, so that a sweep continues.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from roadmap.cli import console
from roadmap.cli.console import ERR, is_done, show_defect, show_error
from roadmap.cli.flags import answer, check_flags, wants_answer
from roadmap.cli.gpu_sharing import share_gpus
from roadmap.cli.job import run_handed, run_job
from roadmap.cli.launch import launch
from roadmap.cli.main_process import DIST_INFO, leave_group
from roadmap.cli.prepare import Plan, prepare
from roadmap.cli.printing import print_anything
from roadmap.cli.processes import ENDED_BY, HANDED, forward_stop_signals
from roadmap.cli.run_folders import read_written_state, remove_empty_folders
from roadmap.config import CONF_DIR, PlannedRun, read_search_path, use
from roadmap.config.search_path import PRIMARY
from roadmap.errors import Interrupted, RoadmapError
from roadmap.runs.evaluations import count_evaluations
from roadmap.runs.read_run import State
from roadmap.system.rank import get_dist_info


@hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name=PRIMARY)
def hydra_app(cfg: DictConfig) -> None:
    """Hydra's own entry, which answers flags such as --help and --cfg."""
    run_job(cfg)


def main() -> int:
    """Run the command line in `sys.argv`; the exit status is 0 only if all of its runs are done."""
    console.forget()
    print_anything()
    if (handed := os.environ.pop(HANDED, None)) is not None:
        return run_handed(PlannedRun.of_values(json.loads(handed)))
    arguments = get_args_parser().parse_args()
    try:
        get_dist_info()  # its variables may be wrong
        check_flags(arguments)
        with use(read_search_path(arguments.overrides, arguments.config_dir, arguments.config_name)):
            if wants_answer(arguments):
                return answer(arguments, hydra_app)
            plan = prepare(arguments)
            evaluations = count_evaluations(plan.evaluated)
            with settled_folders(plan), stop_signals(plan):
                launch(plan.command, run_job)
            return report(plan, evaluations)
    except RoadmapError as error:
        if str(error) not in console.errors:  # else a run has reported it
            show_error(error)
        return 1
    except KeyboardInterrupt as interrupt:
        return ENDED_BY + (interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT)
    except Exception as error:
        show_defect(error)
        return 1
    finally:
        leave_group()


@contextmanager
def stop_signals(plan: Plan) -> Iterator[None]:
    """In this context, a stop ends all runs of a command: each saves, and no other starts.

    Raises:
        KeyboardInterrupt: the command was stopped, which is reported.
    """
    noted: list[signal.Signals] = []
    try:
        with ExitStack() as stack:
            if plan.command.has_processes:
                from roadmap.cli.watch import watched  # as in `report`

                noted = stack.enter_context(forward_stop_signals(lambda: say_what_is_saved(plan)))
                at_once = min(int(plan.command.cfg.hydra.launcher.n_jobs), len(plan.runs))
                stack.enter_context(share_gpus(at_once, console.warn))
                stack.enter_context(watched(plan.trained))
            try:
                yield
            except Exception:  # a launcher's, whose processes were stopped
                if not noted:
                    raise
        if noted:
            raise Interrupted(noted[0])
    except KeyboardInterrupt as interrupt:
        number = interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT
        ERR.print(f"stopped by {number.name}; run the same command again to go on from the last checkpoint")
        raise


def say_what_is_saved(plan: Plan) -> None:
    """Answer Ctrl-C at once, though processes that save need a moment, if they have not saved already."""
    records = [read_written_state(folder) for folder in plan.trained]
    running = sum(record is not None and record.state is State.running for record in records)
    action = f"saving {running} run{'' if running == 1 else 's'}" if running else "stopping"
    ERR.print(f"{action} ... (Ctrl-C again ends them without)")


@contextmanager
def settled_folders(plan: Plan) -> Iterator[None]:
    """After this context, no run is marked as running whose process is gone."""
    try:
        yield
    finally:
        for folder in plan.trained if DIST_INFO.is_main_process else ():
            folder.mark_ended(State.interrupted, "its process ended without a word")
        remove_empty_folders(plan.folders)


def report(plan: Plan, evaluations_before: int) -> int:
    """Print the results of a sweep, and return the exit status of a command whose runs have all ended."""
    if not plan.command.is_known:  # the sweeper has evaluated its runs
        return 0
    if not DIST_INFO.is_main_process:
        return 1 if console.errors else 0
    if plan.command.is_sweep and plan.trained:
        from roadmap.cli.sweep_report import report_sweep  # its tables cost a mistyped command 0.1 s

        report_sweep(plan.trained, {planned.config.data.note for planned in plan.runs})
    # Files cover every run; `console.errors` only those in this process, while a launcher may have others.
    evaluated = count_evaluations(plan.evaluated) - evaluations_before
    is_complete = evaluated == len(plan.evaluated) and all(is_done(folder) for folder in plan.trained)
    return 0 if is_complete and not console.errors else 1
