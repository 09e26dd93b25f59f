"""Training and evaluation batches in both ways: resident on the device, and read by dataloader workers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor
from torchvision.transforms.functional import InterpolationMode

import roadmap
from roadmap.config import read_config
from roadmap.data.augment.normalize_erase import NormalizeAndErase
from roadmap.data.augment.per_image import build_eval_transform, build_train_transform
from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.device_loader import DeviceDataset, DeviceEvalLoader, DeviceTrainLoader, find_obstacle
from roadmap.data.loaders import LoaderSpec, open_eval_loader, open_train_loader
from roadmap.data.sampler import Batch, EpochSampler, MicroBatches, Shard
from roadmap.data.sources import ArrayDataset, open_images
from roadmap.data.spec import Crop, DataSpec, OnError
from roadmap.data.worker_loader import WorkerEvalLoader, WorkerTrainLoader, isolated_random_state
from roadmap.errors import ConfigError

CONFIG = read_config(roadmap.compose())


def random_images(n: int, size: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(0)).byte()


def test_batches_depend_only_on_seed_and_epoch() -> None:
    images, _ = open_images(CONFIG.data)
    transform = build_train_transform(CONFIG.data, CONFIG.recipe.augment)

    def batches(epoch: int, workers: int = 0, seed: int = 0) -> list[torch.Tensor]:
        finish = NormalizeAndErase(CONFIG.data, torch.device("cpu"), 0.25)
        loader = WorkerTrainLoader(
            images, transform, finish, EpochSampler(len(images), 128, 1, seed), workers=workers
        )
        return [micro_batch[0] for update in loader.epoch(epoch) for micro_batch in update]

    first = batches(1)
    assert all(torch.equal(a, b) for a, b in zip(first, batches(1, workers=2), strict=True))
    assert not torch.equal(first[0], batches(2)[0])
    assert not torch.equal(first[0], batches(1, seed=1)[0])
    assert len(first) == 1437 // 128


@pytest.mark.parametrize("resident", [True, False])
def test_ranks_and_accumulation_split_the_same_batches(resident: bool) -> None:
    """Two ranks make the same batches as one with twice the accumulation, from any update of the epoch on."""
    images, _ = open_images(CONFIG.data)
    load = LoaderSpec(64, 2, 3, torch.device("cpu"), workers=0, resident=resident)
    alone = open_train_loader(images, CONFIG.data, CONFIG.recipe.augment, load)
    pair = [
        open_train_loader(
            images, CONFIG.data, CONFIG.recipe.augment, replace(load, accumulation=1, shard=Shard(rank, 2))
        )
        for rank in range(2)
    ]
    whole = [list(update) for update in alone.epoch(1)]
    assert len(whole) == alone.updates == pair[0].updates == 1433 // 128
    for start in (0, 7):
        both = zip(*(batches.epoch(1, start) for batches in pair), strict=True)
        for update, (first, second) in zip(whole[start:], both, strict=True):
            for a, b in zip(update, [*first, *second], strict=True):
                assert torch.equal(a.images, b.images)
                assert torch.equal(a.labels, b.labels)
                assert a.seed == b.seed


def test_ranks_share_an_evaluation() -> None:
    _, images = open_images(CONFIG.data)
    load = LoaderSpec(100, 1, 0, torch.device("cpu"), workers=0, resident=True)
    whole = torch.cat(
        [batch.labels for batch in open_eval_loader(images, CONFIG.data, CONFIG.recipe.augment, load)]
    )
    shares = [
        list(open_eval_loader(images, CONFIG.data, CONFIG.recipe.augment, replace(load, shard=Shard(rank, 3))))
        for rank in range(3)
    ]
    assert [len(shard) for shard in shares] == [2, 1, 1]
    in_order = [shares[0][0], shares[1][0], shares[2][0], shares[0][1]]
    assert torch.equal(torch.cat([batch.labels for batch in in_order]), whole)


def test_both_loaders_evaluate_the_same_images() -> None:
    _, images = open_images(CONFIG.data)
    finish = NormalizeAndErase(CONFIG.data, torch.device("cpu"))
    one_by_one = list(WorkerEvalLoader(images, build_eval_transform(CONFIG.data), finish, batch_size=100))
    resident = list(DeviceEvalLoader(DeviceDataset(images, CONFIG.data, torch.device("cpu")), 100, Shard()))
    assert sum(len(labels) for _, labels, _ in resident) == len(images) == 364
    for (a, labels, _), (b, others, _) in zip(one_by_one, resident, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        assert torch.equal(labels, others)


def test_resident_true_is_an_error_if_impossible() -> None:
    """Otherwise part of the recipe would be dropped silently."""
    images, _ = open_images(CONFIG.data)
    load = LoaderSpec(16, 1, 0, torch.device("cpu"), workers=0, resident=True)
    augment = replace(CONFIG.recipe.augment, rand_augment="rand-m9-tweights")
    with pytest.raises(ConfigError, match=r"rand_augment=rand-m9-tweights is applied to each image by timm"):
        open_train_loader(images, CONFIG.data, augment, load)
    assert isinstance(
        open_train_loader(images, CONFIG.data, augment, replace(load, resident=None)), WorkerTrainLoader
    )
    assert isinstance(open_train_loader(images, CONFIG.data, CONFIG.recipe.augment, load), DeviceTrainLoader)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"crop_pct": 0.875}, "only square images with data.crop_pct=1 can"),
        ({"image_size": 24}, "a resized crop needs the images' own 16 pixels, not 24"),
        ({}, None),
    ],
)
def test_reasons_not_to_keep_a_set_on_the_device(changes: dict[str, float], reason: str | None) -> None:
    data = replace(CONFIG.data, **{"image_size": 16, **changes})
    augment = read_config(roadmap.compose("recipe=paper")).recipe.augment
    pixels = random_images(10, 16).permute(0, 2, 3, 1).numpy()
    images = CheckedDataset(ArrayDataset(pixels, np.arange(10)), OnError.stop)
    assert find_obstacle(images, data, augment, torch.device("cpu")) == reason


@pytest.mark.parametrize(
    ("resident", "part", "stays"), [(None, 0.25, True), (None, 0.26, False), (True, 0.26, True), (True, 1, True)]
)
def test_resident_true_allows_all_of_the_memory(
    resident: bool | None, part: float, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = replace(CONFIG.data, image_size=16)
    pixels = random_images(100, 16).permute(0, 2, 3, 1).numpy()
    monkeypatch.setattr("roadmap.data.device_loader._total_memory", lambda _: pixels.nbytes / part)
    load = LoaderSpec(10, 1, 0, torch.device("cpu"), workers=0, resident=resident)
    images = CheckedDataset(ArrayDataset(pixels, np.arange(100)), OnError.stop)
    batches = open_train_loader(images, data, CONFIG.recipe.augment, load)
    assert isinstance(batches, DeviceTrainLoader) == stays
    monkeypatch.setattr("roadmap.data.device_loader._total_memory", lambda _: pixels.nbytes - 1)
    with pytest.raises(ConfigError, match="100 images of 16 pixels take more than 100% of its memory"):
        open_train_loader(images, data, CONFIG.recipe.augment, replace(load, resident=True))


def test_images_of_different_sizes_are_read_by_workers(
    photographs: Path, spec: DataSpec, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the first is square and another is not; a requested residence fails with the file names."""
    monkeypatch.setattr("roadmap.system.console._warned", set())
    odd = photographs / "train/cat/5.jpg"
    Image.new("RGB", (20, 16)).save(odd)
    load = LoaderSpec(4, 1, 0, torch.device("cpu"), workers=0, resident=None)
    train, val = open_images(spec)
    batches = open_train_loader(train, spec, CONFIG.recipe.augment, load)
    assert isinstance(batches, WorkerTrainLoader)
    assert [len(batch.labels) for update in batches.epoch(0) for batch in update] == [4, 4, 4]
    assert isinstance(open_eval_loader(train, spec, CONFIG.recipe.augment, load), WorkerEvalLoader)
    assert isinstance(open_eval_loader(val, spec, CONFIG.recipe.augment, load), DeviceEvalLoader)
    names = rf"{odd} has 20x16 pixels, {photographs}/train/ape/0.jpg 16x16"
    assert capfd.readouterr().err == (
        f"warning: photographs is read by dataloader workers, which is slower, since {names}\n"
    )
    with pytest.raises(ConfigError, match=f"hardware.resident=true: photographs can't be kept .*, since {names}"):
        open_train_loader(train, spec, CONFIG.recipe.augment, replace(load, resident=True))


