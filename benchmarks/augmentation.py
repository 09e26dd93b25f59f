"""The training augmentation of a recipe in batches, against timm's transform image by image.

    python benchmarks/augmentation.py [--sizes 32 64] [--batch 128] [--json FILE] [KEY=VALUE ...]

Both make the same images: crop, flip, RandAugment, normalization, erasing, all drawn for each image, of the
paper's recipe unless another is named. Ours takes a batch of uint8 images in memory; timm's transform takes decoded
PIL images, and no loader or copy is counted. Both run on one thread of the CPU. The checksum is the mean absolute
value of the last batch.
"""

import argparse
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from pairs import Pair, Report, make_parser, random_tolerance, run_benchmark
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

import roadmap
from roadmap.cli.arguments import positive
from roadmap.config import read_config
from roadmap.data.augment.per_image import build_timm_transform
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.device_loader import DeviceDataset, DeviceTrainLoader
from roadmap.data.sampler import EpochSampler
from roadmap.data.sources import ArrayDataset
from roadmap.data.spec import AugmentSpec, DataSpec, OnError
from roadmap.system.machine import keep_freed_memory
from roadmap.training.measure.check_work import Work, copy_bound

UINT8, FLOAT32 = 1, 4  # bytes
BATCHES = 16  # per timing, one after another as in an epoch
CPU = torch.device("cpu")


def add_options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--sizes", type=positive, nargs="+", default=[32, 64], metavar="S", help="pixels; default: 32 64"
    )
    parser.add_argument("--batch", type=positive, default=128, metavar="N", help="images of a batch of ours")
    return parser


def make_pairs(arguments: argparse.Namespace) -> Sequence[Callable[[], Pair]]:
    torch.set_num_threads(1)
    keep_freed_memory()  # as training does
    config = read_config(roadmap.compose("data=cifar10", "recipe=paper", *arguments.overrides))
    sizes = [replace(config.data, image_size=size) for size in arguments.sizes]
    return [partial(make_pair, data, config.recipe.augment, arguments.batch) for data in sizes]


def make_pair(data: DataSpec, augment: AugmentSpec, batch: int) -> Pair:
    pixels = make_photographs(batch * BATCHES, data.image_size)
    images = ArrayDataset(pixels, np.zeros(len(pixels), dtype=np.int64))
    resident = DeviceDataset(CheckedDataset(images, OnError.stop), data, CPU)
    batches = DeviceTrainLoader(resident, data, augment, EpochSampler(len(pixels), batch, 1, seed=0))
    pictures = [Image.fromarray(image) for image in pixels]
    transform = build_timm_transform(data, augment)

    def transform_all() -> Report:
        count, last = 0, deque[Tensor](maxlen=batch)
        for picture in pictures:
            last.append(transform(picture))
            count += 1
        return lambda: Work(count, torch.stack([*last]).abs().mean().item())

    def augment_all() -> Report:
        count, last = 0, torch.zeros(0)
        for update in batches.epoch(0):
            for made in update:  # they are made when they are taken
                count, last = count + len(made.images), made.images
        return lambda: Work(count, last.abs().mean().item())

    return Pair(
        f"{data.image_size} px, batches of {batch}",
        "timm's transform",
        batch * BATCHES,
        augment_all,
        transform_all,
        bound=copy_bound(pixels[0].size * (UINT8 + FLOAT32), cores=1),
        tolerance=random_tolerance(batch),
    )


def make_photographs(n: int, size: int) -> np.ndarray:
    """Make smooth colors with some noise, uint8 (N, S, S, 3), with histograms and edges like photographs."""
    generator = torch.Generator().manual_seed(0)
    coarse = 255 * torch.rand(n, 3, 6, 6, generator=generator)
    images = interpolate(coarse, size=(size, size), mode="bicubic")
    images += 8 * torch.randn(images.shape, generator=generator)
    return images.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


if __name__ == "__main__":
    sys.exit(run_benchmark(add_options(make_parser(__doc__)), make_pairs))
