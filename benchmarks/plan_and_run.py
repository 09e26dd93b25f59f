"""A run's epochs compared with what `scripts/plan_roadmap.py` predicts for them, on images that it makes itself.

    python benchmarks/plan_and_run.py [--images 10000] [--size 32] [--repeats 7] [--json FILE] [KEY=VALUE ...]

The plan is made first. Then train.py trains as many epochs as --repeats, and one before them that is not counted.
The printed ratio is the median epoch's seconds / the plan's.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pairs import FEWEST_REPEATS, describe_machine
from PIL import Image

from roadmap.cli.arguments import positive, whole_number
from roadmap.cli.exit_status import run_script
from roadmap.errors import MeasurementError, RoadmapError

ROOT = Path(__file__).resolve().parents[1]
CLASSES = 10
PER_VALIDATION = 5  # training images


def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = compare(arguments, Path(folder))
    except RoadmapError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(
        f"an epoch took {result['epoch_s']:.3g} s (n = {arguments.repeats}), planned "
        f"{result['planned_epoch_s']:.3g} s: run / plan {result['run_over_plan']:.2f}"
    )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(describe_machine() | result, indent=2) + "\n", encoding="utf-8")
    return 0


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="overrides as in train.py")
    parser.add_argument("--images", type=positive, default=10_000, metavar="N", help="to train on; default: 10000")
    parser.add_argument("--size", type=positive, default=32, metavar="S", help="pixels; default: 32")
    parser.add_argument("--repeats", type=whole_number(FEWEST_REPEATS), default=7, metavar="N", help="default: 7")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers and the machine there")
    return parser.parse_intermixed_args(words)


def compare(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Plan and run, and return the numbers of both."""
    root = folder / "images"
    for part, count in (("train", arguments.images), ("val", max(arguments.images // PER_VALIDATION, CLASSES))):
        make_images(root / part, count, arguments.size)
    epochs = 1 + arguments.repeats
    run = ["+roadmap=step12_downsample", "data=imagefolder", f"data.root={root}", f"data.num_classes={CLASSES}"]
    run += [f"data.image_size={arguments.size}", "data.stem_stride=2", "data.crop_pct=1", "recipe.warmup_epochs=0"]
    run += [f"output_dir={folder / 'outputs'}", *arguments.overrides, f"recipe.epochs={epochs}"]
    call("scripts/plan_roadmap.py", *run, "--repeats", str(arguments.repeats), "--json", str(folder / "plan.json"))
    call("train.py", *run)
    (plan,) = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["runs"]
    (metrics,) = (folder / "outputs").rglob("metrics.jsonl")
    seconds = [json.loads(line)["seconds"] for line in metrics.read_text(encoding="utf-8").splitlines()][1:]
    planned = (3600 * plan["hours"] - plan["start_s"]) / epochs
    epoch = statistics.median(seconds)
    return {
        "plan": plan,
        "epoch_seconds": seconds,
        "epoch_s": epoch,
        "planned_epoch_s": planned,
        "run_over_plan": epoch / planned,
        "largest_batch": plan["largest_batch"],
    }


def call(script: str, *words: str) -> None:
    """Run one of this project's scripts. Raises MeasurementError if it fails."""
    done = subprocess.run([sys.executable, ROOT / script, *words], cwd=ROOT, check=False)
    if done.returncode != 0:
        raise MeasurementError(f"{script} ended with status {done.returncode}; its message is above")


def make_images(folder: Path, count: int, size: int) -> None:
    """Write PNG files of noise, evenly over the classes."""
    rng = np.random.default_rng(count)
    for number in range(count):
        path = folder / f"class{number % CLASSES}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(size, size, 3), dtype=np.uint8)).save(path, compress_level=1)


if __name__ == "__main__":
    run_script(main)
