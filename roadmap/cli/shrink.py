"""Shrink an image folder once, so that training does not decode full photographs in every epoch.

    convnet-roadmap shrink /data/imagenet /data/imagenet-256 [--short-side 256] [--uncompressed]

For every image in the first folder, writes a file of the same path in the second: shrunk to the short side
(bicubic), or copied if it is not larger. With --uncompressed, writes PPM files, NAME.jpg.ppm, which need no
decoding: without JPEG's losses, about 260 KB per image, 335 GB for ImageNet's 1.28 million. A stopped command can
be started again to continue. At the end every original is counted: shrunk, copied, done before, or failed and
listed in failed.txt; the exit status is 1 if any failed. A warning counts files that are no images by their ending.
Training ignores the orientation in an image's EXIF data; --upright rotates images by it once and for all.
"""

import argparse
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

from PIL import Image, ImageOps
from rich.progress import track

from roadmap.cli.arguments import positive, whole_number
from roadmap.cli.exit_status import report_errors
from roadmap.data.image_files import ENDINGS, describe_left_out, walk_images
from roadmap.data.image_modes import as_rgb
from roadmap.errors import DamagedError, DataError, first_line, in_one_line, visible
from roadmap.runs.atomic import FULL
from roadmap.runs.read_files import read_json
from roadmap.system.console import Console, warn
from roadmap.system.machine import count_cores

SETTINGS = "shrunk.json"
FAILED = "failed.txt"
OUTCOMES = ("shrunk", "turned", "copied", "made again", "done before")
LOSSY = {"JPEG": "JPEG", "MPO": "JPEG", "WEBP": "WEBP"}  # Pillow's name of a format: the one that is written
LOSSLESS = {"PNG", "PPM", "BMP", "TIFF"}
ORIENTATION = 274  # EXIF tag; 1 is upright
PIECE = 64  # images per task of a process


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # so that a pool process that dies raises an error
    try:
        counts, failures = shrink_folder(
            arguments.source,
            arguments.target,
            short_side=arguments.short_side,
            quality=None if arguments.uncompressed else arguments.quality,
            workers=arguments.workers,
            upright=arguments.upright,
        )
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        raise
    print(f"{counts.total():,} images: " + ", ".join(f"{counts[what]:,} {what}" for what in sorted(counts)))
    if failures:
        listed = arguments.target / FAILED
        raise DataError(f"{len(failures)} images failed, such as {failures[0]}; all are in {listed}")
    return 0


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--short-side", type=positive, default=256, metavar="PIXELS", help="default: 256")
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--quality", type=whole_number(1, 95), default=95, metavar="Q", help="of JPEG, 1 to 95; default: 95"
    )
    form.add_argument("--uncompressed", action="store_true", help="PPM files, larger and faster to read")
    parser.add_argument("--upright", action="store_true", help="turn images by the orientation in their EXIF data")
    cores = count_cores()
    parser.add_argument("--workers", type=positive, default=cores, metavar="N", help=f"processes; default: {cores}")
    return parser.parse_args(words)


def shrink_folder(
    source: Path, target: Path, *, short_side: int, quality: int | None, workers: int, upright: bool = False
) -> tuple[Counter[str], list[str]]:
    """Shrink all images; return the count of each outcome, and each failure with its cause.

    Without a quality, files are uncompressed.

    Raises:
        DataError: there are no images, the target has other settings, the disk is full, or a process died.
    """
    if not source.is_dir():
        raise DataError(f"there is no folder {source.absolute()}")
    if target.resolve().is_relative_to(source.resolve()):
        raise DataError(f"{target.absolute()} is in {source.absolute()}, and would be shrunk itself. Take another")
    found, left_out = walk_images(source)
    paths = sorted(Path(path).relative_to(source) for path in found)
    if left_out:
        warn(describe_left_out(source, left_out))
    if not paths:
        raise DataError(f"{source.absolute()} has no images ({', '.join(ENDINGS)}) in it")
    form = {"uncompressed": True} if quality is None else {"quality": quality}
    form |= {"upright": True} if upright else {}
    _check_settings(target, {"source": str(source.resolve()), "short_side": short_side, **form})
    shrink = partial(shrink_image, source, target, short_side=short_side, quality=quality, upright=upright)
    ignore = signal.SIGINT, signal.SIG_IGN  # not in this process; the workers finish their current files
    processes = ProcessPoolExecutor(workers, initializer=signal.signal, initargs=ignore)
    try:
        outcomes = processes.map(shrink, paths, chunksize=PIECE)
        console = Console(stderr=True)
        shown = track(
            outcomes, "shrinking", len(paths), console=console, transient=True, disable=not console.is_terminal
        )
        results = dict(zip(paths, shown, strict=True))
    except BrokenProcessPool as error:
        raise DataError(
            "a process that shrinks images died, often for want of memory: fewer need less, by --workers N. "
            "The same command goes on"
        ) from error
    finally:
        processes.shutdown(cancel_futures=True)
    failures = [
        f"{in_one_line(str(source / path))}: {outcome}"
        for path, outcome in results.items()
        if outcome not in OUTCOMES
    ]
    _warn_of_leftovers(target, {str(_target_name(path, quality)) for path in paths})
    (target / FAILED).write_text("".join(failure + "\n" for failure in failures))
    return Counter(outcome if outcome in OUTCOMES else "failed" for outcome in results.values()), failures


