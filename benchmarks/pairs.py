"""Alternating timing of this project and a peer on the same work, with the ratio of times as a table and as JSON.

A temporarily busy machine slows both, and the order changes from round to round. A ratio is peer's seconds / our
seconds of one round: above 1, ours is faster. The table has the median over the rounds and its quartiles.

Each call reports its work: the number of images that came out, and a checksum, taken after the clock has stopped.
It is an error if a side took another number of images, if its checksum is 0, not finite or not the other side's, or
if it is faster than any machine (roadmap/training/measure/check_work.py).
"""

import argparse
import json
import math
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.status import Status
from rich.table import Table

from roadmap.cli.arguments import whole_number
from roadmap.cli.printing import print_anything
from roadmap.cli.run import describe_device
from roadmap.errors import RoadmapError
from roadmap.runs.commit import find_commit
from roadmap.system.console import Console
from roadmap.system.machine import count_cores
from roadmap.training.measure.check_work import Work, check_agreement, check_work

FEWEST_REPEATS = 5
PIPE_WIDTH = 160  # columns if the output is no terminal
PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")


Report = Callable[[], Work]  # computes what a call did, after the clock has stopped


@dataclass(frozen=True)
class Pair:
    """The same work of both sides; each call does it once and returns a report when the device is done."""

    name: str
    peer_name: str
    images: int  # per call
    ours: Callable[[], Report]
    peer: Callable[[], Report]
    bound: float  # images/s that no machine exceeds
    tolerance: float  # of the checksums in the first round, relative: later the sides may draw or train apart


class InOwnProcess:
    """A side that runs in its own process, where the other side's thread and memory settings do not apply.

    Args:
        make: builds the side, `ours` or `peer` of a pair; its exceptions are raised here.
    """

    def __init__(self, make: Callable[[], Callable[[], Report]]):
        context = get_context("spawn")
        self._end, other_end = context.Pipe()
        context.Process(target=_serve, args=(make, other_end)).start()
        other_end.close()
        # Also if this process ends by an error: it would wait for the other, which waits for requests.
        Finalize(self, self._end.close, exitpriority=1)
        self._receive()

    def __call__(self) -> Report:
        self.start()
        return self.wait()

    def start(self) -> None:
        self._end.send(None)

    def wait(self) -> Report:
        """Return once the side is done; its report comes off the clock."""
        self._receive()
        return self._receive

    def _receive(self) -> Any:
        result = self._end.recv()
        if isinstance(result, Exception):
            raise result
        return result


def _serve(make: Callable[[], Callable[[], Report]], end: Connection) -> None:
    """Run once per request, until the other end closes."""
    try:
        run = make()
        end.send(None)
        while True:
            end.recv()
            report = run()
            end.send(None)
            end.send(report())
    except (EOFError, KeyboardInterrupt):
        pass
    except Exception as error:
        end.send(error)


