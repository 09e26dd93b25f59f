"""The training augmentation of a recipe in batches, against timm's transform image by image.

    python benchmarks/augmentation.py [--sizes 32 64] [--repeats 9] [--json FILE] [OVERRIDE ...]

Both make the same images: crop, flip, RandAugment, normalization, erasing, all drawn for each image. Ours takes a
batch of uint8 images in memory; timm's transform takes decoded PIL images, and no loader or copy is counted. They
run in alternation on one thread (ours on a GPU with --device cuda). Prints the median time of an image and the
median ratio timm / ours (above 1, ours is faster) with its quartiles.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import timm
import torch
from PIL import Image
from torch.nn.functional import interpolate

import roadmap
from roadmap.config import read_config
from roadmap.data.batch_augment import BatchAugment
from roadmap.data.batches import own_random_state
from roadmap.data.reading import CheckedImages
from roadmap.data.resident import ResidentImages
from roadmap.data.sources import ImageArray
from roadmap.data.spec import AugmentSpec, DataSpec, OnError
from roadmap.data.transforms import build_train_transform

WARM_UP = 2  # pairs that are not counted
BATCHES = 8  # in one timing, as an epoch makes them one after another


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64], help="pixels")
    parser.add_argument("--batch", type=int, default=128, help="images of one call of ours; timm gets as many")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cpu", help="where ours runs")
    parser.add_argument("--json", type=Path, help="write machine, versions and figures to this file")
    parser.add_argument("overrides", nargs="*", default=["recipe=paper"], help="such as recipe=paper")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = read_config(roadmap.compose("data=cifar10", *arguments.overrides))
    device = torch.device(arguments.device)
    machine = describe_machine(device)
    print(f"{machine}\nrecipe {config.recipe.name}, batch {arguments.batch}, n = {arguments.repeats}")
    print(f"{'pixels':>6} {'timm µs/image':>14} {'ours':>8} {'ratio':>7}  quartiles")
    rows = []
    for size in arguments.sizes:
        data = replace(config.data, image_size=size)
        row = compare(data, config.recipe.augment, arguments.batch, arguments.repeats, device)
        low, median, high = row["ratio_quartiles"]
        print(
            f"{size:>6} {row['timm_us']:>14.1f} {row['ours_us']:>8.1f} {median:>6.2f}x  [{low:.2f}, {high:.2f}]",
            flush=True,
        )
        rows.append(row)
    if arguments.json is not None:
        record = {"benchmark": "augmentation", "machine": machine, "recipe": config.recipe.name, "rows": rows}
        arguments.json.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def compare(data: DataSpec, augment: AugmentSpec, batch: int, repeats: int, device: torch.device) -> dict[str, Any]:
    """Microseconds an image, timm's and ours, and the quartiles of their ratio, pair by pair."""
    pixels = make_photographs(batch, data.image_size)
    images = ImageArray(pixels, np.zeros(batch, dtype=np.int64))
    resident = ResidentImages(CheckedImages(images, OnError.stop), data, device)
    pictures = [Image.fromarray(image) for image in pixels]
    transform = build_train_transform(data, augment)
    augment_batch = BatchAugment(data, augment, device)
    chosen = torch.arange(batch, device=device)

    def transform_all() -> None:
        for _ in range(BATCHES):
            for picture in pictures:
                transform(picture)

    def augment_all() -> None:
        for seed in range(BATCHES):
            augment_batch(resident.pixels.index_select(0, chosen), resident.normalize, seed)

    pairs = []
    with own_random_state(0):
        for _ in range(repeats + WARM_UP):
            times = (time_call(call, device) for call in (transform_all, augment_all))
            pairs.append([1e6 * seconds / (batch * BATCHES) for seconds in times])
    theirs_us, ours_us = zip(*pairs[WARM_UP:], strict=True)
    ratios = [theirs / ours for theirs, ours in pairs[WARM_UP:]]
    return {
        "pixels": data.image_size,
        "batch": batch,
        "n": repeats,
        "timm_us": statistics.median(theirs_us),
        "ours_us": statistics.median(ours_us),
        "ratio_quartiles": statistics.quantiles(ratios, n=4),
        "ratios": ratios,
    }


def make_photographs(n: int, size: int) -> np.ndarray:
    """Smooth color with some noise, uint8 (N, S, S, 3): histograms and edges as photographs have."""
    generator = torch.Generator().manual_seed(0)
    coarse = 255 * torch.rand(n, 3, 6, 6, generator=generator)
    images = interpolate(coarse, size=(size, size), mode="bicubic")
    images += 8 * torch.randn(images.shape, generator=generator)
    return images.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def time_call(call: Callable[[], object], device: torch.device) -> float:
    """Seconds; of the process's own time on a CPU, since both use one thread and others may use the machine."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    started = clock()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started


def describe_machine(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    return (
        f"{date.today()}, {name}, 1 thread, torch {torch.__version__}, timm {timm.__version__}, "
        f"Pillow {PIL.__version__}"
    )


def processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
