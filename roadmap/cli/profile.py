"""Measure cost, speed and memory of every step on this device, beside the paper's GFLOPs."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from roadmap.analysis.terminal import TerminalColumn, draw_table
from roadmap.cli.arguments import add_config_dir, positive
from roadmap.cli.exit_status import report_errors
from roadmap.cli.printing import format_mebibytes, open_console, print_table, write_rows
from roadmap.config import PlannedRun, plan_runs, read_search_path, use
from roadmap.config.roadmap_files import load_roadmap
from roadmap.system.console import Console
from roadmap.training.progress import counting_bar

if TYPE_CHECKING:  # torch takes seconds to import; the message for a typo should not wait for it
    from roadmap.training.measure.workload import Measured, Workload

DESCRIPTION = """\
Prints cost, speed and memory of every step of the roadmap on this device, at the size that the overrides
name (default: setting=laptop, the micro network on digits). Images are synthetic; none is read."""
EPILOG = """\
columns:
  GMACs      1e9 multiply-accumulates of convolutions, linear layers and attention, for one image
  paper      GFLOPs that the paper prints, which count the same; only at the paper's sizes
  M params   millions of parameters
  M acts     millions of elements that convolutions and linear layers put out for one image
  forward/s  images a second through the network, in evaluation mode and without gradients
  update/s   images a second of whole updates: mixing, forward pass, loss, backward pass, clipping, optimizer
             and moving average, as the recipe has them, each update of one batch. Reading and augmenting
             images and copying them to the device are left out
  MiB        the most memory that tensors held at once during training, as torch's allocator counts it: weights,
             gradients, optimizer's state, activations, temporaries and the batch. Not the process itself

The steps take turns in every round. Speeds are the median over the rounds; the percentage beside them is half
the distance between the quartiles. The CSV file has the quartiles themselves, and bytes.

examples:
  python scripts/profile_roadmap.py
  python scripts/profile_roadmap.py --steps step0_resnet,step12_downsample --csv profile.csv
  python scripts/profile_roadmap.py regime=resnet50 data=imagenet --batch 8 +reference=swin_tiny
  python scripts/profile_roadmap.py setting=paper hardware.precision=bf16 hardware.per_device_batch=64"""

Profile = dict[str, Any]  # a row of the CSV file


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    with use(read_search_path(arguments.overrides, arguments.config_dir)):
        print_profile(arguments)
    return 0


def print_profile(arguments: argparse.Namespace) -> None:
    """Measure the steps on the command's search path, print the table, and write it into the named file."""
    console = open_console(highlight=False)
    runs = plan(arguments.overrides, arguments.steps)
    if arguments.csv is not None:
        arguments.csv.touch()  # an unwritable path should not cost a measurement
    rows = profile(runs, arguments.batch, arguments.rounds, console)
    if arguments.csv is not None:
        write_rows(arguments.csv, rows)
    print_table(console, *draw_rows(rows, console.width))
    console.print(describe_setting(rows, arguments.rounds), soft_wrap=True)


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides as in train.py")
    add_config_dir(parser)
    parser.add_argument(
        "--steps", help="names of conf/roadmap with commas between them; default: all but the original recipe"
    )
    parser.add_argument(
        "--batch", type=positive, metavar="N", help="images at once; default: the recipe's on one device"
    )
    parser.add_argument(
        "--repeats", dest="rounds", type=positive, metavar="N", default=5, help="rounds of timings; default: 5"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="also write the figures there")
    return parser.parse_intermixed_args(words)


def plan(overrides: Sequence[str], steps: str | None) -> list[PlannedRun]:
    """Return the runs to measure, in the order of the roadmap or as named, with references last.

    Raises:
        ConfigError: an override is unknown.
    """
    references = [word for word in overrides if word.startswith("+reference=")]
    common = [word for word in overrides if word not in references]
    runs = plan_runs([*common, f"+roadmap={steps or 'glob(*, exclude=original)'}"], is_sweep=True)
    if steps is None:  # steps that are not in the paper have no index
        runs.sort(key=lambda run: (run.config.step.index is None, run.config.step.index or 0))
    return runs + [run for word in references for run in plan_runs([*common, word], is_sweep=True)]


