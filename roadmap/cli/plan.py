"""Estimate the cost of a train.py command on this device before it runs: hours, memory, money and energy."""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from roadmap.analysis.terminal import TerminalColumn, draw_table
from roadmap.cli.arguments import add_config_dir, positive, positive_number
from roadmap.cli.exit_status import report_errors
from roadmap.cli.keep_run_names import expand
from roadmap.cli.printing import format_mebibytes, open_console, print_table, write_rows
from roadmap.config import PlannedRun, plan_runs, prepare_overrides, read_search_path, read_sweep, use
from roadmap.config.modules import import_modules
from roadmap.config.search_path import current
from roadmap.system.console import Console
from roadmap.training.progress import counting_bar

if TYPE_CHECKING:  # torch takes seconds to import; the message for a typo should not wait for it
    from roadmap.cli.estimate import RoughEstimate
    from roadmap.training.measure.workload import Workload

CLOSING = "measured on this machine as busy as it is now; --help explains the columns"
DESCRIPTION = """\
Predicts what `python train.py ...` costs on this device. Give it the words of that command, -m included. Every
step is measured for a few updates on its own batches; runs that are done are left out, begun ones go on."""
EPILOG = """\
columns:
  runs       trainings that are not done, seeds of one configuration together
  epochs     that are left of them, all runs together
  update     seconds of one update, reading and augmenting its images included; the percentage is half the
             distance of the extremes over the rounds
  images/s   the same as a rate
  evaluation seconds of a pass over the validation images
  start      seconds before the first update of each run: data, network, its cost, and compilation if that is on
  time       of all the runs in the row, evaluation and checkpoints of each epoch included
  MiB        the most memory that tensors held at once, as torch's allocator counts it
  largest    images at once that fit into the device's memory, for hardware.per_device_batch; on a CPU a straight
             line through two small batches says so, on a GPU it is tried

Hours are those of one run at a time on each device; runs that share a device (hydra/launcher=processes) may take
fewer or more, which --at-once tries. The figures are of the machine as busy as it is now, with OMP_NUM_THREADS as
it is now.

examples:
  python scripts/plan_roadmap.py +roadmap=step12_downsample
  python scripts/plan_roadmap.py -m +sweep=leave_one_out seed=0,1,2
  python scripts/plan_roadmap.py -m +sweep=roadmap setting=paper hardware.precision=bf16 \\
      --devices 8 --price-per-hour 2.5 --watts 700 --json plan.json
  python scripts/plan_roadmap.py -m +sweep=roadmap --at-once 1,2,4"""

Row = dict[str, Any]


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    with use(read_search_path(arguments.overrides, arguments.config_dir, arguments.config_name)):
        print_plan(arguments)
    return 0


