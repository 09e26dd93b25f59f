"""Settings of the images and of their augmentation."""

import re
from dataclasses import dataclass
from enum import StrEnum

from roadmap.errors import ConfigError

RAND_AUGMENT = {  # sections of timm's notation for RandAugment, and their values
    "m": r"\d+",  # magnitude
    "n": r"[1-9]\d*",  # operations for each image
    "p": r"0(\.\d*)?|1(\.0*)?",  # probability that an operation is applied
    "mstd": r"\d+(\.\d*)?",  # standard deviation of the magnitude
    "mmax": r"[1-9]\d*",  # maximum magnitude
    "inc": "[01]",  # 1: every operation changes more at a higher magnitude
    "t": "weights|3a|3aw",  # operations to draw from
}


class Source(StrEnum):
    """Source of the images (sources.py)."""

    digits = "digits"
    cifar10 = "cifar10"
    cifar100 = "cifar100"
    folder = "folder"


class Interpolation(StrEnum):
    bicubic = "bicubic"
    bilinear = "bilinear"


class OnError(StrEnum):
    """Action on an image that cannot be decoded."""

    stop = "raise"  # ends the run with the image's path
    skip = "skip"  # leaves the image out, counts and reports it


class Crop(StrEnum):
    """Crop of a training image."""

    resized = "resized"  # random resized crop: a fraction `scale` of the area, ratio 3/4 to 4/3
    padded = "padded"  # the evaluation's part of the image, shifted at random within a zero padding of an eighth


@dataclass(frozen=True)
class DataSpec:
    """A data set: its images, classes and statistics. The network takes its input size and classes from here."""

    name: str  # of the data set, in results and in the experiment's name
    source: Source  # where the images come from
    root: str | None  # folder with train/CLASS/* and val/CLASS/* (or test/), or with tar archives, or
    #   hfds/NAME of Hugging Face; None: the source's default
    num_classes: int  # number of classes; counted for class folders
    mean: tuple[float, ...]  # per channel, of pixels in 0..1
    std: tuple[float, ...]  # per channel, of pixels in 0..1
    image_size: int  # height and width of the network's input, in pixels
    stem_stride: int  # total stride of the stem that suits this size
    crop_pct: float  # evaluation resizes the short side to image_size / crop_pct, then crops the center
    interpolation: Interpolation  # of resized images
    on_error: OnError  # if an image cannot be decoded
    cache: str | None  # folder of decoded images, for sets that stay on the device; "auto": the user's; None: none
    holdout: int  # fixed random training images to evaluate instead of the validation images, for
    #   choosing a recipe without looking at the latter; 0: none
    mirror: bool  # True if a mirrored image keeps its class; False forbids the recipe's flip
    note: str | None  # what a curve on this data can and cannot show; printed below it

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise ConfigError(f"data.image_size={self.image_size}: must be at least 1 pixel")
        if self.num_classes < 2:
            raise ConfigError(f"data.num_classes={self.num_classes}: must be at least 2 classes")
        if self.holdout < 0:
            raise ConfigError(f"data.holdout={self.holdout}: must be a number of training images, 0 for none")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ConfigError(f"data.mean={self.mean}, data.std={self.std}: must be three numbers, std above 0")
        if not 0 < self.crop_pct <= 1:
            raise ConfigError(f"data.crop_pct={self.crop_pct}: must be above 0 and at most 1")


@dataclass(frozen=True)
class AugmentSpec:
    """Augmentation of single training images; part of the recipe (table 5)."""

    crop: Crop  # of a training image: a random part that is resized, or shifted within a padding
    scale: tuple[float, ...]  # smallest and largest fraction of the area that a resized crop takes
    rand_augment: str | None  # policy in timm's notation, such as rand-m9-mstd0.5-inc1; None: off
    erasing: float  # probability of random erasing, per-pixel noise, after normalization
    flip: float  # probability of a horizontal flip, if data.mirror allows one

    def __post_init__(self) -> None:
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ConfigError(f"recipe.augment.scale={self.scale}: two fractions of the area, 0 < low <= high <= 1")
        if self.rand_augment is not None and not _is_rand_augment(self.rand_augment):
            raise ConfigError(
                f"recipe.augment.rand_augment={self.rand_augment}: must be null or in timm's notation, such as "
                "rand-m9-mstd0.5-inc1. Each at most once: m, n and mmax with an integer, mstd with a number, p "
                "with a probability, inc0 or inc1, tweights, t3a or t3aw"
            )
        for name, value in (("erasing", self.erasing), ("flip", self.flip)):
            if not 0 <= value <= 1:
                raise ConfigError(f"recipe.augment.{name}={value}: must be a probability, 0 to 1")


def _is_rand_augment(notation: str) -> bool:
    """Return True if timm applies each section of a notation; it ignores some that it cannot read."""
    kind, *sections = notation.split("-")
    names = [
        next((name for name, value in RAND_AUGMENT.items() if re.fullmatch(f"{name}({value})", section)), None)
        for section in sections
    ]
    return kind == "rand" and None not in names and len(set(names)) == len(names)