def shrink_image(
    source: Path, target: Path, path: Path, *, short_side: int, quality: int | None, upright: bool
) -> str:
    """Shrink one image; return one of OUTCOMES, or why it failed. Without a quality it becomes a PPM file.

    A file appears only when it is complete.

    Raises:
        DataError: the disk is full.
    """
    result = target / _target_name(path, quality)
    unfinished = result.with_name(f".{result.name}.{os.getpid()}")
    try:
        is_old = result.exists()
        if is_old and (source / path).stat().st_mtime_ns <= result.stat().st_mtime_ns:
            return "done before"
        result.unlink(missing_ok=True)  # first, so that nothing stays of an original that now fails
        result.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(source / path) as image:
            scale = short_side / min(image.size)
            is_turned = upright and image.getexif().get(ORIENTATION, 1) != 1
            if is_turned:
                ImageOps.exif_transpose(image, in_place=True)
            colors = as_rgb(image)  # loads all pixels, so that no truncated image is copied
            if scale >= 1 and quality is not None and not is_turned:
                shutil.copyfile(source / path, unfinished)
            else:
                width, height = (round(side * min(scale, 1)) for side in colors.size)
                small = colors.resize((width, height), Image.Resampling.BICUBIC)
                _save(small, unfinished, image.format, quality)
        os.replace(unfinished, result)
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError and others
        if isinstance(error, OSError) and error.errno in FULL:
            raise DataError(
                f"{target.absolute()}: the disk is full. Make room, and run the same command again"
            ) from error
        return visible(first_line(error))
    finally:
        unfinished.unlink(missing_ok=True)
    return "made again" if is_old else "shrunk" if scale < 1 else "turned" if is_turned else "copied"


def _save(image: Image.Image, path: Path, kind: str | None, quality: int | None) -> None:
    """Save in the original's format, or as PNG if that format has fewer colors; without a quality as PPM."""
    if quality is None:
        image.save(path, format="PPM")
    elif kind in LOSSY:
        image.save(path, format=LOSSY[kind], quality=quality)
    else:
        image.save(path, format=kind if kind in LOSSLESS else "PNG")


def _target_name(path: Path, quality: int | None) -> Path:
    return path if quality is not None else path.with_name(f"{path.name}.ppm")


def _warn_of_leftovers(target: Path, expected: Collection[str]) -> None:
    """Warn of images in `target` that have no original, such as those of deleted ones."""
    present = sorted(str(Path(path).relative_to(target)) for path in walk_images(target)[0])
    if left := [name for name in present if name not in expected]:
        warn(f"{target.absolute()} has {len(left):,} images without an original, such as {left[0]}: delete them")


def _check_settings(target: Path, settings: dict[str, object]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    path = target / SETTINGS
    if not path.exists():
        unfinished = path.with_name(path.name + ".new")
        unfinished.write_text(json.dumps(settings, indent=1) + "\n")
        os.replace(unfinished, path)
    try:
        found = read_json(path)
    except DamagedError as error:
        raise DataError(
            f"{error}, so that the settings of its images are unknown: delete it if they are those of this "
            f"command, or else all of {target.absolute()}"
        ) from error
    if found != settings:
        raise DataError(
            f"{target.absolute()} was made with {found}, not {settings}: name another folder, or delete it"
        )
