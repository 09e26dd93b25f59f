"""Opening a data set in one of two ways: resident on the device, or read by dataloader workers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from roadmap.console import warn
from roadmap.data.batches import EvalBatches, TrainBatches
from roadmap.data.decode import SizesDifferError
from roadmap.data.finish import Finish
from roadmap.data.order import ALONE, Batch, MicroBatches, Order, Share
from roadmap.data.reading import CheckedImages, Images, checked
from roadmap.data.resident import (
    BUDGET,
    ResidentEvalBatches,
    ResidentImages,
    ResidentTrainBatches,
    find_obstacle,
)
from roadmap.data.spec import AugmentSpec, DataSpec
from roadmap.data.transforms import build_eval_transform, build_train_transform
from roadmap.errors import ConfigError


class TrainData(Protocol):
    """Training batches."""

    total: int  # images of the set, without those that were skipped when it was decoded
    updates: int  # per epoch
    in_advance: int  # micro-batches that may be made before they are requested

    def epoch(self, epoch: int, start: int = 0) -> Iterator[MicroBatches]: ...


class EvalData(Protocol):
    """Evaluation batches, with each image once."""

    total: int  # as in TrainData

    def __iter__(self) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class LoadSpec:
    """Settings for making batches and moving them to the device."""

    batch_size: int  # images per micro-batch
    accumulation: int  # micro-batches per update
    seed: int
    device: torch.device
    workers: int | None  # dataloader workers; None: by the size of the set
    resident: bool | None  # keep the images on the device; None: if possible
    share: Share = ALONE


def open_train(images: Images, data: DataSpec, augment: AugmentSpec, load: LoadSpec) -> TrainData:
    """Open the images as augmented training batches."""
    images = checked(images, data.on_error)
    order = Order(len(images), load.batch_size, load.accumulation, load.seed, load.share)
    resident = _keep_on_device(images, data, augment, load)
    if resident is not None:
        return ResidentTrainBatches(resident, data, augment, replace(order, images=len(resident)))
    return TrainBatches(
        images,
        build_train_transform(data, augment),
        Finish(data, load.device, augment.erasing),
        order,
        workers=load.workers,
    )


def open_eval(images: Images, data: DataSpec, augment: AugmentSpec, load: LoadSpec) -> EvalData:
    """Open the images as evaluation batches, each image once and unaugmented."""
    images = checked(images, data.on_error)
    resident = _keep_on_device(images, data, augment, load)
    if resident is not None:
        return ResidentEvalBatches(resident, load.batch_size, load.share)
    return EvalBatches(
        images,
        build_eval_transform(data),
        Finish(data, load.device),
        batch_size=load.batch_size,
        share=load.share,
        workers=load.workers,
    )


def _keep_on_device(
    images: CheckedImages, data: DataSpec, augment: AugmentSpec, load: LoadSpec
) -> ResidentImages | None:
    """Return the images on the device; None if dataloader workers must read them."""
    if load.resident is False:
        return None
    obstacle = find_obstacle(images, data, augment, load.device, 1.0 if load.resident else BUDGET)
    if obstacle is None:
        try:
            return ResidentImages(images, data, load.device)
        except SizesDifferError as error:
            obstacle = str(error)
            if load.resident is None:
                warn(f"{data.name} is read image by image, which is slower, since {obstacle}")
    if load.resident:
        raise ConfigError(f"hardware.resident=true: {data.name} can't be kept on the device, since {obstacle}")
    return None
