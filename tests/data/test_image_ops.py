"""Operations on single images against Pillow's, by timm."""

import numpy as np
import pytest
from PIL import Image
from timm.data.auto_augment import NAME_TO_OP, rand_augment_transform

from roadmap.data.batches import own_random_state
from roadmap.data.image_ops import FASTER, use_faster_operations

FILL = (124, 116, 104)
BICUBIC = Image.Resampling.BICUBIC
BORDERS = (0.0, 1 / 3, -1 / 3, 0.45, -0.45, 1.0, -1.0, 1.2, -1.2)


def make_image(width: int, height: int, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    smooth = Image.fromarray(rng.integers(256, size=(4, 5, 3), dtype=np.uint8)).resize((width, height))
    noisy = np.asarray(smooth).astype(int) + rng.integers(-20, 21, size=(height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, BICUBIC])
@pytest.mark.parametrize("size", [(224, 224), (33, 20), (8, 15), (3, 3)])
@pytest.mark.parametrize("name", FASTER)
def test_images_are_pillows_but_for_rounding(name: str, size: tuple[int, int], resample: int) -> None:
    """At most one level, at 1 pixel in 20: where float32 and double fall on two sides of a whole number.

    A translation by whole fifths of a pixel, say, makes many whole numbers out of two levels each.
    """
    arguments = [*BORDERS, *np.random.default_rng(1).uniform(-0.5, 0.5, size=10)]
    differing = []
    for seed, argument in enumerate(arguments):
        image = make_image(*size, seed)
        before = image.tobytes()
        ours, pillows = (
            np.asarray(operation(image, argument, fillcolor=FILL, resample=resample)).astype(int)
            for operation in (FASTER[name], NAME_TO_OP[name])
        )
        assert np.abs(ours - pillows).max() <= (0 if name.startswith("Sharpness") else 1), argument
        differing.append((ours != pillows).mean())
        assert image.tobytes() == before
    assert np.mean(differing) < 0.05


def test_the_policy_draws_as_before() -> None:
    """The same operations with the same strength, for the same seed."""
    how = {"img_mean": FILL, "interpolation": BICUBIC}
    ours, pillows = (rand_augment_transform("rand-m9-mstd0.5-inc1", how) for _ in range(2))
    use_faster_operations(ours)
    for seed in range(100):
        image, changed = make_image(40, 40, seed), []
        for policy in (ours, pillows):
            with own_random_state(seed):
                changed.append(np.asarray(policy(image)).astype(int))
        # An operation may make more of the difference of one level that the one before it left.
        assert (np.abs(changed[0] - changed[1]) > 2).mean() < 0.01, seed


def test_a_filter_that_is_drawn_stays_pillows() -> None:
    policy = rand_augment_transform("rand-m9", {"img_mean": FILL})
    before = [operation.aug_fn for operation in policy.ops]
    use_faster_operations(policy)
    assert [operation.aug_fn for operation in policy.ops if operation.name not in FASTER] == [
        function for function, operation in zip(before, policy.ops, strict=True) if operation.name not in FASTER
    ]
    assert NAME_TO_OP["ShearX"] in [operation.aug_fn for operation in policy.ops]