@dataclass(frozen=True)
class Ratio:
    """Result of a pair."""

    name: str
    peer_name: str
    images: int
    ours_seconds: list[float]  # per round
    peer_seconds: list[float]

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Quartiles of peer / ours, round by round."""
        ratios = np.divide(self.peer_seconds, self.ours_seconds)
        low, median, high = np.percentile(ratios, (25, 50, 75)).tolist()
        return low, median, high


def alternate(pair: Pair, repeats: int, progress: Callable[[str], None] = lambda text: None) -> Ratio:
    """Run `repeats` rounds after one warm-up round; `progress` gets each round and the time left.

    Raises:
        MeasurementError: a side did not do its work, or not that of the other.
    """
    ours: list[float] = []
    peers: list[float] = []
    for number in range(-1, repeats):
        turns = [("ours", pair.ours, ours), (pair.peer_name, pair.peer, peers)]
        works = {}
        for name, run, seconds in turns if number % 2 else reversed(turns):
            started = time.perf_counter()
            report = run()
            seconds.append(time.perf_counter() - started)
            works[name] = report()
            check_work(f"{pair.name}, {name}", works[name], pair.images, seconds[-1], pair.bound)
        if number < 0:
            check_agreement("ours", pair.peer_name, (works["ours"], works[pair.peer_name]), pair.tolerance)
        left = (repeats - number - 1) * (sum(ours) + sum(peers)) / len(ours)
        progress(f"{number + 1} of {repeats} rounds, about {format_seconds(left)} left")
    return Ratio(pair.name, pair.peer_name, pair.images, ours[1:], peers[1:])


def format_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def random_tolerance(images: int) -> float:
    """Return the tolerance of a mean over `images` images that each side augments by its own random numbers."""
    return 0.1 + 1.5 / math.sqrt(images)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of all benchmarks; overrides are those of train.py."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides as in train.py")
    parser.add_argument(
        "--repeats",
        type=whole_number(FEWEST_REPEATS),
        default=9,
        metavar="N",
        help="rounds; default: 9, at least 5",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every timing and the machine there")
    return parser


def run_benchmark(
    parser: argparse.ArgumentParser, make_pairs: Callable[[argparse.Namespace], Sequence[Callable[[], Pair]]]
) -> int:
    """Build, time and print one pair after the other; return the exit status.

    Each pair is built when its turn comes, so that only two networks are in memory.
    """
    print_anything()
    arguments = parser.parse_intermixed_args()
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    ratios = []
    try:
        for make in make_pairs(arguments):
            pair = make()
            console.print(f"{pair.name} against {pair.peer_name} ...", soft_wrap=True, markup=False)
            with console.status("one round that is not counted") as status:
                ratios.append(alternate(pair, arguments.repeats, make_progress(console, status)))
    except RoadmapError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    machine = describe_machine()
    console.print(make_table(ratios))
    console.print(describe(machine, arguments.repeats), soft_wrap=True, markup=False)
    if arguments.json is not None:
        write_json(arguments.json, ratios, machine)
    return 0


def make_progress(console: Console, status: Status) -> Callable[[str], None]:
    """Show progress in a live line on a terminal; elsewhere print the time of a pair once it is known."""
    told: list[str] = []

    def show(text: str) -> None:
        status.update(text)
        if not console.is_terminal and not told:
            console.print(f"  {text}", soft_wrap=True, markup=False)
        told.append(text)

    return show


def make_table(ratios: Sequence[Ratio]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("ours", no_wrap=True)
    table.add_column("against", no_wrap=True)
    for heading in ("images/s", "theirs", "ratio", "quartiles"):
        table.add_column(heading, justify="right")
    for ratio in ratios:
        low, median, high = ratio.quartiles
        rates = [ratio.images / np.median(seconds) for seconds in (ratio.ours_seconds, ratio.peer_seconds)]
        cells = (*(f"{rate:,.0f}" for rate in rates), f"{median:.2f}x", f"{low:.2f} to {high:.2f}")
        table.add_row(ratio.name, ratio.peer_name, *cells)
    return table


def describe_machine() -> dict[str, Any]:
    """Return everything that a reader needs to judge the numbers."""
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _name_processor(),
        "cores": count_cores(),
        "torch_threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "gpu": describe_device(torch.device("cuda")) if torch.cuda.is_initialized() else None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "commit": find_commit(),
    }


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()}, {names[0]}" if names else platform.machine()


def describe(machine: dict[str, Any], repeats: int) -> str:
    """Return the line below the table."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['gpu'] or machine['machine']}, {machine['cores']} cores, {machine['torch_threads']} torch "
        f"threads, load {machine['load_average']:.1f}, {machine['date']}; {versions}; median of n = {repeats} "
        "rounds in alternation, peer's seconds / ours"
    )


def write_json(path: Path, ratios: Sequence[Ratio], machine: dict[str, Any]) -> None:
    names = ("ratio_q1", "ratio", "ratio_q3")
    rows = [asdict(ratio) | dict(zip(names, ratio.quartiles, strict=True)) for ratio in ratios]
    path.write_text(json.dumps(machine | {"pairs": rows}, indent=2) + "\n", encoding="utf-8")
