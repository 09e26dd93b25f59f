"""An epoch of training and validation with timm's own parts, the peer in epoch.py.

timm's train.py is not in its wheel, so this combines timm's parts in that script's order: create_loader with
dataloader workers and the prefetcher (FastCollateMixup mixes in the workers; without the prefetcher, Mixup mixes in
the loop), create_optimizer_v2, SoftTargetCrossEntropy, create_scheduler_v2 after each update, then validation.
"""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from PIL import Image
from timm.data import FastCollateMixup, Mixup, create_loader
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter, accuracy
from torch import Tensor, nn

from roadmap.config import Config
from roadmap.data.sources import ArrayDataset
from roadmap.system.machine import count_cores
from roadmap.training.measure.check_work import Work
from roadmap.training.spec import Precision
from roadmap.training.step import DTYPES


class TimmImages(torch.utils.data.Dataset[tuple[Any, int]]):
    """The same images as torchvision's CIFAR10 returns them: PIL, then the transform that create_loader sets."""

    def __init__(self, images: ArrayDataset):
        self.images = images
        self.transform: Callable[[Image.Image], Any] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        pixels, label = self.images[index]
        image = Image.fromarray(pixels)
        return (image if self.transform is None else self.transform(image)), label


class TimmEpoch:
    """`train_one_epoch` and `validate` of timm's train.py, on timm's loader, Mixup, optimizer and scheduler."""

    def __init__(
        self,
        network: nn.Module,
        config: Config,
        train: ArrayDataset,
        val: ArrayDataset,
        device: torch.device,
        workers: int | None,
        prefetcher: bool,
    ):
        recipe, data = config.recipe, config.data
        self.device = device
        self.precision = config.hardware.precision
        self.prefetcher = prefetcher
        torch.backends.cudnn.benchmark = True  # as in timm's train.py
        self.model = network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.hardware.compile:
            self.model.compile()
        self.optimizer = create_optimizer_v2(
            self.model, opt="adamw", lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=recipe.momentum
        )
        mixing = {
            "mixup_alpha": recipe.mixup,
            "cutmix_alpha": recipe.cutmix,
            "label_smoothing": recipe.label_smoothing,
            "num_classes": data.num_classes,
        }
        self.mixup = None if prefetcher else Mixup(**mixing)
        common: dict[str, Any] = {
            "input_size": (3, data.image_size, data.image_size),
            "batch_size": recipe.total_batch,
            "use_prefetcher": prefetcher,
            "interpolation": data.interpolation.value,
            "mean": data.mean,
            "std": data.std,
            "num_workers": max(count_cores() - 1, 1) if workers is None else workers,
            "persistent_workers": workers != 0,
            "pin_memory": self.device.type == "cuda",
            "device": self.device,
        }
        self.train = create_loader(
            TimmImages(train),
            is_training=True,
            scale=recipe.augment.scale,
            ratio=(3 / 4, 4 / 3),
            hflip=recipe.augment.flip,
            color_jitter=None,
            auto_augment=recipe.augment.rand_augment,
            re_prob=recipe.augment.erasing,
            re_mode="pixel",
            collate_fn=FastCollateMixup(**mixing) if prefetcher else None,
            **common,
        )
        self.val_images = len(val)
        self.val = create_loader(TimmImages(val), is_training=False, crop_pct=data.crop_pct, **common)
        self.loss = SoftTargetCrossEntropy().to(self.device)
        self.scheduler, _ = create_scheduler_v2(
            self.optimizer,
            sched="cosine",
            num_epochs=recipe.epochs,
            warmup_epochs=int(recipe.warmup_epochs),
            step_on_epochs=False,
            updates_per_epoch=len(self.train),
        )
        self.updates = 0

    def __call__(self) -> Callable[[], Work]:
        trained = self._train_one_epoch()
        losses = self._validate()
        return lambda: Work(trained if losses.count == self.val_images else 0, losses.avg)

    def _train_one_epoch(self) -> int:
        """The number of images that were trained on."""
        self.model.train()
        self.optimizer.zero_grad()
        losses = AverageMeter()
        for images, targets in self._placed(self.train):
            if self.mixup is not None:
                images, targets = self.mixup(images, targets)
            images = images.contiguous(memory_format=torch.channels_last)
            with self._autocast():
                loss = self.loss(self.model(images), targets)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.updates += 1
            losses.update(loss.item() if self.device.type == "cpu" else 0.0, len(images))
            self.scheduler.step_update(num_updates=self.updates, metric=losses.avg)
        return losses.count

    @torch.inference_mode()
    def _validate(self) -> AverageMeter:
        """The loss over the validation images."""
        self.model.eval()
        losses, top1 = AverageMeter(), AverageMeter()
        criterion = nn.CrossEntropyLoss()
        for images, targets in self._placed(self.val):
            images = images.contiguous(memory_format=torch.channels_last)
            with self._autocast():
                logits = self.model(images)
                loss = criterion(logits, targets)
            best, _ = accuracy(logits, targets, topk=(1, 5))
            losses.update(loss.item(), len(images))
            top1.update(best.item(), len(images))
        return losses

    def _placed(self, loader: Iterable[tuple[Tensor, Tensor]]) -> Iterable[tuple[Tensor, Tensor]]:
        if self.prefetcher:  # it moves and normalizes the images
            return loader
        return ((images.to(self.device), targets.to(self.device)) for images, targets in loader)

    def _autocast(self) -> Any:
        if self.precision is Precision.fp32:
            return nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.precision])
