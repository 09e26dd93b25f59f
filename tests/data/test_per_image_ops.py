"""Operations on single images compared with Pillow's, as used by timm."""

import random

import numpy as np
import pytest
from PIL import Image
from timm.data.auto_augment import NAME_TO_OP, rand_augment_transform

from roadmap.data.augment.per_image_ops import COLORS, SHIFTS, Operation, patch_for_arrays
from roadmap.data.worker_loader import isolated_random_state

FILL = (124, 116, 104)
BICUBIC = Image.Resampling.BICUBIC
BORDERS = (0.0, 1 / 3, -1 / 3, 0.45, -0.45, 1.0, -1.0, 1.2, -1.2)


ARGUMENTS: dict[str, list[float | None]] = {
    "Invert": [None],
    "Posterize": [-4, 0, 1, 4, 8],  # timm uses a negative number of bits if mmax is above 10
    "Solarize": [0, 1, 128, 255, 256],
    "Sharpness": [0.0, 0.1, 0.55, 1.0, 1.3, 1.9],
}


def make_image(width: int, height: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = Image.fromarray(rng.integers(256, size=(4, 5, 3), dtype=np.uint8)).resize((width, height))
    noisy = np.asarray(smooth).astype(int) + rng.integers(-20, 21, size=(height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, BICUBIC])
@pytest.mark.parametrize("size", [(224, 224), (33, 20), (8, 15), (3, 3), (1, 1)])
@pytest.mark.parametrize("name", SHIFTS)
def test_shifts_match_pillow_up_to_rounding(name: str, size: tuple[int, int], resample: int) -> None:
    """At most one level, at 1 pixel in 20, at which float32 and float64 round to different integers.

    For example, a translation by multiples of 1/5 pixel gives many integers from two levels each.
    """
    arguments = [*BORDERS, *np.random.default_rng(1).uniform(-0.5, 0.5, size=10)]
    differing = []
    for seed, argument in enumerate(arguments):
        ours, pillows = apply_both(SHIFTS[name], name, make_image(*size, seed), argument, resample)
        assert np.abs(ours - pillows).max() <= 1, argument
        differing.append((ours != pillows).mean())
    assert np.mean(differing) < 0.05


@pytest.mark.parametrize("size", [(224, 224), (33, 20), (3, 3), (1, 1)])
@pytest.mark.parametrize("name", COLORS)
def test_colors_equal_pillow(name: str, size: tuple[int, int]) -> None:
    for seed, argument in enumerate(ARGUMENTS[name]):
        ours, pillows = apply_both(COLORS[name], name, make_image(*size, seed), argument, BICUBIC)
        np.testing.assert_array_equal(ours, pillows, str(argument))


def apply_both(
    operation: Operation, name: str, image: np.ndarray, argument: float | None, resample: int
) -> tuple[np.ndarray, np.ndarray]:
    """Apply ours and timm's; the input image is unchanged."""
    arguments = () if argument is None else (argument,)
    before = image.copy()
    ours = operation(image, *arguments, fillcolor=FILL, resample=resample)
    np.testing.assert_array_equal(image, before)
    pillows = NAME_TO_OP[name](Image.fromarray(image), *arguments, fillcolor=FILL, resample=resample)
    return ours.astype(int), np.asarray(pillows).astype(int)


def test_patched_policy_keeps_its_draws() -> None:
    """The same operations with the same strength, for the same seed."""
    how = {"img_mean": FILL, "interpolation": BICUBIC}
    ours, pillows = (rand_augment_transform("rand-m9-mstd0.5-inc1", how) for _ in range(2))
    patch_for_arrays(ours)
    for seed in range(100):
        image = make_image(40, 40, seed)
        with isolated_random_state(seed):
            changed = ours(image).astype(int)
        with isolated_random_state(seed):
            expected = np.asarray(pillows(Image.fromarray(image))).astype(int)
        # An operation may amplify a difference of one level from the one before it.
        assert (np.abs(changed - expected) > 2).mean() < 0.01, seed


def test_drawn_filter_uses_pillow() -> None:
    policy = rand_augment_transform("rand-m9", {"img_mean": FILL})
    patch_for_arrays(policy)
    (shear,) = (operation for operation in policy.ops if operation.name == "ShearX")
    image = make_image(40, 40, 0)
    random.seed(0)
    ours = shear.aug_fn(image, 0.2, **shear.kwargs)
    random.seed(0)
    pillows = NAME_TO_OP["ShearX"](Image.fromarray(image), 0.2, **shear.kwargs)
    np.testing.assert_array_equal(ours, np.asarray(pillows))
