"""Checks that the work of a measurement was done, since code that does nothing is fastest.

Output images are counted, the result has a checksum, and a rate above the hardware's bound is an error. Bounds are
at least twice the rate of the fastest machine of 2026, so that no real measurement is rejected.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from roadmap.data.sampler import Batch, MicroBatches
from roadmap.errors import MeasurementError
from roadmap.system.machine import count_cores
from roadmap.training.spec import Precision

CLOCK = 6e9  # cycles/s; no core of a CPU is above it
CORE_FLOP = {Precision.fp32: 64, Precision.bf16: 2048}  # a cycle: two AVX-512 units, and AMX
GPU_FLOPS = 5e15  # FLOP/s; a B200 has 2.3e15 in bf16
CORE_BYTES = 100e9  # bytes/s that one core reads and writes beyond its first cache
SHORTEST_CALL = 10e-6  # seconds; a pass through a network starts dozens of operations of about 1 us each


@dataclass(frozen=True)
class Work:
    """What a timed call did."""

    images: int  # processed
    checksum: float  # of the output, such as the loss; 0 or not finite if there was none


class CountedBatches(MicroBatches):
    """Micro-batches that count the images taken from them."""

    def __init__(self, batches: MicroBatches | Sequence[Batch]):
        super().__init__(iter(batches), len(batches))
        self.images = 0

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            self.images += len(batch.labels)
            yield batch


def check_work(what: str, work: Work, images: int, seconds: float, bound: float) -> None:
    """Reject a timing whose work was not done.

    Args:
        what: name of what was timed.
        images: expected number.
        seconds: measured time.
        bound: images/s that no machine exceeds; see `compute_bound` and `copy_bound`.

    Raises:
        MeasurementError: names the value and its bound.
    """
    if work.images != images or images < 1:
        raise MeasurementError(
            f"{what}: {work.images:,} of {images:,} images were processed, so its time means nothing"
        )
    if work.checksum == 0 or not math.isfinite(work.checksum):
        raise MeasurementError(f"{what}: the checksum of the output is {work.checksum}, so its time means nothing")
    rate = images / seconds if seconds > 0 else math.inf
    if rate > bound:
        raise MeasurementError(
            f"{what}: {rate:,.0f} images/s, but no machine exceeds {bound:,.0f}, so it can't have done its work"
        )


def check_agreement(one: str, other: str, works: tuple[Work, Work], tolerance: float) -> None:
    """Reject a comparison whose checksums differ by more than `tolerance`, relative to the larger.

    Raises:
        MeasurementError: names both checksums.
    """
    first, second = (work.checksum for work in works)
    if not abs(first - second) <= tolerance * max(abs(first), abs(second)):
        raise MeasurementError(
            f"{one} and {other} did different work: their checksums are {first:.6g} and {second:.6g}, which may "
            f"differ by {tolerance:.0%}"
        )


def compute_bound(macs: float, batch_size: int, device: torch.device, precision: Precision, updates: bool) -> float:
    """Return images/s that no device exceeds on a network.

    Args:
        macs: multiply-accumulates of one image's forward pass.
        batch_size: images of a call.
        updates: True if gradients of the weights are computed too, which doubles the arithmetic.
    """
    flop = 2 * macs * (2 if updates else 1)
    wide = Precision.bf16 if precision in (Precision.bf16, Precision.fp16) else Precision.fp32
    flops = CLOCK * CORE_FLOP[wide] * count_cores() if device.type == "cpu" else GPU_FLOPS
    return min(flops / flop, batch_size / SHORTEST_CALL)


def copy_bound(bytes_per_image: float, cores: int) -> float:
    """Return images/s that no CPU exceeds if each image takes `bytes_per_image` bytes of reads and writes."""
    return CORE_BYTES * cores / bytes_per_image
