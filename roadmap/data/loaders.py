"""Opening of a data set as batches: resident on the device, or read by dataloader workers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from roadmap.data.augment.normalize_erase import NormalizeAndErase
from roadmap.data.augment.per_image import build_eval_transform, build_train_transform
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.decode import SizesDifferError
from roadmap.data.device_loader import RESIDENT, DeviceDataset, DeviceEvalLoader, DeviceTrainLoader, find_obstacle
from roadmap.data.sampler import UNSHARDED, EpochSampler, MicroBatches, Shard
from roadmap.data.spec import AugmentSpec, DataSpec
from roadmap.data.worker_loader import WorkerEvalLoader, WorkerTrainLoader
from roadmap.errors import ConfigError
from roadmap.system.console import warn


class TrainLoader(Protocol):
    total: int  # images of the set, without those that were skipped when it was decoded
    updates: int  # per epoch
    prefetch_factor: int  # micro-batches that may be prefetched

    def epoch(self, epoch: int, start: int = 0) -> Iterator[MicroBatches]: ...


@dataclass(frozen=True)
class LoaderSpec:
    batch_size: int  # images per micro-batch
    accumulation: int  # micro-batches per update
    seed: int
    device: torch.device
    workers: int | None  # dataloader workers; None: by the size of the set
    resident: bool | None  # keep the images on the device; None: if possible
    shard: Shard = UNSHARDED


def open_train_loader(
    images: CheckedDataset, data: DataSpec, augment: AugmentSpec, load: LoaderSpec
) -> TrainLoader:
    """Open the images as augmented training batches."""
    sampler = EpochSampler(len(images), load.batch_size, load.accumulation, load.seed, load.shard)
    resident = _keep_on_device(images, data, augment, load)
    if resident is not None:
        return DeviceTrainLoader(resident, data, augment, replace(sampler, images=len(resident)))
    return WorkerTrainLoader(
        images,
        build_train_transform(data, augment),
        NormalizeAndErase(data, load.device, augment.erasing),
        sampler,
        workers=load.workers,
    )


def open_eval_loader(
    images: CheckedDataset, data: DataSpec, augment: AugmentSpec, load: LoaderSpec
) -> DeviceEvalLoader | WorkerEvalLoader:
    """Open the images as evaluation batches, each image once and unaugmented."""
    resident = _keep_on_device(images, data, augment, load)
    if resident is not None:
        return DeviceEvalLoader(resident, load.batch_size, load.shard)
    return WorkerEvalLoader(
        images,
        build_eval_transform(data),
        NormalizeAndErase(data, load.device),
        batch_size=load.batch_size,
        shard=load.shard,
        workers=load.workers,
    )


def _keep_on_device(
    images: CheckedDataset, data: DataSpec, augment: AugmentSpec, load: LoaderSpec
) -> DeviceDataset | None:
    """Return the images on the device; None if dataloader workers must read them."""
    if load.resident is False:
        return None
    obstacle = find_obstacle(images, data, augment, load.device, 1.0 if load.resident else RESIDENT)
    if obstacle is None:
        try:
            return DeviceDataset(images, data, load.device)
        except SizesDifferError as error:
            obstacle = str(error)
            if load.resident is None:
                warn(f"{data.name} is read by dataloader workers, which is slower, since {obstacle}")
    if load.resident:
        raise ConfigError(f"hardware.resident=true: {data.name} can't be kept on the device, since {obstacle}")
    return None
