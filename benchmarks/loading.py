"""Reading and augmenting photographs for training, compared with timm's loader on equally many dataloader workers.

    python benchmarks/loading.py [--images 512] [--workers N] [--json FILE] [KEY=VALUE ...]

Writes JPEG files of about 500x375 pixels, and reads them as 224-pixel training images of the paper's recipe: random
resized crop, flip, RandAugment, normalization, random erasing. Nothing is trained. Ours is the data of
`open_train_loader`; the peer is timm's ImageDataset in create_loader, with the prefetcher that normalizes and
erases, as in timm's train.py. Each call is a pass over all files; they are in the page cache for both. In
the second and third pair ours reads the output of scripts/shrink_images.py, which runs once before the timing:
JPEG, and uncompressed.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pairs import InOwnProcess, Pair, Report, make_parser, random_tolerance, run_benchmark
from PIL import Image
from timm.data import ImageDataset, create_loader
from torch import Tensor

import roadmap
from roadmap.cli.arguments import positive
from roadmap.config import Config, read_config
from roadmap.data.loaders import LoaderSpec, open_train_loader
from roadmap.data.sources import open_images
from roadmap.errors import ConfigError
from roadmap.system.machine import count_cores, keep_freed_memory
from roadmap.training.measure.check_work import Work, copy_bound

SHRINK = Path(__file__).parents[1] / "scripts/shrink_images.py"
CLASSES = 4
QUALITY = 90  # of the files; with the noise below about 100 KB each, like ImageNet's
UINT8, FLOAT32 = 1, 4  # bytes
CPU = torch.device("cpu")


def make_pairs(arguments: argparse.Namespace, folder: Path) -> Sequence[Callable[[], Pair]]:
    if arguments.images % arguments.batch:
        raise ConfigError(
            f"--images {arguments.images}: must be a multiple of --batch {arguments.batch}, so that both read all"
        )
    photographs, shrunk, uncompressed = (folder / name for name in ("photographs", "shrunk", "uncompressed"))
    write_photographs(photographs / "train", arguments.images)
    write_photographs(photographs / "val", CLASSES)
    for target, *words in ((shrunk,), (uncompressed, "--uncompressed")):
        subprocess.run([sys.executable, SHRINK, photographs, target, *words], check=True, stdout=sys.stderr)
    return [
        partial(make_pair, arguments, photographs, photographs, "open_train"),
        partial(make_pair, arguments, shrunk, photographs, "open_train, files shrunk once"),
        partial(make_pair, arguments, uncompressed, photographs, "open_train, files shrunk once to PPM"),
    ]


def make_pair(arguments: argparse.Namespace, ours: Path, peers: Path, name: str) -> Pair:
    """Pair reading of one folder's files with timm's reading of another's."""
    workers = count_cores() if arguments.workers is None else arguments.workers
    words = ("data=imagefolder", f"data.root={ours}", f"data.num_classes={CLASSES}", "recipe=paper")
    sizes = (f"recipe.total_batch={arguments.batch}", f"hardware.per_device_batch={arguments.batch}")
    config = read_config(roadmap.compose(*words, *sizes, f"hardware.workers={workers}", *arguments.overrides))
    size = config.data.image_size
    return Pair(
        f"{name}, {size} px, {workers} workers",
        "timm's create_loader",
        arguments.images,
        InOwnProcess(partial(make_ours, config)),
        InOwnProcess(partial(make_peer, config, peers / "train", workers)),
        bound=copy_bound(3 * size * size * (UINT8 + FLOAT32), count_cores()),
        tolerance=random_tolerance(arguments.batch),
    )


def write_photographs(folder: Path, count: int) -> None:
    """Write files of smooth patterns with noise, between 480x360 and 520x390 pixels."""
    rng = np.random.default_rng(count)
    for number in range(count):
        width = int(rng.integers(480, 521))
        size = (width, width * 3 // 4)
        coarse = Image.fromarray(rng.integers(256, size=(9, 12, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        pixels = np.asarray(coarse, dtype=np.int16) + rng.normal(0, 12, size=(size[1], size[0], 3)).astype(np.int16)
        place = folder / f"class{number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{number}.jpg", quality=QUALITY)


def make_ours(config: Config) -> Callable[[], Report]:
    keep_freed_memory()  # as training does
    train, _ = open_images(config.data)
    load = LoaderSpec(
        config.recipe.total_batch, 1, config.seed, CPU, config.hardware.workers, config.hardware.resident
    )
    batches = open_train_loader(train, config.data, config.recipe.augment, load)
    epoch = iter(range(sys.maxsize))

    return lambda: _read_all(batch.images for update in batches.epoch(next(epoch)) for batch in update)


def make_peer(config: Config, folder: Path, workers: int) -> Callable[[], Report]:
    data, augment = config.data, config.recipe.augment
    loader = create_loader(
        ImageDataset(str(folder)),
        input_size=(3, data.image_size, data.image_size),
        batch_size=config.recipe.total_batch,
        is_training=True,
        re_prob=augment.erasing,
        re_mode="pixel",
        scale=augment.scale,
        ratio=(3 / 4, 4 / 3),
        hflip=augment.flip,
        color_jitter=None,
        auto_augment=augment.rand_augment,
        interpolation=data.interpolation.value,
        mean=data.mean,
        std=data.std,
        num_workers=workers,
        persistent_workers=workers > 0,
        device=CPU,
    )
    return lambda: _read_all(images for images, _ in loader)


def _read_all(batches: Iterable[Tensor]) -> Report:
    """Read all batches; the checksum is the mean absolute value of the last."""
    count, last = 0, torch.zeros(0)
    for images in batches:
        count, last = count + len(images), images
    return lambda: Work(count, last.abs().mean().item())


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=positive, default=512, metavar="N", help="files; default: 512")
    parser.add_argument("--batch", type=positive, default=64, metavar="N", help="images; default: 64")
    parser.add_argument("--workers", type=int, metavar="N", help="processes of each loader; default: one a core")
    with tempfile.TemporaryDirectory() as folder:
        return run_benchmark(parser, partial(make_pairs, folder=Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
