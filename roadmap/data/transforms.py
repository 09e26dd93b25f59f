"""From an image file to a normalized tensor, one image at a time: timm's transforms with the recipe's values."""

from collections.abc import Callable

from PIL import Image
from timm.data import create_transform
from torch import Tensor
from torchvision.transforms import RandomCrop, Resize
from torchvision.transforms.functional import InterpolationMode

from roadmap.data.spec import AugmentSpec, Crop, DataSpec

Transform = Callable[[Image.Image], Tensor]


def build_train_transform(data: DataSpec, augment: AugmentSpec) -> Transform:
    """Random crop, flip, RandAugment, normalization, random erasing: an image to (3, S, S).

    Table 5 in the order of the released code, which takes it from timm. Color jitter is left out: the
    released code sets 0.4, but timm drops it where RandAugment is on.
    """
    transform = create_transform(
        input_size=data.image_size,
        is_training=True,
        scale=augment.scale,
        ratio=(3 / 4, 4 / 3),
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
    if augment.crop is Crop.padded:  # as the released code does for images of 32 pixels
        size = data.image_size
        interpolation = InterpolationMode(data.interpolation.value)
        crop = [Resize((size, size), interpolation), RandomCrop(size, padding=max(size // 8, 1))]
        transform.transforms[0:1] = crop
    return transform


def build_eval_transform(data: DataSpec) -> Transform:
    """Short side to image_size / crop_pct, center crop, normalization: an image to (3, S, S)."""
    return create_transform(
        input_size=data.image_size,
        is_training=False,
        crop_pct=data.crop_pct,
        interpolation=data.interpolation.value,
        mean=data.mean,
        std=data.std,
    )
