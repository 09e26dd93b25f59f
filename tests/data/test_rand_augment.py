"""Batched RandAugment compared with timm's, image by image: each operation's levels, and the draws' frequencies."""

import random
import re
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy.stats import chi2_contingency, ks_2samp
from timm.data.auto_augment import LEVEL_TO_ARG, NAME_TO_OP, rand_augment_transform
from torch.nn.functional import interpolate
from torchvision.transforms.functional import InterpolationMode, pil_modes_mapping

import roadmap
from roadmap.config import read_config
from roadmap.data.augment.color import auto_contrast
from roadmap.data.augment.rand_augment import Plan, RandAugment
from roadmap.data.augment.rand_policy import NOT_APPLIED, OPS, Draws, RandPolicy, argument_of
from roadmap.data.augment.rng import BatchRng
from roadmap.data.spec import AugmentSpec, Crop, Interpolation
from roadmap.data.worker_loader import isolated_random_state
from roadmap.errors import ConfigError

DATA = read_config(roadmap.compose("data=cifar10")).data
FILL = tuple(round(255 * mean) for mean in DATA.mean)
CPU = torch.device("cpu")
PAPER = "rand-m9-mstd0.5-inc1"
GEOMETRIC = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")
SIGNED = (*GEOMETRIC, "Color", "Contrast", "Brightness", "Sharpness")
INCREASING = ("Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness")
MAGNITUDES = (0.0, 0.4, 3.7, 6.3, 9.0, 10.0)
DRAWS = 20_000  # images


def make_images(size: int) -> torch.Tensor:
    """Make levels float32 (12, 3, S, S): smooth, noisy and low-contrast, one of a single level and one of two."""
    generator = torch.Generator().manual_seed(size)
    coarse = torch.rand(12, 3, 5, 5, generator=generator) * 300 - 20
    smooth = interpolate(coarse, size=(size, size), mode="bicubic")
    images = smooth + 12 * torch.randn(smooth.shape, generator=generator)
    images[3] = images[3] * 0.1 + 100  # a narrow histogram
    images[4] = 255 * torch.rand(3, size, size, generator=generator)
    images[5] = 77
    images[6] = torch.where(images[6] > 128, 201, 13)
    return images.round().clamp(0, 255)


def timm_name(name: str, increasing: bool) -> str:
    return name + "Increasing" if increasing and name in INCREASING else name


def apply_timm(name: str, image: torch.Tensor, argument: float, interpolation: Interpolation) -> torch.Tensor:
    """Apply timm's operation to levels (3, S, S), with an argument in the form of timm's functions."""
    takes_none = LEVEL_TO_ARG[name] is None
    whole = name in ("Posterize", "Solarize", "SolarizeAdd")
    arguments = () if takes_none else (int(argument) if whole else argument,)
    resample = pil_modes_mapping[InterpolationMode(interpolation.value)]
    picture = Image.fromarray(image.permute(1, 2, 0).byte().numpy())
    result = NAME_TO_OP[name](picture, *arguments, fillcolor=FILL, resample=resample)
    return torch.from_numpy(np.array(result)).permute(2, 0, 1).float()


