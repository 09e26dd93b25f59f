"""Seconds until a sweep's first run starts, and seconds of each run beyond its training.

    python benchmarks/sweep_overhead.py [--steps 10] [--seeds 10]

Runs of one update on the digits, with narrow networks, in one process. A run's training is `Trainer.fit`: its
epochs, their checkpoints and metrics. The rest of the time from one run's start to the next one's is the overhead:
building the network, opening the images, measuring the cost, and the files before and after. The first run also
imports, so it is not counted. CPU seconds depend less on other processes than wall time does.
"""

import argparse
import runpy
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from roadmap.cli.arguments import positive
from roadmap.config.roadmap_files import load_roadmap

ROOT = Path(__file__).parents[1]
QUICK = ("recipe.epochs=1", "recipe.warmup_epochs=0", "recipe.total_batch=1024")
NARROW = ("regime.width.modern=8", "regime.width.resnet=8")
Clocks = tuple[float, float]  # wall and CPU seconds


def read_clocks() -> Clocks:
    return time.perf_counter(), time.process_time()


def time_sweep(words: list[str]) -> tuple[list[Clocks], list[Clocks]]:
    """Return the clocks at the start of each run, and each run's seconds in training."""
    from roadmap.cli import run
    from roadmap.training.trainer import Trainer

    starts: list[Clocks] = []
    trained: list[Clocks] = []
    train, fit = run.train, Trainer.fit

    def start(*arguments: Any) -> Any:
        starts.append(read_clocks())
        return train(*arguments)

    def time_fit(*arguments: Any) -> Any:
        before = read_clocks()
        results = fit(*arguments)
        after = read_clocks()
        trained.append((after[0] - before[0], after[1] - before[1]))
        return results

    setattr(run, "train", start)  # noqa: B010
    setattr(Trainer, "fit", time_fit)  # noqa: B010
    sys.argv = ["train.py", *words]
    try:
        runpy.run_path(str(ROOT / "train.py"), run_name="__main__")
    except SystemExit as end:
        if end.code:
            sys.exit(f"the sweep ended with status {end.code}")
    return starts, trained


def main() -> None:
    began = read_clocks()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive, default=10, help="of the roadmap, from step 0")
    parser.add_argument("--seeds", type=positive, default=10, help="of each step")
    arguments = parser.parse_args()
    steps = ",".join(load_roadmap().steps[: arguments.steps])
    with tempfile.TemporaryDirectory() as folder:
        seeds = ",".join(map(str, range(arguments.seeds)))
        words = ["-m", f"+roadmap={steps}", f"seed={seeds}", *QUICK, *NARROW, f"output_dir={folder}"]
        starts, trained = time_sweep(words)
    for kind, name in enumerate(("wall", "CPU")):
        print(f"{name}: first of {len(starts)} runs after {starts[0][kind] - began[kind]:.1f} s")
        ends = zip(starts[1:], starts[2:], trained[1:], strict=False)
        beyond = [after[kind] - before[kind] - own[kind] for before, after, own in ends]
        if len(beyond) > 1:
            print(f"{name}: {mean(beyond):.2f} s a run beyond training (std {stdev(beyond):.2f}, n={len(beyond)})")


if __name__ == "__main__":
    main()
