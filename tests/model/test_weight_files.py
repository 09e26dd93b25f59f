"""Weights files of many origins: wrapped, prefixed, averaged, for other classes, saved by timm's trainer."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from timm.utils import CheckpointSaver, ModelEmaV3
from torch import nn

from roadmap.errors import WeightsError
from roadmap.model.weight_files import KEYS, Kind
from roadmap.model.weight_sources import read_source
from roadmap.model.weights import Naming, export_weights, import_weights, load_weights

Build = Callable[..., nn.Module]
State = dict[str, torch.Tensor]
STEP = "+roadmap=step0_resnet"


@pytest.fixture(scope="module")
def states() -> dict[str, State]:
    """Two different state dicts of one network, as in a file."""
    import roadmap

    network = roadmap.build_model(roadmap.compose(STEP))
    raw = {name: value.clone() for name, value in network.state_dict().items()}
    return {"raw": raw, "averaged": {name: value + 1 for name, value in raw.items()}}


def holds(network: nn.Module, state: State) -> bool:
    return all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def prefix(state: State, *prefixes: str) -> State:
    return {"".join(prefixes) + name: value for name, value in state.items()}


@pytest.mark.parametrize("wrapper", KEYS[Kind.raw])
def test_wrapped_weights_are_found(wrapper: str, states: dict[str, State], build: Build, tmp_path: Path) -> None:
    torch.save({"epoch": 3, "arch": "resnet50", wrapper: states["raw"]}, tmp_path / "checkpoint.pth.tar")
    network = build(STEP)
    assert load_weights(network, str(tmp_path / "checkpoint.pth.tar")) is None
    assert holds(network, states["raw"])


@pytest.mark.parametrize(
    "prefixes", [("module.",), ("_orig_mod.",), ("model.",), ("module.", "_orig_mod."), ("model.", "_orig_mod.")]
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_prefixed_names_are_read(
    prefixes: tuple[str, ...], suffix: str, states: dict[str, State], build: Build, tmp_path: Path
) -> None:
    path, state = tmp_path / f"weights{suffix}", prefix(states["raw"], *prefixes)
    if suffix == ".pt":
        torch.save({"state_dict": state}, path)
    else:
        safetensors.torch.save_file(state, path)
    network = build(STEP)
    load_weights(network, str(path))
    assert holds(network, states["raw"])


@pytest.mark.parametrize("key", KEYS[Kind.averaged])
def test_the_average_beside_the_weights_is_loaded_where_it_is_asked_for(
    key: str, states: dict[str, State], build: Build, tmp_path: Path
) -> None:
    """torch's AveragedModel stores its number of updates beside them."""
    averaged = {"n_averaged": torch.tensor(7), **prefix(states["averaged"], "module.")}
    torch.save({"model": states["raw"], key: averaged}, tmp_path / "both.pth")
    network = build(STEP)
    for source, expected in (("both.pth", "raw"), ("both.pth:ema", "averaged"), ("both.pth:raw", "raw")):
        load_weights(network, str(tmp_path / source))
        assert holds(network, states[expected]), source
    assert list(read_source(str(tmp_path / "both.pth"))) == [Kind.raw, Kind.averaged]


def test_an_average_that_is_not_there_is_not_replaced(
    states: dict[str, State], build: Build, tmp_path: Path
) -> None:
    torch.save({"model": states["raw"], "ema": None}, tmp_path / "raw.pth")
    with pytest.raises(WeightsError, match=r"raw\.pth holds no averaged weights: give it without :ema"):
        load_weights(build(STEP), f"{tmp_path}/raw.pth:ema")
    torch.save({"state_dict_ema": states["averaged"]}, tmp_path / "ema.pth")
    with pytest.raises(WeightsError, match=r"ema\.pth holds no weights beside their average"):
        load_weights(build(STEP), f"{tmp_path}/ema.pth:raw")
    network = build(STEP)
    load_weights(network, f"{tmp_path}/ema.pth")  # there is no other one
    assert holds(network, states["averaged"])
    with pytest.raises(WeightsError, match=r"resnet50:ema: there is no file .* and :ema is of a file"):
        load_weights(network, "resnet50:ema")


