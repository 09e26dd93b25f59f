"""Runs that are resumed, and weights that are evaluated, on other images or classes than in training."""

import functools
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import roadmap
from roadmap.cli import run as jobs
from roadmap.cli.run_folders import open_run_dir
from roadmap.cli.same_inputs import check_same_images, check_same_weights
from roadmap.config import Config, Mode, PlannedRun, plan_run
from roadmap.data.spec import OnError
from roadmap.errors import ChangedDataError, ConfigError, DataError, Interrupted, RunError
from roadmap.runs.run_dir import RunDir
from roadmap.system import console
from roadmap.training.checkpoint import save_checkpoint
from roadmap.training.step import Evaluation, train_step

WORDS = (
    "+roadmap=step12_downsample",
    "regime.width.modern=8",
    "data=imagefolder",
    "data.num_classes=3",
    "data.image_size=8",
    "data.stem_stride=1",
    "data.crop_pct=1",
    "recipe.epochs=2",
    "recipe.warmup_epochs=0",
    "recipe.total_batch=6",  # 3 updates per epoch
    "recipe.mixup=0",
    "recipe.cutmix=0",
    "hardware.per_device_batch=6",
    "hardware.workers=0",
)
CLASSES = ("ape", "cat", "dog")
Results = Callable[[Path], Any]  # see tests/conftest.py