def print_plan(arguments: argparse.Namespace) -> None:
    """Measure the command's runs on its search path, print their cost, and write it into the named files."""
    console = open_console(180, highlight=False)
    overrides = prepare_overrides(arguments.overrides)
    sweep = read_sweep(overrides, arguments.multirun)
    runs = plan_runs(expand(sweep) if sweep else overrides, arguments.multirun)
    for path in filter(None, (arguments.csv, arguments.json)):
        path.touch()  # an unwritable path should not cost a measurement
    rows, total, machine = plan(runs, arguments, console)
    if arguments.csv is not None:
        write_rows(arguments.csv, rows, left_out=("run_hours", "warnings"))
    if arguments.json is not None:
        content = {"command": arguments.overrides, "runs": rows, "total": total, **machine}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")
    if rows:
        print_table(console, *draw_rows(rows, console.width))
    for line in describe(rows, total):
        console.print(line, soft_wrap=True, markup=False)


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as in train.py")
    parser.add_argument("-m", "--multirun", action="store_true", help="a sweep, as in train.py")
    add_config_dir(parser)
    parser.add_argument("--config-name", metavar="NAME", help="of the config to start from, as in train.py")
    parser.add_argument("--devices", type=positive, metavar="N", default=1, help="of this kind; default: 1")
    parser.add_argument(
        "--price-per-hour", type=positive_number, metavar="PRICE", help="of one device, in any currency"
    )
    parser.add_argument("--watts", type=positive_number, metavar="W", help="that one device draws")
    parser.add_argument(
        "--repeats", dest="rounds", type=positive, metavar="N", default=3, help="rounds of timings; default: 3"
    )
    parser.add_argument(
        "--at-once",
        type=several,
        metavar="N,...",
        default=[],
        help="also time so many runs of the most expensive step beside each other on this device, such as 1,2,4",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the rows there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write rows, totals and machine there")
    return parser.parse_intermixed_args(words)


def several(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]


def plan(runs: Sequence[PlannedRun], arguments: argparse.Namespace, console: Console) -> tuple[list[Row], Row, Row]:
    """Return the bill by rows and in total, and the machine that it was measured on."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler logs its start and stop to stderr
    started = time.perf_counter()
    from roadmap.cli.estimate import add_up, estimate, group, make_workload
    from roadmap.cli.run import describe_device, find_versions
    from roadmap.training.device import pick_device

    start = time.perf_counter() - started  # each command of train.py has the same imports
    groups, left_out = group(runs, arguments.multirun)
    with counting_bar(console) as bar:
        task = bar.add_task("", total=len(groups) * (arguments.rounds + 1), completed=-1)
        rough = RoughPrinter(console, len(groups))
        rows = estimate(
            groups,
            arguments.rounds,
            lambda name: bar.update(task, description=f"{name}{rough.total}", advance=1),
            rough.print,
        )
        workloads = [make_workload(found.planned) for found in groups]
        together = measure_at_once(workloads, rows, arguments.at_once)
    total = add_up(rows, start, arguments.devices, arguments.price_per_hour, arguments.watts)
    total["left_out"] = dict(Counter(left_out))
    total["at_once"] = together
    total["side_by_side"] = any(word.startswith("hydra/launcher=") for word in arguments.overrides)
    machine = {
        "device": describe_device(pick_device(runs[0].config.hardware)),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": find_versions(),
    }
    return rows, total, machine


def measure_at_once(workloads: Sequence["Workload"], rows: Sequence[Row], counts: Sequence[int]) -> Row | None:
    """Measure each number of concurrent runs of the most expensive step, and find the fastest number."""
    if not rows or not counts:
        return None
    from roadmap.cli.gpu_sharing import share_gpus
    from roadmap.training.measure.concurrent import find_best, measure_concurrent

    place = max(range(len(rows)), key=lambda place: rows[place]["update_s"])
    with share_gpus(max(counts), lambda text: print(f"warning: {text}", file=sys.stderr)):
        own = partial(import_modules, current().modules, current().folders)
        measured = measure_concurrent(workloads[place], counts, prepare=own)
    best = find_best(measured)
    return {
        "run": rows[place]["run"],
        "images_per_s": {one.runs: one.images_per_s for one in measured},
        "obstacles": {one.runs: one.obstacle for one in measured if one.obstacle},
        "best": best and best.runs,
    }


class RoughPrinter:
    """Shows what is known before all rounds are done: without a terminal a line per network."""

    def __init__(self, console: Console, count: int):
        self.console, self.count = console, count
        self.printed = 0
        self.total = ""  # for the bar on a terminal

    def print(self, rough: "RoughEstimate") -> None:
        self.printed += 1
        self.total = f", all: about {format_time(rough.total_hours)}"
        if not self.console.is_terminal:
            self.console.print(
                f"{self.printed} of {self.count}: {rough.name} {rough.update_s:.3g} s an update, "
                f"{format_time(rough.hours)}{self.total}",
                markup=False,
                soft_wrap=True,
            )


def draw_rows(rows: Sequence[Row], width: int) -> tuple[Table, list[str]]:
    """Return the table, and a line about the columns that do not fit."""
    columns = [
        TerminalColumn("run", [row["run"] for row in rows], is_number=False),
        TerminalColumn("runs", [str(row["runs"]) for row in rows], 3),
        TerminalColumn("epochs", [str(row["epochs"]) for row in rows], 5),
        TerminalColumn("update", [f"{row['update_s']:.3g} s ±{row['update_spread']:.0%}" for row in rows], 4),
        TerminalColumn("images/s", [f"{row['images_per_s']:,.0f}" for row in rows], 1),
        TerminalColumn("evaluation", [f"{row['evaluation_s']:.3g} s" for row in rows], 7),
        TerminalColumn("start", [f"{row['start_s']:.2g} s" for row in rows], 8),
        TerminalColumn("time", [format_time(row["hours"]) for row in rows]),
        TerminalColumn("MiB", [format_mebibytes(row["peak_memory_bytes"]) for row in rows], 2),
        TerminalColumn("largest", ["" if (n := row["largest_batch"]) is None else f"{n:,}" for row in rows], 6),
    ]
    return draw_table(columns, width)


def format_time(hours: float) -> str:
    """Format with two or three digits, in a suitable unit."""
    if hours < 1 / 30:
        return f"{3600 * hours:.0f} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:,.3g} h"


def describe(rows: Sequence[Row], total: Row) -> list[str]:
    """Return the lines below the table."""
    left_out = "; ".join(f"{count} {reason}" for reason, count in total["left_out"].items())
    if not rows:
        return [f"nothing is left to run: {left_out}"]
    lines = [
        f"{total['runs']} runs: {format_time(total['hours'])} on {total['devices']} device(s), "
        f"{total['device_hours']:,.3g} device-hours"
        + ("" if total["price"] is None else f", price {total['price']:,.2f}")
        + ("" if total["kwh"] is None else f", {total['kwh']:,.3g} kWh")
        + (f"; {left_out}" if left_out else "")
    ]
    if total["side_by_side"]:
        lines.append("the launcher's runs share the device: hours are those of one run at a time")
    if total["at_once"] is not None:
        lines.append(describe_at_once(**total["at_once"]))
    reasons = dict.fromkeys(row["made_up_images"] for row in rows if row["made_up_images"])
    lines += [f"images are made up, so reading and decoding them is left out: {reason}" for reason in reasons]
    for text in dict.fromkeys(text for row in rows for text in row["warnings"]):
        concerned = ", ".join(row["run"] for row in rows if text in row["warnings"])
        lines.append(f"warning: {text}" + (f" ({concerned})" if len(rows) > 1 else ""))
    return [*lines, CLOSING]


def describe_at_once(
    run: str, images_per_s: dict[int, float | None], obstacles: dict[int, str], best: int | None
) -> str:
    """Return one line with the rates of concurrent runs, and the overrides that start the fastest number."""
    rates = [
        f"{count}: {obstacles[count] if rate is None else f'{rate:,.0f} images/s'}"
        for count, rate in images_per_s.items()
    ]
    advice = "" if best is None else f"; fastest with hydra/launcher=processes hydra.launcher.n_jobs={best}"
    alone, fastest = images_per_s.get(1), images_per_s.get(best or 0)
    if alone and fastest:
        advice += f", {fastest / alone:.2f} times one run's"
    return f"runs of {run} beside each other: {', '.join(rates)}{advice}"
