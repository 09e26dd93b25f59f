"""Augmentation in batches against torchvision's and timm's, image by image."""

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
from torch.nn.functional import interpolate
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor
from torchvision.transforms.functional import InterpolationMode, resized_crop

import roadmap
from roadmap.config import read_config
from roadmap.data.augment import Crops, Erasures, crop_and_flip, crop_resized, draw_crop_boxes, erase
from roadmap.data.batches import EvalBatches, TrainBatches, own_random_state
from roadmap.data.finish import Finish, erase_boxes
from roadmap.data.open import LoadSpec, open_eval, open_train
from roadmap.data.order import Batch, Order, Share
from roadmap.data.reading import CheckedImages, checked
from roadmap.data.resident import ResidentEvalBatches, ResidentImages, ResidentTrainBatches, find_obstacle
from roadmap.data.sources import ImageArray, open_images
from roadmap.data.spec import AugmentSpec, Crop, Interpolation, OnError
from roadmap.data.streams import Streams
from roadmap.data.transforms import build_eval_transform, build_train_transform
from roadmap.errors import ConfigError

CONFIG = read_config(roadmap.compose())
LEVELS = 2  # Pillow's bicubic weights are whole numbers of 1/256; more than this is a mistake


def random_images(n: int, size: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(0)).byte()


