"""Several runs on one device at once, in processes of their own, compared with one run that does their work alone.

    python benchmarks/runs_at_once.py [--runs 12] [--images 10000] [--size 32] [--json FILE] [KEY=VALUE ...]

Each is an epoch of `epoch.py`, with images of its own. In a round the runs make an epoch each, at the same time,
and the one makes as many, so the ratio is that of the sums of images/s. --single gives overrides for the one only,
such as the setting that is best for a run alone. On a GPU the runs share it by NVIDIA's multi-process service if
that can be started (`roadmap/cli/gpu_sharing.py`), as with hydra/launcher=processes. A CPU's cores are shared.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import torch
from epoch import OurEpoch, compose_epoch, make_ours
from pairs import InOwnProcess, Pair, Report, make_parser, run_benchmark
from training_step import find_update_bound

from roadmap.cli.arguments import positive
from roadmap.cli.gpu_sharing import share_gpus
from roadmap.config import Config
from roadmap.training.device import pick_device
from roadmap.training.measure.check_work import Work

STEP = "step12_downsample"


class AtOnce:
    """Several sides that work at the same time."""

    def __init__(self, makes: Sequence[Callable[[], Callable[[], Report]]]):
        with ThreadPoolExecutor(len(makes)) as pool:  # each waits until its process is ready
            self.sides = list(pool.map(InOwnProcess, makes))

    def __call__(self) -> Report:
        for side in self.sides:
            side.start()
        reports = [side.wait() for side in self.sides]
        return lambda: sum_up([report() for report in reports])


class InTurn:
    """An epoch that is made several times."""

    def __init__(self, epoch: OurEpoch, times: int):
        self.epoch, self.times = epoch, times

    def __call__(self) -> Report:
        reports = [self.epoch() for _ in range(self.times)]
        return lambda: sum_up([report() for report in reports])


def sum_up(works: Sequence[Work]) -> Work:
    """Return all images, and the mean of the losses."""
    return Work(sum(work.images for work in works), sum(work.checksum for work in works) / len(works))


def make_alone(config: Config, counts: tuple[int, int], times: int) -> InTurn:
    return InTurn(make_ours(config, counts), times)


def make_one_of(config: Config, counts: tuple[int, int], threads: int) -> OurEpoch:
    torch.set_num_threads(threads)
    return make_ours(config, counts)


def make_pairs(arguments: argparse.Namespace, stack: ExitStack) -> Sequence[Callable[[], Pair]]:
    has_service = stack.enter_context(share_gpus(arguments.runs, lambda text: print(f"warning: {text}")))
    return [partial(make_pair, arguments, "by MPS" if has_service else "in turn")]


def make_pair(arguments: argparse.Namespace, sharing: str) -> Pair:
    runs, overrides = arguments.runs, arguments.overrides
    config = compose_epoch(STEP, arguments.batch, arguments.size, None, overrides)
    single = compose_epoch(STEP, arguments.batch, arguments.size, None, [*overrides, *arguments.single.split()])
    trained = arguments.images // arguments.batch * arguments.batch
    counts = (arguments.images, max(arguments.images // 5, 1))
    is_cpu = pick_device(config.hardware).type == "cpu"
    threads = max(1, torch.get_num_threads() // (runs if is_cpu else 1))
    how = "" if is_cpu else f" that share the GPU {sharing}"
    return Pair(
        f"{runs} runs at once{how}, {STEP}, {arguments.size} px, batch {arguments.batch}",
        f"one run {arguments.single}".strip(),
        runs * trained,
        AtOnce([partial(make_one_of, config, counts, threads)] * runs),
        InOwnProcess(partial(make_alone, single, counts, runs)),
        bound=find_update_bound(config, arguments.batch) * runs,
        tolerance=0.15,
    )


def make_options() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    parser.add_argument("--runs", type=positive, default=12, metavar="N", help="at once; default: 12")
    parser.add_argument("--images", type=positive, default=10_000, metavar="N", help="an epoch; default: 10000")
    parser.add_argument("--size", type=positive, default=32, metavar="S", help="pixels; default: 32")
    parser.add_argument("--batch", type=positive, default=128, metavar="N", help="images; default: 128")
    parser.add_argument("--single", default="", metavar="WORDS", help="further overrides of the one run")
    return parser


if __name__ == "__main__":
    with ExitStack() as stack:
        status = run_benchmark(make_options(), partial(make_pairs, stack=stack))
    sys.exit(status)
