"""A benchmark refuses a side whose work was not done, in every script."""

import argparse
import math
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from roadmap.errors import MeasurementError
from roadmap.training.measure.check_work import Work

Load = Callable[[str], ModuleType]
Report = Callable[[], Work]


@pytest.mark.parametrize(
    ("done", "words"),
    [
        ((0, 0.0), "ours: 0 of 10 images were processed"),
        ((9, 0.5), "ours: 9 of 10 images were processed"),
        ((10, 0.0), "ours: the checksum of the output is 0.0"),
        ((10, math.nan), "ours: the checksum of the output is nan"),
        ((10, 0.4), "did different work: their checksums are 0.4 and 0.5"),
    ],
)
@pytest.mark.parametrize("is_ours", [True, False], ids=["ours", "peer"])
def test_a_side_whose_work_was_not_done_is_refused(
    pairs: ModuleType, make_pair: Callable[..., Any], done: tuple[int, float], words: str, is_ours: bool
) -> None:
    def report(*work: Any) -> Report:
        time.sleep(1e-4)
        return lambda: Work(*work)

    sides = [lambda: report(*done), lambda: report(10, 0.5)]
    pair = make_pair(*sides if is_ours else reversed(sides))
    if not is_ours:
        words = words.replace("ours:", "theirs:").replace("0.4 and 0.5", "0.5 and 0.4")
    with pytest.raises(MeasurementError, match=re.escape(words)):
        pairs.alternate(pair, 5)


def test_a_side_that_is_faster_than_any_machine_is_refused(pairs: ModuleType) -> None:
    """Even if it lies about count and checksum."""
    pair = pairs.Pair("mine", "theirs", 10**6, *[lambda: lambda: Work(10**6, 1.0)] * 2, bound=1e6, tolerance=0.1)
    with pytest.raises(MeasurementError, match=r"images/s, but no machine exceeds 1,000,000, so it can't have"):
        pairs.alternate(pair, 5)


@pytest.mark.parametrize("name", ["training_step", "block_forms", "augmentation", "convolutions"])
def test_every_benchmark_refuses_a_side_that_does_nothing(
    load_benchmark: Load, pairs: ModuleType, name: str
) -> None:
    """Each side of the first pair of each, in turn; both together pass."""
    module = load_benchmark(name)
    words = {"training_step": ["--cases=atto-32", "--batch=2"], "augmentation": ["--sizes=16", "--batch=8"]}
    parser = module.make_options() if name == "training_step" else module.make_parser("")
    if name == "augmentation":
        module.add_options(parser)
    overrides = ["hardware.device=cpu"]
    overrides += ["data.image_size=16", "hardware.per_device_batch=4"] if name == "convolutions" else []
    threads = torch.get_num_threads()
    pair = module.make_pairs(parser.parse_args([*words.get(name, []), *overrides]))[0]()
    torch.set_num_threads(threads)
    check_refusals(pairs, pair)


def check_refusals(pairs: ModuleType, pair: Any) -> None:
    """The pair is timed; with either side doing nothing, or showing what the other made at once, it is not."""
    assert pairs.alternate(pair, 1).images == pair.images
    work = pair.ours()()
    for side in ("ours", "peer"):
        with pytest.raises(MeasurementError, match=r"processed|checksum"):
            pairs.alternate(replace(pair, **{side: lambda: lambda: Work(0, 0.0)}), 1)
        with pytest.raises(MeasurementError, match="no machine exceeds"):
            pairs.alternate(replace(pair, **{side: lambda: lambda: work}), 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", ["epoch", "loading"])
def test_sides_in_their_own_process_report_their_work_too(
    load_benchmark: Load, pairs: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load_benchmark(name)
    monkeypatch.setattr(module, "InOwnProcess", lambda make: make())
    if name == "epoch":
        words = ["--images=16", "--batch=8", "--workers=0", "--size=16", "hardware.device=cpu"]
        pair = module.make_pair("step0_resnet", module.make_options().parse_args(words))
    else:
        arguments = argparse.Namespace(images=4, batch=4, workers=0, overrides=["data.image_size=224"])
        module.write_photographs(tmp_path / "train", 4)
        module.write_photographs(tmp_path / "val", 4)
        pair = module.make_pair(arguments, tmp_path, tmp_path, "photographs")
    check_refusals(pairs, pair)