def apply_ours(augment: RandAugment, images: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Apply ours, sorted as the operations require, and restore the order."""
    plan = Plan(draws, images.shape[3])
    changed = images[plan.order]
    augment.apply(changed, plan)
    return changed[np.argsort(plan.order)]


def compare(name: str, size: int, increasing: bool, interpolation: Interpolation) -> torch.Tensor:
    """Return differences in levels (K, 3, S, S) from timm's, for each image at each of MAGNITUDES and signs."""
    signs = (-1.0, 1.0) if name in SIGNED else (1.0,)
    levels, signs = np.array([(magnitude / 10, sign) for magnitude in MAGNITUDES for sign in signs]).T
    images = make_images(size)
    arguments = argument_of(name, levels, signs, increasing).repeat(len(images))[None]
    images = images.repeat(len(levels), 1, 1, 1)
    augment = RandAugment(RandPolicy(), replace(DATA, interpolation=interpolation), CPU)
    ours = apply_ours(augment, images, Draws(np.full_like(arguments, OPS.index(name), dtype=int), arguments))
    pairs = zip(images, arguments[0], strict=True)
    return (ours - torch.stack([apply_timm(name, *pair, interpolation) for pair in pairs])).abs()


COLOR_CASES = [
    (name, increasing)
    for name in OPS
    if name not in GEOMETRIC
    for increasing in ((True, False) if name in INCREASING else (True,))
]


@pytest.mark.parametrize("size", [16, 33])
@pytest.mark.parametrize(("name", "increasing"), COLOR_CASES)
def test_colors_equal_pillow(name: str, increasing: bool, size: int) -> None:
    assert compare(name, size, increasing, Interpolation.bicubic).max() == 0


@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize("size", [16, 33])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometry_matches_pillow_up_to_rounding(name: str, size: int, interpolation: Interpolation) -> None:
    """At most one level, at 1 pixel in 100, at which float32 and float64 round to different integers."""
    differences = compare(name, size, True, interpolation)
    assert differences.max() <= 1
    assert (differences > 0).float().mean() < 0.01


@pytest.mark.parametrize("increasing", [True, False])
@pytest.mark.parametrize("name", [name for name in OPS if LEVEL_TO_ARG[name] is not None])
def test_arguments_match_timm(name: str, increasing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also above magnitude 10, which mmax allows."""
    magnitudes = np.linspace(0, 22, 441)
    for sign, number in ((1.0, 0.0), (-1.0, 0.9)):  # timm negates if random() > 0.5
        monkeypatch.setattr(random, "random", lambda number=number: number)
        level_to_argument = LEVEL_TO_ARG[timm_name(name, increasing)]
        theirs = [level_to_argument(magnitude, {})[0] for magnitude in magnitudes]
        ours = argument_of(name, magnitudes / 10, np.full(len(magnitudes), sign), increasing)
        np.testing.assert_array_equal(ours, theirs)


def record_timm(notation: str, n: int) -> list[list[tuple[str, float]]]:
    """Return the operations and arguments that timm applies to each of n images."""
    applied: list[tuple[str, float]] = []
    transform = rand_augment_transform(notation, {"img_mean": FILL, "interpolation": Image.Resampling.BICUBIC})

    def record(image: Image.Image, *arguments: float, name: str, **_: object) -> Image.Image:
        applied.append((name, arguments[0] if arguments else 0.0))
        return image

    for op in transform.ops:
        op.aug_fn = partial(record, name=op.name.removesuffix("Increasing"))
    image = Image.new("RGB", (1, 1))
    records = []
    for _ in range(n):
        transform(image)
        records.append(applied[:])
        applied.clear()
    return records


def record_ours(notation: str, n: int) -> list[list[tuple[str, float]]]:
    policy = RandPolicy.parse(notation)
    assert policy is not None
    draws = policy.draw(BatchRng([0], n))
    return [
        [(OPS[op], argument) for op, argument in zip(ops, arguments, strict=True) if op != NOT_APPLIED]
        for ops, arguments in zip(draws.ops.T, draws.arguments.T, strict=True)
    ]


@pytest.mark.parametrize("notation", [PAPER, "rand-m5-n3-p0.7-mstd101", "rand-m14-mmax20-mstd2-inc1", "rand"])
def test_draws_have_timms_distribution(notation: str) -> None:
    """Pairs of operations, operations, and each operation's arguments: p above 0.001 each, at a fixed seed."""
    with isolated_random_state(0):
        theirs = record_timm(notation, DRAWS)
    ours = record_ours(notation, DRAWS)
    assert same_frequencies(*(Counter(len(ops) for ops in each) for each in (ours, theirs))) > 0.001
    assert same_frequencies(*(Counter(name for ops in each for name, _ in ops) for each in (ours, theirs))) > 0.001
    pairs = [Counter(tuple(name for name, _ in ops) for ops in each if len(ops) == 2) for each in (ours, theirs)]
    assert same_frequencies(*pairs) > 0.001
    for name in OPS:
        ours_of, theirs_of = ([x for ops in each for op, x in ops if op == name] for each in (ours, theirs))
        assert ks_2samp(ours_of, theirs_of).pvalue > 0.001, name


def same_frequencies(ours: Counter, theirs: Counter) -> float:
    """Return the chi-square test's p value for two counts of the same categories."""
    keys = sorted(ours | theirs)
    return chi2_contingency([[counts[key] for key in keys] for counts in (ours, theirs)]).pvalue


def test_batch_equals_its_images_augmented_alone() -> None:
    """Two layers drawn for each image: exact if no pixel moves, or else within the rounding of the first layer."""
    policy = RandPolicy.parse(PAPER)
    assert policy is not None
    images = make_images(32).repeat(20, 1, 1, 1)
    draws = policy.draw(BatchRng([3], len(images)))
    results = apply_ours(RandAugment(policy, DATA, CPU), images, draws)
    close = []
    for image, result, ops, arguments in zip(images, results, draws.ops.T, draws.arguments.T, strict=True):
        names = [OPS[op] for op in ops if op != NOT_APPLIED]
        for name, argument in zip(names, arguments[ops != NOT_APPLIED], strict=True):
            image = apply_timm(name, image, argument, DATA.interpolation)
        if set(names) & set(GEOMETRIC):
            close.append(((result - image).abs() <= 1).float().mean().item())
        else:
            assert torch.equal(result, image)
    assert len(close) > 50
    assert min(close) > 0.9
    assert np.mean(close) > 0.995


def test_zero_layers_are_the_identity() -> None:
    policy = RandPolicy(layers=0)
    images = make_images(16)
    draws = policy.draw(BatchRng([0], len(images)))
    assert torch.equal(apply_ours(RandAugment(policy, DATA, CPU), images, draws), images)


def test_autocontrast_equals_pillow_for_all_ranges() -> None:
    """For all levels between any two: all widths from either end, and one in 31 of the others."""
    pairs = [(low, high) for low in range(256) for high in range(low + 1, 256)]
    pairs = [pair for pair in pairs if pair[0] == 0 or pair[1] == 255 or sum(pair) % 31 == 0]
    levels = np.stack([np.resize(np.arange(low, high + 1), 256) for low, high in pairs]).astype(np.uint8)
    ours = auto_contrast(torch.from_numpy(levels).view(-1, 1, 16, 16).float(), torch.zeros(len(pairs)))
    theirs = [np.asarray(ImageOps.autocontrast(Image.fromarray(image.reshape(16, 16)))) for image in levels]
    assert torch.equal(ours[:, 0], torch.from_numpy(np.stack(theirs)).float())


WRONG = (
    "rand-m9-t0.5 rand-w0 rand-m9.5 rand-m9-m5 rand-mmax0 rand-mstd.5 rand-mstdinf rand-n0 rand-p1.2.3 rand-p1.5 "
    "rand-n1.0 rand-inc2 rand-tweight rand- rand-m augmix-m3 rand9"
)


@pytest.mark.parametrize("notation", WRONG.split())
def test_notation_that_timm_cannot_read_as_it_looks_is_refused(notation: str) -> None:
    with pytest.raises(ConfigError, match=f"rand_augment={re.escape(notation)}: must be null or in timm's"):
        AugmentSpec(Crop.resized, (0.08, 1.0), notation, erasing=0.0, flip=0.5)