@pytest.mark.parametrize("size", [(375, 500), (500, 333), (224, 224), (100, 180)])
def test_evaluation_resizes_and_center_crops(size: tuple[int, int]) -> None:
    """Short side 256, center crop 224 (evaluation in table 5's recipe), compared with torchvision's transforms."""
    data = read_config(roadmap.compose("data=imagenet", "recipe=paper")).data
    pixels = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    images = CheckedDataset(ArrayDataset(pixels[None], np.zeros(1, dtype=np.int64)), OnError.stop)
    finish = NormalizeAndErase(data, torch.device("cpu"))
    ((ours, _, _),) = WorkerEvalLoader(images, build_eval_transform(data), finish, batch_size=1)
    expected = Compose(
        [
            Resize(256, InterpolationMode.BICUBIC),
            CenterCrop(224),
            ToTensor(),
            Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )(Image.fromarray(pixels))
    torch.testing.assert_close(ours[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "crop_pct"), [((96, 32), 1.0), ((33, 70), 1.0), ((32, 32), 1.0), ((50, 64), 0.875)]
)
def test_a_padded_crop_shifts_what_the_evaluation_sees(size: tuple[int, int], crop_pct: float) -> None:
    """An image that is not square keeps its shape, as in the evaluation."""
    data = replace(read_config(roadmap.compose("data=cifar10")).data, crop_pct=crop_pct)
    augment = replace(CONFIG.recipe.augment, crop=Crop.padded, rand_augment=None, flip=0.0)
    image = np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    padded = np.pad(build_eval_transform(data)(image), ((4, 4), (4, 4), (0, 0)))
    shifts = {padded[y : y + 32, x : x + 32].tobytes() for y in range(9) for x in range(9)}
    transform = build_train_transform(data, augment)
    with isolated_random_state(0):
        drawn = {transform(image).tobytes() for _ in range(50)}
    assert len(drawn) > 20
    assert drawn <= shifts


def test_both_loaders_train_on_the_same_distribution() -> None:
    """The paper's augmentation of one image, 1,500 times each: means and standard deviations of pixels over draws.

    Means differ by less than 5 standard errors at each of 49 places per channel, standard deviations by 15%.
    """
    n, size = 1500, 32
    data = read_config(roadmap.compose("data=cifar10")).data
    augment = read_config(roadmap.compose("recipe=paper")).recipe.augment
    smooth = interpolate(
        torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(5)), size=(size, size), mode="bicubic"
    )
    pixels = (255 * smooth).clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()
    images = CheckedDataset(ArrayDataset(np.repeat(pixels[None], n, 0), np.zeros(n, dtype=np.int64)), OnError.stop)
    resident = DeviceTrainLoader(
        DeviceDataset(images, data, torch.device("cpu")), data, augment, EpochSampler(n, n, 1, 0)
    )
    ((ours, _, _),) = next(resident.epoch(0))
    transform = build_train_transform(data, augment)
    with isolated_random_state(0):
        levels = torch.from_numpy(np.stack([transform(images[0][0]) for _ in range(n)])).permute(0, 3, 1, 2)
    finish = NormalizeAndErase(data, torch.device("cpu"), augment.erasing)
    theirs = finish(Batch(levels, torch.zeros(n)), 0).images
    step = size // 7
    ours, theirs = (batch[:, :, ::step, ::step].double() for batch in (ours, theirs))
    error = ((ours.var(0) + theirs.var(0)) / n).sqrt()
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 5 * error).all()
    assert (ours.std(0) / theirs.std(0) - 1).abs().max() < 0.15


def test_micro_batches_are_lazy() -> None:
    """An update of many is never held in memory as a whole; too few micro-batches raise an error."""
    images, _ = open_images(CONFIG.data)
    load = LoaderSpec(16, 4, 3, torch.device("cpu"), workers=0, resident=False)
    batches = open_train_loader(images, CONFIG.data, CONFIG.recipe.augment, load)
    finished = []
    finish = batches.normalize_erase  # type: ignore[attr-defined]
    batches.normalize_erase = lambda *arguments: finished.append(1) or finish(*arguments)  # type: ignore[attr-defined]
    for number, update in enumerate(batches.epoch(0)):
        assert len(update) == 4
        for taken, _ in enumerate(update, start=1):
            assert len(finished) == 4 * number + taken
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(MicroBatches(iter([]), 1))
