"""The benchmarks compare equal work: the same weights and images on both sides, in alternation."""

import argparse
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from roadmap.errors import ConfigError
from roadmap.model.ops.depthwise import DepthwiseConv2d
from roadmap.model.ops.patchify import PatchConv2d
from roadmap.training.measure.check_work import Work

Load = Callable[[str], ModuleType]
Report = Callable[[], Work]
MakePair = Callable[..., Any]  # see conftest.py


def count_up(images: int, numbers: int) -> Report:
    total = sum(range(numbers))
    return lambda: Work(images, total / total)


@pytest.fixture(scope="module")
def step(load_benchmark: Load) -> ModuleType:
    return load_benchmark("training_step")


def test_who_goes_first_changes_and_the_ratio_is_theirs_over_ours(
    pairs: ModuleType, make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    turns: list[str] = []

    def work(name: str, seconds: float) -> Report:
        nonlocal clock
        clock += seconds
        turns.append(name)
        return lambda: Work(10, 0.5)

    monkeypatch.setattr(pairs.time, "perf_counter", lambda: clock)
    rounds = itertools.count(1)  # one warm-up round, then five

    def peer() -> Report:
        return work("peer", 2.0 + 0.1 * next(rounds))

    ratio = pairs.alternate(make_pair(lambda: work("ours", 1.0), peer), 5)
    assert turns == ["ours", "peer", "peer", "ours"] * 3
    assert ratio.ours_seconds == pytest.approx([1.0] * 5)
    assert ratio.peer_seconds == pytest.approx([2.2, 2.3, 2.4, 2.5, 2.6])
    assert ratio.quartiles == pytest.approx((2.3, 2.4, 2.5))


def test_a_benchmark_prints_and_writes_all_that_a_reader_needs(
    pairs: ModuleType,
    make_pair: MakePair,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["some.py", "--repeats", "5", "--json", str(tmp_path / "r.json"), "a=b"])
    pair = make_pair(lambda: count_up(3, 10_000), lambda: count_up(3, 1_000_000), images=3)
    seen: list[argparse.Namespace] = []

    def make_pairs(arguments: argparse.Namespace) -> list[Callable[[], object]]:
        seen.append(arguments)
        return [lambda: pair]

    assert pairs.run_benchmark(pairs.make_parser("What it does."), make_pairs) == 0
    assert seen[0].overrides == ["a=b"]
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert {"command", "date", "machine", "cores", "load_average", "gpu", "commit"} <= content.keys()
    (row,) = content["pairs"]
    ratios = np.divide(row["peer_seconds"], row["ours_seconds"])
    assert len(ratios) == 5
    assert row["ratio"] == pytest.approx(np.median(ratios))
    assert row["ratio_q1"] <= row["ratio"] <= row["ratio_q3"]
    printed = capsys.readouterr().out
    assert f"{row['ratio']:.2f}x" in printed
    assert "n = 5 rounds" in printed


def test_progress_is_told_with_the_time_that_is_left(
    pairs: ModuleType, make_pair: MakePair, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=30)
    monkeypatch.setattr(pairs.time, "perf_counter", lambda: next(clock))
    told: list[str] = []
    pairs.alternate(make_pair(*[lambda: lambda: Work(10, 1.0)] * 2), 5, told.append)
    assert len(told) == 6
    assert told[0] == "0 of 5 rounds, about 5 min left"
    assert told[-2:] == ["4 of 5 rounds, about 60 s left", "5 of 5 rounds, about 0 s left"]


def test_an_epoch_benchmark_says_its_length_before_it_begins(
    load_benchmark: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    epoch = load_benchmark("epoch")
    epoch.make_pairs(epoch.make_options().parse_args(["--images", "1000", "--repeats", "6"]))
    assert capsys.readouterr().out == "28 epochs of 1,000 images in all, 14 a pair\n"
    with pytest.raises(ConfigError, match="--images 100: must be at least --batch 128"):
        epoch.make_pairs(epoch.make_options().parse_args(["--images", "100"]))


def test_fewer_than_five_repeats_are_refused(pairs: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        pairs.make_parser("").parse_args(["--repeats", "4"])
    assert "at least 5" in capsys.readouterr().err


def test_convnext_atto_is_step_12_at_another_size(step: ModuleType) -> None:
    """timm's weights load, and logits and gradients agree; LayerScale is 1, so that the blocks matter."""
    case = step.CASES["atto-64"]
    config = step.read_case(case, 4)
    ours, peer = step.build_both(case, config)
    scales = [parameter for name, parameter in ours.named_parameters() if name.endswith("gamma")]
    assert len(scales) == 2 + 2 + 6 + 2
    assert all(bool((scale == 1).all()) for scale in scales)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in peer.parameters()) == 3_695_520
    images, labels = step.make_batch(4, 64)
    step.check_logits(ours, peer, images)
    for network in (ours, peer):
        nn.functional.cross_entropy(network(images), labels).backward()
    assert peer.stem[0].weight.grad is not None
    torch.testing.assert_close(ours.stem.conv.weight.grad, peer.stem[0].weight.grad, rtol=1e-3, atol=1e-5)


def test_networks_that_differ_are_not_timed(step: ModuleType) -> None:
    case = step.CASES["atto-32"]
    ours, peer = step.build_both(case, step.read_case(case, 2))
    images, _ = step.make_batch(2, 32)
    step.check_logits(ours, peer, images)
    with torch.no_grad():
        ours.stages[3].blocks[1].branch.conv1.weight.mul_(1.5)  # type: ignore[operator, union-attr]
    with pytest.raises(ConfigError, match="not the same"):
        step.check_logits(ours, peer, images)


def test_an_update_of_both_sides(step: ModuleType) -> None:
    """Three of each have the same losses: the same images, weights and mixing."""
    pair = step.make_pair("atto-32", 2, ("hardware.device=cpu",), eager_peer=False)
    losses = [[run()().checksum for _ in range(3)] for run in (pair.ours, pair.peer)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert len(set(losses[0])) == 3
    assert all(0 < loss < 20 for loss in losses[0])


def test_a_case_that_does_not_exist(step: ModuleType) -> None:
    arguments = step.make_options().parse_args(["--cases", "step0,step99"])
    with pytest.raises(ConfigError, match=r"step99: there is no such case\. Allowed: step0, step12, atto-32, atto"):
        step.make_pairs(arguments)


@pytest.mark.parametrize("option", [[], ["--no-prefetcher", "--size", "45"]], ids=" ".join)
def test_an_epoch_trains_and_evaluates_on_both_sides(
    load_benchmark: Load, option: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = load_benchmark("epoch")
    words = ["--images", "40", "--batch", "8", "--workers", "0", *option]
    made = []
    monkeypatch.setattr(epoch, "InOwnProcess", lambda make: made.append(make()))
    epoch.make_pair("step12_downsample", epoch.make_options().parse_args([*words, "hardware.device=cpu"]))
    ours, peer = made
    networks = (ours.network, peer.model)
    before = [network.state_dict()["stem.conv.weight"].clone() for network in networks]
    assert torch.equal(*before)
    kinds = [{type(module) for module in network.modules()} for network in networks]
    assert [kind & {DepthwiseConv2d, PatchConv2d} for kind in kinds] == [{DepthwiseConv2d, PatchConv2d}, set()]
    for run, network, weight in zip(made, networks, before, strict=True):
        work = run()()
        assert work.images == 40
        assert 0 < work.checksum < 5
        run()  # the first update has the rate 0
        assert not torch.equal(network.state_dict()["stem.conv.weight"], weight)
    assert peer.updates == 2 * ours.train.updates == 10


def test_the_epoch_of_a_single_batch(load_benchmark: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same number of updates of the same weights, without loading."""
    epoch = load_benchmark("epoch")
    words = ["--images", "40", "--batch", "8", "--workers", "0", "--synthetic", "hardware.device=cpu"]
    made = []
    monkeypatch.setattr(epoch, "InOwnProcess", lambda make: made.append(make()))
    assert epoch.make_pair("step12_downsample", epoch.make_options().parse_args(words)).peer_name.startswith(
        "our step"
    )
    ours, synthetic = made
    updates = [list(update) for update in synthetic.train.epoch(3)]
    assert len(updates) == ours.train.updates == 5
    assert all(update == updates[0] for update in updates)
    assert torch.equal(updates[0][0].images, next(iter(next(ours.train.epoch(0)))).images)
    assert synthetic()().images == 40


@pytest.mark.system  # starts two processes
def test_a_side_in_its_own_process(pairs: ModuleType) -> None:
    here = os.getpid()
    side = pairs.InOwnProcess(partial(partial, partial, os.getpid))
    first, second = side()(), side()()
    assert first == second != here
    with pytest.raises(ConfigError, match="no such thing"):
        pairs.InOwnProcess(fail)


@pytest.mark.system  # starts two processes
def test_a_side_ends_with_the_program_that_asks_it(pairs: ModuleType) -> None:
    """Even if the program fails while something still refers to the side."""
    program = (
        "import os; from functools import partial; from pairs import InOwnProcess; "
        "side = InOwnProcess(partial(partial, os.getpid)); raise SystemExit(3)"
    )
    folder = Path(str(pairs.__file__)).parent
    assert subprocess.run([sys.executable, "-c", program], cwd=folder, timeout=120, check=False).returncode == 3


def fail() -> Callable[[], object]:
    raise ConfigError("no such thing")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_loading_reads_every_photograph_on_both_sides(
    load_benchmark: Load, pairs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """timm's ImageDataset leaves its open files to the garbage collector, which warns."""
    loading = load_benchmark("loading")
    monkeypatch.setattr(loading, "InOwnProcess", lambda make: make())
    arguments = argparse.Namespace(images=8, batch=4, workers=0, overrides=["data.image_size=64"])
    for make in loading.make_pairs(arguments, tmp_path):
        pair = make()
        assert pairs.alternate(pair, 1).images == 8
    files = sorted((tmp_path / "photographs/train").rglob("*.jpg"))
    assert len(files) == 8
    assert len(list((tmp_path / "shrunk/train").rglob("*.jpg"))) == 8
    assert len(list((tmp_path / "uncompressed/train").rglob("*.jpg.ppm"))) == 8
    for file in files:
        with Image.open(file) as image:
            assert 480 <= image.width <= 520
            assert image.height == image.width * 3 // 4
        assert 50_000 < file.stat().st_size < 200_000
    arguments.images = 9
    with pytest.raises(ConfigError, match="must be a multiple of --batch 4"):
        loading.make_pairs(arguments, tmp_path)