@pytest.fixture(autouse=True)
def warned(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.setattr(console, "_warned", texts := set[str]())
    return texts


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and two validation images of each class."""
    root = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 2)):
        for name in CLASSES:
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.jpg")
    return root


@pytest.fixture
def root(images: Path, tmp_path: Path) -> Path:
    """A copy of the images."""
    return shutil.copytree(images, tmp_path / "images")


@functools.cache
def compose() -> PlannedRun:
    return plan_run(roadmap.compose(*WORDS, "data.root=", "experiment=test"))


def open_run(
    output_dir: Path, root: Path, on_error: OnError = OnError.stop, **changes: Any
) -> tuple[Config, RunDir]:
    data = replace(compose().config.data, root=str(root), cache=str(output_dir / "cache"), on_error=on_error)
    config = replace(compose().config, output_dir=str(output_dir), data=data, **changes)
    return config, open_run_dir(replace(compose(), config=config))


def train(output_dir: Path, root: Path, warn: Callable[[str], None] = print, **changes: Any) -> RunDir:
    config, folder = open_run(output_dir, root, **changes)
    folder.claim()
    try:
        jobs.train(config, folder, jobs.Console(quiet=True), warn)
    finally:
        folder.close()
    return folder


def interrupt(output_dir: Path, root: Path, **changes: Any) -> RunDir:
    """Return a run that was stopped after its fourth update, the first of the second epoch."""
    calls: list[int] = []

    def update(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("roadmap.training.trainer.train_step", update)
        with pytest.raises(Interrupted):
            train(output_dir, root, **changes)
    return open_run(output_dir, root, **changes)[1]


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return train(tmp_path_factory.mktemp("undisturbed"), images)


def thin_out(root: Path, numbers: str) -> None:
    for path in (root / "train").rglob(f"[{numbers}].jpg"):
        path.unlink()


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "less than a batch": (lambda root: thin_out(root, "12345"), "train 18 images -> 3 images. "),
    "other classes": (
        lambda root: [(root / part / "cat").rename(root / part / "eel") for part in ("train", "val")],
        "classes ape, cat, dog -> ape, dog, eel; train 18 images of other names or classes",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_run_is_not_resumed_on_other_images(
    kind: str, images: Path, root: Path, undisturbed: RunDir, read_results: Results, tmp_path: Path
) -> None:
    """It is unchanged, and is resumed once the images are restored."""
    folder = interrupt(tmp_path, root)
    saved = folder.checkpoint.read_bytes()
    change, message = CHANGES[kind]
    change(root)
    with pytest.raises(
        ChangedDataError, match=f"data.root={root} has now: .*Restore the data .* experiment=NAME"
    ) as e:
        train(tmp_path, root)
    assert message in str(e.value)
    assert folder.checkpoint.read_bytes() == saved
    assert not folder.damaged_checkpoint.exists()
    shutil.rmtree(root)
    shutil.copytree(images, root)
    assert read_results(train(tmp_path, root).path) == read_results(undisturbed.path)


def test_run_resumes_on_the_same_images_elsewhere(
    root: Path, undisturbed: RunDir, read_results: Results, tmp_path: Path
) -> None:
    """Under another mount, and in an archive."""
    interrupt(tmp_path, root)
    for part in ("train", "val"):
        shutil.make_archive(str(tmp_path / part), "tar", root / part)
    shutil.rmtree(root)
    found = train(tmp_path, tmp_path)
    assert read_results(found.path) == read_results(undisturbed.path)
    assert found.summary()["data_fingerprint"] == undisturbed.summary()["data_fingerprint"]
    assert (found.summary()["train_images"], found.summary()["val_images"]) == (18, 6)


def test_replaced_image_is_reported(root: Path, tmp_path: Path) -> None:
    """For example a damaged one; if the cache has the old one, the set is decoded again."""
    interrupt(tmp_path, root)
    Image.new("RGB", (8, 8), "red").save(root / "train/cat/1.jpg")
    warnings: list[str] = []
    assert train(tmp_path, root, warn=warnings.append).is_done()
    assert "1 of 18 train files have another size than when the run began: cat/1.jpg" in warnings


def test_skipped_images_are_part_of_the_record(root: Path, tmp_path: Path) -> None:
    (root / "train/cat/1.jpg").write_bytes(b"no image")
    interrupt(tmp_path, root, on_error=OnError.skip)
    Image.new("RGB", (8, 8), "red").save(root / "train/cat/1.jpg")
    with pytest.raises(ChangedDataError, match=r"train 17 images \(1 more skipped\) -> 18 images"):
        train(tmp_path, root)


@pytest.mark.parametrize("is_cached", [True, False])
def test_splits_of_which_every_image_is_skipped_are_named(root: Path, tmp_path: Path, is_cached: bool) -> None:
    """Whether they are decoded once before the first epoch, or by workers in each."""
    hardware = replace(compose().config.hardware, resident=is_cached)
    skip = {"on_error": OnError.skip, "hardware": hardware}
    for path in (root / "val").rglob("*.jpg"):
        path.write_bytes(b"no image")
    none = "none of the 6 images can be read, such as" if is_cached else "no validation image can be read: all were"
    with pytest.raises(DataError, match=none):
        train(tmp_path, root, **skip)
    for path in (root / "train").rglob("*.jpg"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 18 images can be read, such as"):
        train(tmp_path / "both", root, **skip)


def test_a_split_with_less_than_a_batch_that_is_not_skipped_is_named(root: Path, tmp_path: Path) -> None:
    for path in (root / "train").rglob("[12345].jpg"):
        path.write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"recipe\.total_batch=6 is more than the 3 training images"):
        train(tmp_path, root, on_error=OnError.skip)


def test_checkpoint_without_a_data_record_is_accepted(root: Path, tmp_path: Path) -> None:
    folder = interrupt(tmp_path, root)
    content = torch.load(folder.checkpoint, weights_only=True)
    kept = {key: value for key, value in content.items() if key not in ("data", "classes", "format")}
    torch.save(kept, folder.checkpoint)
    evaluate(tmp_path, root, folder.checkpoint)
    thinned = shutil.copytree(root, tmp_path / "thinned")
    thin_out(thinned, "12345")
    with pytest.raises(ConfigError, match=r"recipe\.total_batch=6 is more than the 3 training images"):
        train(tmp_path, thinned)
    assert train(tmp_path, root).is_done()


def evaluate(output_dir: Path, root: Path, checkpoint: Path) -> Evaluation:
    config, _ = open_run(output_dir, root, mode=Mode.eval, init_from=str(checkpoint))
    return next(iter(jobs.evaluate_weights(config, print).values()))


def test_fine_tuning_resumes_without_the_weights_that_it_started_from(
    root: Path, undisturbed: RunDir, read_results: Results, tmp_path: Path
) -> None:
    weights = shutil.copy(undisturbed.checkpoint, str(tmp_path / "weights.pt"))
    whole = train(tmp_path / "whole", root, init_from=weights)
    interrupt(tmp_path, root, init_from=weights)
    Path(weights).unlink()
    assert read_results(train(tmp_path, root, init_from=weights).path) == read_results(whole.path)
    config, again = open_run(tmp_path, root, init_from=weights)
    for check in (check_same_images, check_same_weights):
        check(config, again)


def test_run_from_other_weights_is_not_done_already(root: Path, undisturbed: RunDir, tmp_path: Path) -> None:
    """Also if the weights that it resumed without are others by then; the same ones in a new file are the same."""
    weights = shutil.copy(undisturbed.checkpoint, str(tmp_path / "weights.pt"))
    interrupt(tmp_path, root, init_from=weights)
    train(tmp_path, root, init_from=weights)
    config, again = open_run(tmp_path, root, init_from=weights)
    content = torch.load(weights, weights_only=True)
    torch.save({"model": content["model"]}, weights)
    check_same_weights(config, again)
    torch.save({"model": {key: value + 1 for key, value in content["model"].items()}}, weights)
    with pytest.raises(RunError, match=rf"started from other weights than init_from={weights} has now"):
        check_same_weights(config, again)


def test_validation_images_of_some_classes_are_evaluated_by_name(
    root: Path, undisturbed: RunDir, tmp_path: Path, warned: set[str]
) -> None:
    """The mean over the classes, evaluated one at a time, is that of all."""
    whole = evaluate(tmp_path, root, undisturbed.checkpoint)
    parts = []
    for name in CLASSES:
        shutil.copytree(root / "val" / name, tmp_path / name / "val" / name)
        parts.append(evaluate(tmp_path, tmp_path / name, undisturbed.checkpoint))
    assert [part.images for part in parts] == [2, 2, 2]
    for key in ("loss", "top1"):
        assert np.mean([getattr(part, key) for part in parts]) == pytest.approx(getattr(whole, key), rel=1e-5)
    assert f"{tmp_path / 'dog/val'} has no images of 2 of 3 classes: ape, cat" in warned


def test_weights_of_classes_in_another_order_are_evaluated_by_name(
    root: Path, undisturbed: RunDir, tmp_path: Path
) -> None:
    whole = evaluate(tmp_path, root, undisturbed.checkpoint)
    content = torch.load(undisturbed.checkpoint, weights_only=True)
    order = [2, 0, 1]
    content["classes"] = [content["classes"][number] for number in order]
    for key in ("head.linear.weight", "head.linear.bias"):
        content["model"][key] = content["model"][key][order]
    torch.save(content, tmp_path / "permuted.pt")
    found = evaluate(tmp_path, root, tmp_path / "permuted.pt")
    assert (found.top1, found.loss) == (whole.top1, pytest.approx(whole.loss, rel=1e-6))


def test_a_run_keeps_the_order_of_its_classes(root: Path, tmp_path: Path) -> None:
    """Also the order of the weights that it started from."""
    folder = interrupt(tmp_path, root)
    content = torch.load(folder.checkpoint, weights_only=True)
    content["classes"] = ["dog", "ape", "cat"]
    save_checkpoint(folder.checkpoint, folder.previous_checkpoint, content)
    content = torch.load(train(tmp_path, root).checkpoint, weights_only=True)
    assert content["classes"] == ["dog", "ape", "cat"]
    tuned = train(tmp_path, root, init_from=f"{folder.checkpoint}:raw", experiment="tuned")
    assert torch.load(tuned.checkpoint, weights_only=True)["classes"] == ["dog", "ape", "cat"]


def test_training_from_weights_of_other_classes_warns(root: Path, undisturbed: RunDir, tmp_path: Path) -> None:
    for part in ("train", "val"):
        (root / part / "cat").rename(root / part / "eel")
    warnings: list[str] = []
    train(tmp_path, root, warnings.append, init_from=str(undisturbed.checkpoint))
    assert any("trained on other classes (ape, cat, dog) than the data has (ape, dog, eel)" in w for w in warnings)


def test_evaluating_unknown_classes_is_an_error(root: Path, undisturbed: RunDir, tmp_path: Path) -> None:
    (root / "val/cat").rename(root / "val/eel")
    message = rf"{root / 'val'} has images of eel: no class of .*checkpoint\.pt, which has ape, cat, dog"
    with pytest.raises(DataError, match=message):
        evaluate(tmp_path, root, undisturbed.checkpoint)


def test_numbers_match_names_with_a_warning(
    root: Path, undisturbed: RunDir, tmp_path: Path, warned: set[str]
) -> None:
    whole = evaluate(tmp_path, root, undisturbed.checkpoint)
    for number, name in enumerate(CLASSES):
        (root / "val" / name).rename(root / "val" / str(number))
    assert evaluate(tmp_path, root, undisturbed.checkpoint) == whole
    assert any(f"{root / 'val'} has class numbers without names" in text for text in warned)
