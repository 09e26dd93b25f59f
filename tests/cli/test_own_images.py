"""A folder of one's own images: its classes are counted, and small images are noticed before the first update."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from roadmap.config import plan_runs
from roadmap.data.inspect_folder import fit_size
from roadmap.errors import RoadmapError

Train = Callable[..., Any]  # see conftest.py
FAST = ("+roadmap=step0_resnet", "recipe.epochs=1", "recipe.total_batch=4", "data.image_size=64")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes of eight images with 20 pixels."""
    for part in ("train", "val"):
        for color, name in enumerate(("cat", "dog")):
            (tmp_path / "images" / part / name).mkdir(parents=True)
            for number in range(4):
                image = Image.new("RGB", (20, 24), (60 * number, 200 * color, 0))
                image.save(tmp_path / "images" / part / name / f"{number}.png")
    return tmp_path / "images"


def test_classes_are_counted_and_the_run_is_the_same_as_with_the_number_typed(images: Path) -> None:
    words = ["data=imagefolder", f"data.root={images}"]
    (counted,), (typed,) = plan_runs(words, False), plan_runs([*words, "data.num_classes=2"], False)
    assert counted.config == typed.config
    assert counted.config.model.num_classes == 2
    assert counted.overrides is not None
    assert "data.num_classes=2" in counted.overrides  # what is recorded does not depend on the folder


def test_small_images_choose_their_size_and_a_typed_one_stays(images: Path) -> None:
    words = ["data=small_images", f"data.root={images}"]
    (chosen,), (typed,) = plan_runs(words, False), plan_runs([*words, "data.image_size=64"], False)
    assert (chosen.config.data.image_size, chosen.config.model.stem_stride) == (16, 2)
    assert (typed.config.data.image_size, typed.config.model.stem_stride) == (64, 4)
    assert chosen.overrides is not None
    assert "data.image_size=16" in chosen.overrides
    recorded = replace(plan_runs([*chosen.overrides], False)[0], overrides=chosen.overrides)
    assert recorded == chosen


@pytest.mark.parametrize(("side", "size"), [(8, 16), (20, 16), (28, 32), (32, 32), (48, 64), (96, 96), (500, 224)])
def test_the_chosen_size_is_the_nearest_of_16_and_multiples_of_32(side: int, size: int) -> None:
    assert fit_size(side) == size


@pytest.mark.parametrize(("data", "key"), [("imagefolder", "num_classes"), ("small_images", "image_size")])
def test_what_is_in_archives_has_to_be_given(tmp_path: Path, data: str, key: str) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train/0.tar").touch()
    known = [] if key == "num_classes" else ["data.num_classes=2"]
    with pytest.raises(RoadmapError, match=rf"no value yet for data\.{key}"):
        plan_runs([f"data={data}", f"data.root={tmp_path}", *known], False)


@pytest.mark.parametrize(
    ("names", "found"), [((), "no folder of a class"), (("cat",), "one folder of a class, cat")]
)
@pytest.mark.parametrize("data", ["imagefolder", "small_images"])
def test_less_than_two_classes_are_named_with_their_folder(
    tmp_path: Path, names: tuple[str, ...], found: str, data: str
) -> None:
    for name in ("", *names):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "train" / name / "1.png")
    with pytest.raises(RoadmapError, match=rf"{tmp_path}/train has {found}; expected one folder for each"):
        plan_runs([f"data={data}", f"data.root={tmp_path}"], False)


def test_a_folder_without_images_has_no_size(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
    with pytest.raises(RoadmapError, match=rf"{tmp_path}/train has no image that can be read"):
        plan_runs(["data=small_images", f"data.root={tmp_path}"], False)


def test_small_images_are_noticed(train: Train, images: Path) -> None:
    outcome = train("data=imagefolder", f"data.root={images}", *FAST)
    assert outcome.status == 0
    assert "have about 20 pixels and are enlarged to 64, which costs 16 times the time of" in outcome.err
    assert "data.image_size=16 data.stem_stride=2; data=small_images chooses these by itself" in outcome.err
    outcome = train("data=small_images", f"data.root={images}", *FAST[:-1])
    assert "enlarged" not in outcome.err
    found = f"the images in {images / 'train'} have about 20 pixels: data.image_size=16 data.stem_stride=2"
    assert found in outcome.out


@pytest.mark.parametrize(
    ("words", "warmup"),
    [
        ((), 1),
        (("recipe.epochs=2",), 1),
        (("recipe.epochs=1",), 0.1),
        (("recipe=paper",), 20),
        (("recipe=paper", "recipe.epochs=20"), 2),
    ],
)
def test_the_warm_up_follows_the_epochs_if_it_would_leave_none(words: tuple[str, ...], warmup: float) -> None:
    (run,) = plan_runs(list(words), False)
    assert run.config.recipe.warmup_epochs == warmup


def test_a_warm_up_that_was_typed_and_leaves_nothing_is_refused() -> None:
    with pytest.raises(RoadmapError, match=r"recipe\.warmup_epochs=2.* must be below recipe\.epochs=2"):
        plan_runs(["recipe.epochs=2", "recipe.warmup_epochs=2"], False)


def test_a_command_without_a_step_says_how_to_choose_one(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("roadmap.training.trainer.train_step", stop)
    assert "+roadmap=step0_resnet is step 0" in train().out
    assert "+roadmap" not in train("+roadmap=step0_resnet").out
