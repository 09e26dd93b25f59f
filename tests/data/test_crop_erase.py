"""Batched augmentation compared with torchvision's and timm's, image by image."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.transforms import RandomResizedCropAndInterpolation
from torchvision.transforms.functional import InterpolationMode, resized_crop

import roadmap
from roadmap.config import read_config
from roadmap.data.augment.crop_erase import Crops, Erasures, crop_and_flip, crop_resized, draw_crop_boxes, erase
from roadmap.data.augment.normalize_erase import NormalizeAndErase, erase_boxes
from roadmap.data.augment.per_image import build_train_transform
from roadmap.data.augment.rand_policy import RandPolicy
from roadmap.data.augment.rng import BatchRng
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.loaders import LoaderSpec, open_train_loader
from roadmap.data.sampler import Batch
from roadmap.data.sources import ArrayDataset
from roadmap.data.spec import AugmentSpec, Crop, Interpolation, OnError
from roadmap.data.worker_loader import isolated_random_state

CONFIG = read_config(roadmap.compose())
LEVELS = 2  # Pillow's bicubic weights are multiples of 1/256; a larger difference is a bug


def random_images(n: int, size: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize("size", [16, 32, 64])
def test_resized_crop_equals_pillow(size: int, interpolation: Interpolation) -> None:
    images = random_images(40, size)
    boxes = draw_crop_boxes(size, (0.08, 1.0), BatchRng([1], 40))
    flip = torch.arange(40) % 2 == 1
    ours = crop_resized(images, torch.from_numpy(boxes), flip, interpolation).permute(0, 2, 3, 1).numpy()
    for image, (top, left, height, width), flipped, result in zip(
        images.permute(0, 2, 3, 1).numpy(), boxes.tolist(), flip.tolist(), ours, strict=True
    ):
        box = top, left, height, width
        expected = resized_crop(Image.fromarray(image), *box, [size, size], InterpolationMode(interpolation.value))
        pixels = np.asarray(expected)[:, ::-1] if flipped else np.asarray(expected)
        assert np.abs(pixels.astype(int) - result).max() <= LEVELS


def papers_transform(**changes: Any) -> Any:
    """Return timm's transform, with the paper's values (table 5) written out."""
    values = {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "interpolation": "bicubic", "hflip": 0.5}
    values |= {"auto_augment": "rand-m9-mstd0.5-inc1", "re_prob": 0.25, "re_mode": "pixel", "re_count": 1}
    return create_transform(224, is_training=True, **values | {"color_jitter": 0.4} | changes)


def test_transform_matches_timm_operation_by_operation() -> None:
    """The crop comes first; timm draws flip and RandAugment, with the paper's values, and then the batch is
    normalized and erased.
    """
    config = read_config(roadmap.compose("data=imagenet", "data.root=none", "recipe=paper"))
    data, augment = config.data, config.recipe.augment
    crop, flip, rand_augment = build_train_transform(data, augment).transforms
    timms = papers_transform().transforms
    assert [str(one) for one in (crop.drawn, flip.drawn, rand_augment)] == [str(other) for other in timms[:3]]
    assert [type(part).__name__ for part in timms[3:]] == ["MaybeToTensor", "Normalize", "RandomErasing"]
    load = LoaderSpec(4, 1, 0, torch.device("cpu"), workers=0, resident=False)
    arrays = np.zeros((4, 9, 9, 3), dtype=np.uint8), np.zeros(4, dtype=np.int64)
    images = CheckedDataset(ArrayDataset(*arrays), OnError.stop)
    assert open_train_loader(images, data, augment, load).normalize_erase.erasing == timms[5].probability == 0.25


@pytest.mark.parametrize("notation", ["rand", "rand-m9-tweights", "rand-t3a-n3-p1.0", "rand-mstd1-t3aw-inc1"])
def test_policies_and_timms_sets_of_operations_are_timms(notation: str) -> None:
    config = read_config(roadmap.compose("data=imagenet", "data.root=none", "recipe=paper"))
    augment = replace(config.recipe.augment, rand_augment=notation)
    assert (RandPolicy.parse(notation) is None) == ("-t" in notation)  # then not applied in batches
    ours = build_train_transform(config.data, augment).transforms[2]
    assert str(ours) == str(papers_transform(auto_augment=notation).transforms[2])


def test_normalization_matches_timm() -> None:
    data = read_config(roadmap.compose("data=imagenet", "data.root=none")).data
    images = random_images(5, 224)
    to_tensor, normalize = papers_transform().transforms[3:5]
    expected = [normalize(to_tensor(Image.fromarray(image.permute(1, 2, 0).numpy()))) for image in images]
    for form in (torch.contiguous_format, torch.channels_last):
        finished = NormalizeAndErase(data, torch.device("cpu"))(
            Batch(images.contiguous(memory_format=form), torch.arange(5)), 0
        )
        assert finished.images.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(finished.images, torch.stack(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (80, 60), (3000, 40), (224, 224)])
def test_crop_matches_timm(size: tuple[int, int]) -> None:
    """The same crop and flip for the same seed, resized to within LEVELS, up and down."""
    data = read_config(roadmap.compose("data=imagenet", "data.root=none")).data
    augment = AugmentSpec(crop=Crop.resized, scale=(0.08, 1.0), rand_augment=None, erasing=0.0, flip=0.5)
    ours, timms = (
        build_train_transform(data, augment),
        papers_transform(auto_augment=None, re_prob=0, color_jitter=None),
    )
    width, height = size
    image = random_images(1, max(size))[0, :, :height, :width].permute(1, 2, 0).numpy()
    finish = NormalizeAndErase(data, torch.device("cpu"))
    deviation = 255 * torch.tensor(data.std).view(3, 1, 1)
    for seed in range(5):
        with isolated_random_state(seed):
            levels = torch.from_numpy(ours(image)).permute(2, 0, 1)[None]
        with isolated_random_state(seed):
            expected = timms(Image.fromarray(image))
        difference = finish(Batch(levels, torch.zeros(1)), 0).images - expected
        assert (difference * deviation).abs().max() <= LEVELS + 0.01


def test_one_pixel_image_can_be_cropped() -> None:
    config = read_config(roadmap.compose("data=imagenet", "data.root=none", "recipe=paper"))
    transform = build_train_transform(config.data, config.recipe.augment)
    assert {transform(np.zeros((1, 1, 3), dtype=np.uint8)).shape for _ in range(20)} == {(224, 224, 3)}


def test_crop_boxes_have_timms_distribution() -> None:
    """Means and standard deviations of top, left, height and width over 4,000 draws, within 4 standard errors."""
    n = 4000
    random.seed(0)
    image = Image.new("RGB", (32, 32))
    draw = RandomResizedCropAndInterpolation(32, scale=(0.08, 1.0))
    theirs = np.array([draw.get_params(image, draw.scale, draw.ratio) for _ in range(n)], dtype=float)
    ours = draw_crop_boxes(32, (0.08, 1.0), BatchRng([0], n)).astype(float)
    error = np.sqrt(theirs.var(0) / n + ours.var(0) / n)
    assert (np.abs(theirs.mean(0) - ours.mean(0)) < 4 * error).all()
    assert (np.abs(theirs.std(0) / ours.std(0) - 1) < 0.06).all()


def test_padded_crop_and_flip_move_whole_images() -> None:
    """Every result is one of the 25 shifts of its padded image, possibly mirrored, and all of them occur."""
    images = random_images(1, 16).expand(2000, -1, -1, -1)
    augment = AugmentSpec(crop=Crop.padded, scale=(1.0, 1.0), rand_augment=None, erasing=0.0, flip=0.5)
    datas = [replace(CONFIG.data, mirror=mirror) for mirror in (True, False)]
    mirrored, unmirrored = (
        crop_and_flip(images, Crops.draw(16, augment, data, BatchRng([0], 2000)), augment, data) for data in datas
    )
    padded = torch.nn.functional.pad(images[0].float(), (2, 2, 2, 2))
    shifts = [padded[:, y : y + 16, x : x + 16] for y in range(5) for x in range(5)]
    allowed = torch.stack([*shifts, *(shift.flip(2) for shift in shifts)]).flatten(1)
    matches = (mirrored.flatten(1)[:, None] == allowed).all(2)
    assert (matches.sum(1) == 1).all()
    frequencies = matches.float().mean(0)
    assert (frequencies > 0.2 / 50).all()
    assert frequencies[25:].sum().item() == pytest.approx(0.5, abs=0.05)
    assert (unmirrored.flatten(1)[:, None] == allowed[:25]).all(2).any(1).all()


def erase_all_at_once(images: torch.Tensor, probability: float) -> None:
    erase(images, Erasures.draw(16, probability, BatchRng([0], len(images))))


@pytest.mark.parametrize("erase_them", [erase_all_at_once, partial(erase_boxes, seed=0)])
def test_erasing_fills_one_rectangle_of_a_quarter_of_the_images(erase_them: Callable[..., None]) -> None:
    images = torch.full((4000, 3, 16, 16), 7.0).contiguous(memory_format=torch.channels_last)
    erase_them(images, 0.25)
    erased = images != 7.0
    touched = erased.flatten(1).any(1)
    assert touched.float().mean().item() == pytest.approx(0.25, abs=0.03)
    mask = erased[touched][:, 0]
    heights, widths = mask.any(2).sum(1), mask.any(1).sum(1)
    assert (mask.sum((1, 2)) == heights * widths).all()
    shard = mask.float().mean((1, 2))
    assert 0.01 < shard.min() < 0.04
    assert 0.30 < shard.max() < 0.36
    noise = images[erased]
    assert abs(noise.mean()) < 0.01
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    before = images.clone()
    erase_them(images, 0.0)
    assert torch.equal(images, before)