def profile(runs: Sequence[PlannedRun], batch: int | None, rounds: int, console: Console) -> list[Profile]:
    """Measure all runs, with a progress bar on a terminal."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler logs its start and stop to stderr
    from roadmap.cli.estimate import make_workload
    from roadmap.training.measure.memory import measure_memory
    from roadmap.training.measure.speed import time_network
    from roadmap.training.measure.workload import measure_in_turns

    workloads = [make_workload(run, batch) for run in runs]
    costs = [count(run) for run in runs]
    with counting_bar(console) as bar:
        task = bar.add_task("", total=len(runs) * (rounds + 1), completed=-1)
        turns = [measure_memory, *rounds * [time_network]]
        results = measure_in_turns(workloads, turns, lambda name: bar.update(task, description=name, advance=1))
    return [
        cost | describe(workload) | summarize(result, workload.batch_size)
        for cost, workload, result in zip(costs, workloads, results, strict=True)
    ]


def count(run: PlannedRun) -> Profile:
    """Return the columns that need no measurement."""
    from roadmap.cli.run import collect_facts
    from roadmap.cli.run_folders import open_run_dir

    config, identity = run.config, open_run_dir(run).identity
    facts = collect_facts(config, identity)
    is_papers = config.regime.name in load_roadmap(config.step.roadmap).regimes and config.data.image_size == 224
    return {
        "step": run.name,
        "label": config.step.label,
        "regime": config.regime.name,
        "data": config.data.name,
        "recipe": config.recipe.name,
        "gmacs": facts["gmacs"],
        "paper_gflops": facts["paper_gflops"] if is_papers else None,
        "parameters": facts["parameters"],
        "activations": facts["activations"],
    }


def describe(workload: "Workload") -> Profile:
    from roadmap.cli.run import describe_device

    return {
        "device": describe_device(workload.device),
        "precision": str(workload.spec.hardware.precision),
        "image_size": workload.spec.data.image_size,
        "batch": workload.batch_size,
    }


def summarize(measured: "Measured", batch_size: int) -> Profile:
    """Return median and quartiles of the rounds; None for what ran out of memory."""
    row: Profile = {}
    for name, seconds in (("forward", measured.forward), ("update", measured.update)):
        is_known = seconds and not measured.out_of_memory
        rates = np.divide(batch_size, seconds)
        low, median, high = np.percentile(rates, (25, 50, 75)).tolist() if is_known else (None, None, None)
        row |= {f"{name}_images_per_s": median, f"{name}_q1": low, f"{name}_q3": high}
    row["peak_memory_bytes"] = measured.peak_memory
    row["error"] = "out of memory" if measured.out_of_memory else ""
    return row


def draw_rows(rows: Sequence[Profile], width: int) -> tuple[Table, list[str]]:
    """Return the table, and a line about the columns that do not fit."""
    papers = ["" if (flops := row["paper_gflops"]) is None else f"{flops:.2f}" for row in rows]
    columns = [
        TerminalColumn("step", [row["step"] for row in rows], is_number=False),
        TerminalColumn("GMACs", [f"{row['gmacs']:.4g}" for row in rows], 1),
        TerminalColumn("paper", papers, 4),
        TerminalColumn("M params", [f"{row['parameters'] / 1e6:.4g}" for row in rows], 3),
        TerminalColumn("M acts", [f"{row['activations'] / 1e6:.3g}" for row in rows], 5),
        TerminalColumn("forward/s", [format_rate(row, "forward") for row in rows], 2),
        TerminalColumn("update/s", [format_rate(row, "update") for row in rows]),
        TerminalColumn("MiB", [format_mebibytes(row["peak_memory_bytes"]) for row in rows], 3),
    ]
    return draw_table(columns, width)


def format_rate(row: Profile, name: str) -> str:
    median = row[f"{name}_images_per_s"]
    if median is None:
        return str(row["error"])
    spread = (row[f"{name}_q3"] - row[f"{name}_q1"]) / 2 / median
    return f"{median:,.4g} ±{spread:.0%}" if median < 1000 else f"{median:,.0f} ±{spread:.0%}"


def describe_setting(rows: Sequence[Profile], rounds: int) -> str:
    """Return the line below the table; a value that not all rows have names the others and theirs."""
    steps = [row["step"] for row in rows]
    names = [step if steps.count(step) == 1 else f"row {number}" for number, step in enumerate(steps, start=1)]

    def value(key: str) -> str:
        found: dict[Any, list[str]] = {}
        for name, row in zip(names, rows, strict=True):
            found.setdefault(row[key], []).append(name)
        usual, *others = sorted(found, key=lambda one: -len(found[one]))
        texts = [f"{', '.join(found[one])}: {one}" for one in others]
        return f"{usual} ({'; '.join(texts)})" if texts else str(usual)

    return (
        f"{value('device')}, {value('precision')}, batches of {value('batch')} images of {value('image_size')} "
        f"pixels; regime {value('regime')}, data {value('data')}, recipe {value('recipe')}; median of {rounds} "
        "rounds ± half the distance of the quartiles; --help explains the columns"
    )