def test_a_file_of_timms_trainer(states: dict[str, State], build: Build, tmp_path: Path) -> None:
    """Its arguments are an argparse.Namespace, and a metric may be a numpy scalar."""
    network = build(STEP)
    average = ModelEmaV3(network)
    average.module.load_state_dict(states["averaged"])
    network.load_state_dict(states["raw"])
    saver = CheckpointSaver(
        network,
        torch.optim.SGD(network.parameters(), lr=0.1),
        args=argparse.Namespace(model="resnet50", lr=0.1, betas=(0.9, 0.999), resume=None),
        model_ema=average,
        checkpoint_dir=str(tmp_path),
        recovery_dir=str(tmp_path),
    )
    saver.save_checkpoint(3, metric=np.float64(76.1))
    again = build(STEP)
    for source, expected in (("last.pth.tar", "raw"), ("last.pth.tar:ema", "averaged")):
        load_weights(again, str(tmp_path / source))
        assert holds(again, states[expected])


@pytest.mark.parametrize("naming", [Naming.ours, Naming.resnet])
def test_batch_norms_of_old_files_have_no_count(
    naming: Naming, states: dict[str, State], build: Build, tmp_path: Path
) -> None:
    """torch before 0.4.1 had none, for example in torchvision's first resnet50 files."""
    network = build(STEP)
    network.load_state_dict(states["averaged"])
    old = {name: value for name, value in export_weights(network, naming).items() if "num_batches" not in name}
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    again = build(STEP)
    load_weights(again, str(tmp_path / "old.pth"))
    assert all(
        torch.equal(again.state_dict()[n], v) for n, v in states["averaged"].items() if "num_batches" not in n
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"epoch": 3, "args": argparse.Namespace(lr=1)}, "holds no state dict, but the keys 'epoch', 'args'"),
        ([1, 2], "holds no state dict, but one list"),
        ({}, "holds no state dict, but the keys "),
    ],
)
def test_a_file_without_weights_says_what_it_has(content: Any, told: str, build: Build, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=rf"weights\.pth {told}"):
        load_weights(build(STEP), str(tmp_path / "weights.pth"))


def test_weights_for_other_classes_leave_the_classifier_as_it_was_drawn(build: Build) -> None:
    theirs, ours = build(STEP), build(STEP, "data.num_classes=13")
    drawn = ours.state_dict()["head.linear.weight"].clone()
    with pytest.raises(WeightsError, match="mine has weights for 10 classes, data has 13: training can start"):
        import_weights(ours, theirs.state_dict(), "mine")
    note = import_weights(ours, theirs.state_dict(), "mine", new_head=True)
    assert note == "mine has weights for 10 classes, data has 13: the classifier starts anew"
    found = ours.state_dict()
    assert torch.equal(found["head.linear.weight"], drawn)
    assert all(torch.equal(found[n], v) for n, v in theirs.state_dict().items() if "head.linear" not in n)


def test_timms_weights_for_other_classes_fit_too(build: Build) -> None:
    """A roadmap network under timm's names, and a reference, which is timm's own."""
    words = ("+roadmap=step12_downsample", "regime=resnet50", "data=imagenet", "model.layer_scale_init=1e-6")
    with torch.device("meta"):
        ours, theirs = build(*words), timm.create_model("convnext_tiny", num_classes=10)
        reference = timm.create_model("convnext_tiny", num_classes=3)
    told = "theirs has weights for 10 classes, data has"
    assert import_weights(ours, theirs.state_dict(), "theirs", new_head=True).startswith(f"{told} 1000")
    assert import_weights(reference, theirs.state_dict(), "theirs", new_head=True).startswith(f"{told} 3")


def test_other_shapes_beside_the_classifier_are_another_architecture(build: Build) -> None:
    theirs = build(STEP, "data.num_classes=13", "regime.width.resnet=24")
    with pytest.raises(WeightsError, match="the weights of another architecture"):
        import_weights(build(STEP), theirs.state_dict(), "theirs", new_head=True)