@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize("size", [16, 32, 64])
def test_resized_crop_is_pillows(size: int, interpolation: Interpolation) -> None:
    images = random_images(40, size)
    boxes = draw_crop_boxes(size, (0.08, 1.0), Streams([1], 40))
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
    """timm's, with the paper's values (Table 5) written out."""
    values = {"scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3), "interpolation": "bicubic", "hflip": 0.5}
    values |= {"auto_augment": "rand-m9-mstd0.5-inc1", "re_prob": 0.25, "re_mode": "pixel", "re_count": 1}
    return create_transform(224, is_training=True, **values | {"color_jitter": 0.4} | changes)


def test_photographs_are_transformed_as_by_timm_op_for_op() -> None:
    """The crop stands first; flip and RandAugment are drawn by timm, with the paper's values, and then the batch
    is normalized and erased."""
    config = read_config(roadmap.compose("data=imagenet", "data.root=none", "recipe=paper"))
    data, augment = config.data, config.recipe.augment
    crop, flip, rand_augment = build_train_transform(data, augment).transforms
    timms = papers_transform().transforms
    assert [str(one) for one in (crop.drawn, flip.drawn, rand_augment)] == [str(other) for other in timms[:3]]
    assert [type(part).__name__ for part in timms[3:]] == ["MaybeToTensor", "Normalize", "RandomErasing"]
    load = LoadSpec(4, 1, 0, torch.device("cpu"), workers=0, resident=False)
    images = ImageArray(np.zeros((4, 9, 9, 3), dtype=np.uint8), np.zeros(4, dtype=np.int64))
    assert open_train(images, data, augment, load).finish.erasing == timms[5].probability == 0.25


def test_batches_are_normalized_as_by_timm() -> None:
    data = read_config(roadmap.compose("data=imagenet", "data.root=none")).data
    images = random_images(5, 224)
    to_tensor, normalize = papers_transform().transforms[3:5]
    expected = [normalize(to_tensor(Image.fromarray(image.permute(1, 2, 0).numpy()))) for image in images]
    for form in (torch.contiguous_format, torch.channels_last):
        finished = Finish(data, torch.device("cpu"))(
            Batch(images.contiguous(memory_format=form), torch.arange(5)), 0
        )
        assert finished.images.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(finished.images, torch.stack(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (80, 60), (3000, 40), (224, 224)])
def test_a_photograph_is_cropped_as_by_timm(size: tuple[int, int]) -> None:
    """The same crop and flip for the same seed, resized to within LEVELS, up and down."""
    data = read_config(roadmap.compose("data=imagenet", "data.root=none")).data
    augment = AugmentSpec(crop=Crop.resized, scale=(0.08, 1.0), rand_augment=None, erasing=0.0, flip=0.5)
    ours, timms = (
        build_train_transform(data, augment),
        papers_transform(auto_augment=None, re_prob=0, color_jitter=None),
    )
    width, height = size
    image = random_images(1, max(size))[0, :, :height, :width].permute(1, 2, 0).numpy()
    finish = Finish(data, torch.device("cpu"))
    deviation = 255 * torch.tensor(data.std).view(3, 1, 1)
    for seed in range(5):
        with own_random_state(seed):
            levels = torch.from_numpy(ours(image)).permute(2, 0, 1)[None]
        with own_random_state(seed):
            expected = timms(Image.fromarray(image))
        difference = finish(Batch(levels, torch.zeros(1)), 0).images - expected
        assert (difference * deviation).abs().max() <= LEVELS + 0.01


def test_an_image_of_one_pixel_is_cropped_too() -> None:
    config = read_config(roadmap.compose("data=imagenet", "data.root=none", "recipe=paper"))
    transform = build_train_transform(config.data, config.recipe.augment)
    assert {transform(np.zeros((1, 1, 3), dtype=np.uint8)).shape for _ in range(20)} == {(224, 224, 3)}


def test_crop_boxes_are_distributed_as_timms() -> None:
    """Means and deviations of top, left, height and width over 4,000 draws each, within 4 standard errors."""
    n = 4000
    random.seed(0)
    image = Image.new("RGB", (32, 32))
    draw = RandomResizedCropAndInterpolation(32, scale=(0.08, 1.0))
    theirs = np.array([draw.get_params(image, draw.scale, draw.ratio) for _ in range(n)], dtype=float)
    ours = draw_crop_boxes(32, (0.08, 1.0), Streams([0], n)).astype(float)
    error = np.sqrt(theirs.var(0) / n + ours.var(0) / n)
    assert (np.abs(theirs.mean(0) - ours.mean(0)) < 4 * error).all()
    assert (np.abs(theirs.std(0) / ours.std(0) - 1) < 0.06).all()


def test_padded_crop_and_flip_move_whole_images() -> None:
    """Every result is one of the 25 shifts of its padded image, or a mirrored one, and all of them occur."""
    images = random_images(1, 16).expand(2000, -1, -1, -1)
    augment = AugmentSpec(crop=Crop.padded, scale=(1.0, 1.0), rand_augment=None, erasing=0.0, flip=0.5)
    datas = [replace(CONFIG.data, mirror=mirror) for mirror in (True, False)]
    mirrored, unmirrored = (
        crop_and_flip(images, Crops.draw(16, augment, data, Streams([0], 2000)), augment, data) for data in datas
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
    erase(images, Erasures.draw(16, probability, Streams([0], len(images)), torch.device("cpu")))


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
    share = mask.float().mean((1, 2))
    assert 0.01 < share.min() < 0.04
    assert 0.30 < share.max() < 0.36
    noise = images[erased]
    assert abs(noise.mean()) < 0.01
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    before = images.clone()
    erase_them(images, 0.0)
    assert torch.equal(images, before)


@pytest.mark.parametrize("recipe", ["paper", "short"])
def test_batches_made_together_are_those_made_alone(recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit by bit: so training does not depend on how many are made at once."""
    data = replace(CONFIG.data, image_size=16)
    augment = read_config(roadmap.compose(f"recipe={recipe}")).recipe.augment
    pixels = random_images(230, 16).permute(0, 2, 3, 1).numpy()
    images = CheckedImages(ImageArray(pixels, np.arange(230)), OnError.stop)
    resident = ResidentImages(images, data, torch.device("cpu"))

    def batches(at_once: int) -> list[Batch]:
        monkeypatch.setattr("roadmap.data.resident.TOGETHER", at_once * 20 * 16 * 16)
        updates = ResidentTrainBatches(resident, data, augment, Order(230, 20, 1, 3)).epoch(2)
        return [batch for update in updates for batch in update]

    alone = batches(1)
    assert len(alone) == 11
    for at_once in (3, 11, 100):
        for one, other in zip(alone, batches(at_once), strict=True):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.labels, other.labels)
            assert one.seed == other.seed
            assert other.images.is_contiguous(memory_format=torch.channels_last)


def test_an_epoch_that_goes_on_makes_the_same_batches_together(monkeypatch: pytest.MonkeyPatch) -> None:
    data = replace(CONFIG.data, image_size=16)
    pixels = random_images(230, 16).permute(0, 2, 3, 1).numpy()
    images = CheckedImages(ImageArray(pixels, np.arange(230)), OnError.stop)
    resident = ResidentImages(images, data, torch.device("cpu"))
    monkeypatch.setattr("roadmap.data.resident.TOGETHER", 4 * 10 * 16 * 16)
    batches = ResidentTrainBatches(resident, data, CONFIG.recipe.augment, Order(230, 10, 2, 3))
    draw, groups = batches.augment.draw, []
    monkeypatch.setattr(
        batches.augment, "draw", lambda n, size, seeds: groups.append(seeds) or draw(n, size, seeds)
    )
    whole = list(batches.epoch(0))
    made = groups.copy()
    for start in range(len(whole)):
        groups.clear()
        for update, expected in zip(batches.epoch(0, start), whole[start:], strict=True):
            assert all(torch.equal(one.images, other.images) for one, other in zip(update, expected, strict=True))
        assert groups == made[start // 2 :]  # 4 batches at once are 2 updates


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    images, _ = open_images(CONFIG.data)
    transform = build_train_transform(CONFIG.data, CONFIG.recipe.augment)

    def batches(epoch: int, workers: int = 0, seed: int = 0) -> list[torch.Tensor]:
        finish = Finish(CONFIG.data, torch.device("cpu"), 0.25)
        loader = TrainBatches(images, transform, finish, Order(len(images), 128, 1, seed), workers=workers)
        return [micro_batch[0] for update in loader.epoch(epoch) for micro_batch in update]

    first = batches(1)
    assert all(torch.equal(a, b) for a, b in zip(first, batches(1, workers=2), strict=True))
    assert not torch.equal(first[0], batches(2)[0])
    assert not torch.equal(first[0], batches(1, seed=1)[0])
    assert len(first) == 1437 // 128


@pytest.mark.parametrize("resident", [True, False])
def test_processes_and_updates_split_the_same_batches(resident: bool) -> None:
    """Two processes make what one makes with twice the accumulation, from any update of the epoch on."""
    images, _ = open_images(CONFIG.data)
    load = LoadSpec(64, 2, 3, torch.device("cpu"), workers=0, resident=resident)
    alone = open_train(images, CONFIG.data, CONFIG.recipe.augment, load)
    pair = [
        open_train(images, CONFIG.data, CONFIG.recipe.augment, replace(load, accumulation=1, share=Share(rank, 2)))
        for rank in range(2)
    ]
    whole = list(alone.epoch(1))
    assert len(whole) == alone.updates == pair[0].updates == 1433 // 128
    for start in (0, 7):
        both = zip(*(batches.epoch(1, start) for batches in pair), strict=True)
        for update, (first, second) in zip(whole[start:], both, strict=True):
            for a, b in zip(update, [*first, *second], strict=True):
                assert torch.equal(a.images, b.images)
                assert torch.equal(a.labels, b.labels)
                assert a.seed == b.seed


def test_processes_share_an_evaluation() -> None:
    _, images = open_images(CONFIG.data)
    load = LoadSpec(100, 1, 0, torch.device("cpu"), workers=0, resident=True)
    whole = torch.cat([batch.labels for batch in open_eval(images, CONFIG.data, CONFIG.recipe.augment, load)])
    shares = [
        list(open_eval(images, CONFIG.data, CONFIG.recipe.augment, replace(load, share=Share(rank, 3))))
        for rank in range(3)
    ]
    assert [len(share) for share in shares] == [2, 1, 1]
    in_order = [shares[0][0], shares[1][0], shares[2][0], shares[0][1]]
    assert torch.equal(torch.cat([batch.labels for batch in in_order]), whole)


def test_both_ways_evaluate_the_same_images() -> None:
    _, images = open_images(CONFIG.data)
    finish = Finish(CONFIG.data, torch.device("cpu"))
    one_by_one = list(EvalBatches(images, build_eval_transform(CONFIG.data), finish, batch_size=100))
    resident = list(ResidentEvalBatches(ResidentImages(images, CONFIG.data, torch.device("cpu")), 100, Share()))
    assert sum(len(labels) for _, labels, _ in resident) == len(images) == 364
    for (a, labels, _), (b, others, _) in zip(one_by_one, resident, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        assert torch.equal(labels, others)


def test_what_can_not_stay_on_the_device_is_not_forced_to() -> None:
    """Or a part of the recipe would be dropped without a word."""
    images, _ = open_images(CONFIG.data)
    load = LoadSpec(16, 1, 0, torch.device("cpu"), workers=0, resident=True)
    augment = replace(CONFIG.recipe.augment, rand_augment="rand-m9-t0.5")
    with pytest.raises(ConfigError, match=r"rand_augment=rand-m9-t0\.5 is made image by image, by timm"):
        open_train(images, CONFIG.data, augment, load)
    assert isinstance(open_train(images, CONFIG.data, augment, replace(load, resident=None)), TrainBatches)
    assert isinstance(open_train(images, CONFIG.data, CONFIG.recipe.augment, load), ResidentTrainBatches)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"crop_pct": 0.875}, "only square images that are evaluated whole can"),
        ({"image_size": 24}, "a resized crop needs the images' own 16 pixels, not 24"),
        ({}, "1,000 images of 16 pixels take more than 25% of its memory"),
    ],
)
def test_what_keeps_a_set_off_the_device(
    changes: dict[str, float], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = replace(CONFIG.data, image_size=16)
    augment = read_config(roadmap.compose("recipe=paper")).recipe.augment
    pixels = random_images(1000, 16).permute(0, 2, 3, 1).numpy()
    images = checked(ImageArray(pixels, np.arange(1000)), OnError.stop)
    monkeypatch.setattr("roadmap.data.resident._memory", lambda _: 4 * pixels.nbytes - (not changes))
    assert find_obstacle(images, replace(data, **changes), augment, torch.device("cpu")) == reason
    monkeypatch.setattr("roadmap.data.resident._memory", lambda _: 4 * pixels.nbytes)
    assert find_obstacle(images, data, augment, torch.device("cpu")) is None


@pytest.mark.parametrize(
    ("resident", "part", "stays"), [(None, 0.25, True), (None, 0.26, False), (True, 0.26, True), (True, 1, True)]
)
def test_more_of_the_memory_is_for_those_who_ask(
    resident: bool | None, part: float, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = replace(CONFIG.data, image_size=16)
    pixels = random_images(100, 16).permute(0, 2, 3, 1).numpy()
    monkeypatch.setattr("roadmap.data.resident._memory", lambda _: pixels.nbytes / part)
    load = LoadSpec(10, 1, 0, torch.device("cpu"), workers=0, resident=resident)
    batches = open_train(ImageArray(pixels, np.arange(100)), data, CONFIG.recipe.augment, load)
    assert isinstance(batches, ResidentTrainBatches) == stays
    monkeypatch.setattr("roadmap.data.resident._memory", lambda _: pixels.nbytes - 1)
    with pytest.raises(ConfigError, match="100 images of 16 pixels take more than 100% of its memory"):
        open_train(ImageArray(pixels, np.arange(100)), data, CONFIG.recipe.augment, replace(load, resident=True))


@pytest.mark.parametrize("size", [(375, 500), (500, 333), (224, 224), (100, 180)])
def test_evaluation_takes_the_center_of_the_shrunk_image(size: tuple[int, int]) -> None:
    """Short side 256, the middle 224 (table 5's recipe evaluates so), against torchvision's own transforms."""
    data = read_config(roadmap.compose("data=imagenet", "recipe=paper")).data
    pixels = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    images = checked(ImageArray(pixels[None], np.zeros(1, dtype=np.int64)), OnError.stop)
    finish = Finish(data, torch.device("cpu"))
    ((ours, _, _),) = EvalBatches(images, build_eval_transform(data), finish, batch_size=1)
    expected = Compose(
        [
            Resize(256, InterpolationMode.BICUBIC),
            CenterCrop(224),
            ToTensor(),
            Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )(Image.fromarray(pixels))
    torch.testing.assert_close(ours[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [16, 32])
def test_both_ways_train_on_the_same_distribution(size: int) -> None:
    """The paper's augmentation of one image, 1,500 times each: the means and deviations of pixels over draws.

    Means differ by less than 5 standard errors at each of 49 places a channel, deviations by 15%.
    """
    n = 1500
    data = replace(read_config(roadmap.compose("data=cifar10")).data, image_size=size)
    augment = read_config(roadmap.compose("recipe=paper")).recipe.augment
    smooth = interpolate(
        torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(5)), size=(size, size), mode="bicubic"
    )
    pixels = (255 * smooth).clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()
    images = CheckedImages(ImageArray(np.repeat(pixels[None], n, 0), np.zeros(n, dtype=np.int64)), OnError.stop)
    resident = ResidentTrainBatches(
        ResidentImages(images, data, torch.device("cpu")), data, augment, Order(n, n, 1, 0)
    )
    ((ours, _, _),) = next(iter(resident.epoch(0)))
    transform = build_train_transform(data, augment)
    with own_random_state(0):
        levels = torch.from_numpy(np.stack([transform(images[0][0]) for _ in range(n)])).permute(0, 3, 1, 2)
    finish = Finish(data, torch.device("cpu"), augment.erasing)
    theirs = finish(Batch(levels, torch.zeros(n)), 0).images
    step = size // 7
    ours, theirs = (batch[:, :, ::step, ::step].double() for batch in (ours, theirs))
    error = ((ours.var(0) + theirs.var(0)) / n).sqrt()
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 5 * error).all()
    assert (ours.std(0) / theirs.std(0) - 1).abs().max() < 0.15
