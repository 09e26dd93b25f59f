"""Which of the two ways a data set takes to the network: kept on the device, or read by worker processes."""

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
    """Batches to train on."""

    updates: int  # of an epoch
    in_advance: int  # micro-batches that may be made before they are asked for

    def epoch(self, epoch: int, start: int = 0) -> Iterator[MicroBatches]: ...


class EvalData(Protocol):
    """Batches to evaluate on, each image once."""

    def __iter__(self) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class LoadSpec:
    """How batches are made and brought to the device."""

    batch_size: int  # images of a micro-batch
    accumulation: int  # micro-batches of an update
    seed: int
    device: torch.device
    workers: int | None  # processes; None: by the size of the set
    resident: bool | None  # kept on the device; None: where it can be
    share: Share = ALONE


def open_train(images: Images, data: DataSpec, augment: AugmentSpec, load: LoadSpec) -> TrainData:
    """Training batches of the images, augmented."""
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
    """Batches of the images, each once and as it is."""
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
    """The images on the device; None where worker processes are to read them."""
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
