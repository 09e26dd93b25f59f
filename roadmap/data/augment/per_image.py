"""timm's transforms of one image with the recipe's values, for dataloader workers.

They return uint8 levels, a quarter of the memory of floats to pass on. Normalization and random erasing follow on
whole batches (normalize_erase.py).
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.auto_augment import RandAugment
from timm.data.transforms import MaybeToTensor, RandomResizedCropAndInterpolation
from torch.nn.functional import interpolate
from torchvision.transforms import Compose, RandomCrop, RandomHorizontalFlip
from torchvision.transforms.functional import InterpolationMode

from roadmap.data.augment.crop_erase import RATIO
from roadmap.data.augment.per_image_ops import patch_for_arrays
from roadmap.data.image_io import Pixels
from roadmap.data.spec import AugmentSpec, Crop, DataSpec

Transform = Callable[[Pixels], Pixels]  # maps any size to (S, S, 3)


class ResizedCrop:
    """timm's random resized crop: timm draws it, and torch resizes it in a fifth of Pillow's time.

    Levels differ from Pillow's by at most 2 of 255.
    """

    def __init__(self, drawn: RandomResizedCropAndInterpolation, interpolation: InterpolationMode):
        self.drawn = drawn
        self.interpolation = interpolation

    def __call__(self, image: Pixels) -> Pixels:
        levels = torch.from_numpy(image).permute(2, 0, 1)
        top, left, height, width = self.drawn.get_params(levels, self.drawn.scale, self.drawn.ratio)
        top, left = min(top, len(image) - 1), min(left, image.shape[1] - 1)
        height, width = max(height, 1), max(width, 1)  # for an image of few pixels, timm can draw 0
        part = levels[None, :, top : top + height, left : left + width]
        resized = interpolate(
            part.contiguous(memory_format=torch.channels_last),  # the fast layout, and the result's
            size=self.drawn.size,
            mode=self.interpolation.value,
            antialias=True,
        )
        return resized[0].permute(1, 2, 0).numpy()


class Flip:
    """timm's horizontal flip, with its draws."""

    def __init__(self, drawn: RandomHorizontalFlip):
        self.drawn = drawn

    def __call__(self, image: Pixels) -> Pixels:
        return torch.from_numpy(image).flip(1).numpy() if torch.rand(1) < self.drawn.p else image


class PillowCompose:
    """Applies transforms of Pillow images to an array."""

    def __init__(self, transforms: list[Callable[[Image.Image], Image.Image]]):
        self.transforms = transforms

    def __call__(self, image: Pixels) -> Pixels:
        changed = Image.fromarray(image)
        for transform in self.transforms:
            changed = transform(changed)
        return np.array(changed)


def build_train_transform(data: DataSpec, augment: AugmentSpec) -> Compose:
    """Build random crop, flip and RandAugment like timm's, but on arrays; torch does the resized crop."""
    transforms: list[Transform] = []
    for part in _pillow_transforms(build_timm_transform(data, augment)):
        if isinstance(part, RandomResizedCropAndInterpolation):
            transforms.append(ResizedCrop(part, InterpolationMode(data.interpolation.value)))
        elif isinstance(part, RandomHorizontalFlip):
            transforms.append(Flip(part))
        elif isinstance(part, RandAugment):
            patch_for_arrays(part)
            transforms.append(part)
        else:
            transforms.append(PillowCompose([part]))
    return Compose(transforms)


def build_timm_transform(data: DataSpec, augment: AugmentSpec) -> Compose:
    """Build random crop, flip, RandAugment, normalization and random erasing: Pillow image to (3, S, S).

    Table 5 in the order of the released code, which uses timm's. There is no color jitter: the released code sets
    0.4, but timm drops it if RandAugment is on.
    """
    transform = create_transform(
        input_size=data.image_size,
        is_training=True,
        scale=augment.scale,
        ratio=RATIO,
        hflip=augment.flip if data.mirror else 0.0,
        color_jitter=None,
        auto_augment=augment.rand_augment,
        interpolation=data.interpolation.value,
        mean=data.mean,
        std=data.std,
        re_prob=augment.erasing,
        re_mode="pixel",
        re_count=1,
    )
    if augment.crop is Crop.padded:
        size = data.image_size
        transform.transforms[0:1] = [*_eval_transforms(data), RandomCrop(size, padding=max(size // 8, 1))]
    return transform


def build_eval_transform(data: DataSpec) -> Transform:
    """Build timm's evaluation transform: short side to image_size / crop_pct, center crop."""
    return PillowCompose(_eval_transforms(data))


def _eval_transforms(data: DataSpec) -> list[Callable[[Image.Image], Image.Image]]:
    crop_pct, interpolation = data.crop_pct, data.interpolation.value
    return _pillow_transforms(create_transform(data.image_size, crop_pct=crop_pct, interpolation=interpolation))


def _pillow_transforms(transform: Compose) -> list[Callable[[Image.Image], Image.Image]]:
    """Return the transforms before the conversion to a tensor."""
    kinds = [type(part) for part in transform.transforms]
    return list(transform.transforms[: kinds.index(MaybeToTensor)])
