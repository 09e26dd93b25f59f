"""Published networks: weights of torchvision and timm are loaded and exported, and the logits agree."""

import argparse
import pathlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from timm.models.convnext import checkpoint_filter_fn
from torch import nn

from roadmap.errors import WeightsError
from roadmap.model.weights import Naming, export_weights, import_weights, load_weights

Build = Callable[..., nn.Module]
Unsettle = Callable[[nn.Module], nn.Module]

IMAGENET = ("data=imagenet", "model.init=trunc_normal")  # whose standard deviation is five times that of fan_in
STEP0 = ("+roadmap=step0_resnet", "model.layer_scale_init=null", *IMAGENET)
STEP12 = ("+roadmap=step12_downsample", "model.layer_scale_init=1e-6", *IMAGENET)
V2 = ("+roadmap=step12_downsample", "model/response_norm=grn", "model.layer_scale_init=null", *IMAGENET)
RESNET_C = (*STEP0, "model/stem=deep")
RESNET_D = (*RESNET_C, "model/shortcut=avgpool")
# The regime and overrides of our network, and timm's names for its parts, by timm's name of the network.
PUBLISHED = {
    "resnet50": ("resnet50", STEP0, Naming.resnet, 1e-5),
    "resnet200": ("resnet200", STEP0, Naming.resnet, 1e-4),
    "resnet50c": ("resnet50", RESNET_C, Naming.resnet, 1e-5),
    "resnet50d": ("resnet50", RESNET_D, Naming.resnet_d, 1e-5),
    "convnext_tiny": ("resnet50", STEP12, Naming.convnext, 1e-5),
    "convnext_base": ("resnet200", STEP12, Naming.convnext, 1e-5),
    "convnextv2_tiny": ("resnet50", V2, Naming.convnext, 1e-5),
    "convnextv2_base": ("resnet200", V2, Naming.convnext, 1e-5),
}
SMALL = ("atto", "femto", "pico", "nano")


def build_theirs(name: str) -> nn.Module:
    return torchvision.models.resnet50() if name == "resnet50" else timm.create_model(name)


def check_logits(theirs: nn.Module, ours: nn.Module, tolerance: float) -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, logits = theirs(images), ours(images)
    assert (logits - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.system if PUBLISHED[name][0] == "resnet200" else ())  # 3 to 5 s each
        for name in PUBLISHED
    ],
)
def test_weights_in_and_out(name: str, build: Build, unsettle: Unsettle) -> None:
    regime, words, naming, tolerance = PUBLISHED[name]
    theirs = unsettle(build_theirs(name))
    ours = build(*words, f"regime={regime}").eval()
    import_weights(ours, theirs.state_dict(), name)
    check_logits(theirs, ours, tolerance)
    exported = export_weights(ours, naming)
    state_dict = theirs.state_dict()
    assert exported.keys() == state_dict.keys()
    assert all(torch.equal(exported[key], state_dict[key]) for key in state_dict)
    theirs.load_state_dict(exported, strict=True)


@pytest.mark.parametrize("size", SMALL)
@pytest.mark.parametrize(("family", "words"), [("convnext", STEP12), ("convnextv2", V2)])
def test_weights_of_the_small_networks(
    family: str, words: tuple[str, ...], size: str, build: Build, unsettle: Unsettle
) -> None:
    """timm's own stem of these is the patchify stem; its variants with another stem have names of their own."""
    theirs = unsettle(timm.create_model(f"{family}_{size}"))
    ours = build(*words, f"regime={size}").eval()
    import_weights(ours, theirs.state_dict(), size)
    check_logits(theirs, ours, 1e-5)


@pytest.mark.parametrize(("name", "words"), [("convnext_atto", STEP12), ("convnextv2_atto", V2)])
def test_released_checkpoints(
    name: str, words: tuple[str, ...], build: Build, unsettle: Unsettle, tmp_path: Path
) -> None:
    """The papers' own parameter names, as in timm's conversion of the released files."""
    words = (*words, "regime=atto")
    ours = unsettle(build(*words))
    torch.save({"model": export_weights(ours, Naming.released)}, tmp_path / "released.pth")
    released = torch.load(tmp_path / "released.pth", weights_only=True)
    theirs = timm.create_model(name).eval()
    theirs.load_state_dict(checkpoint_filter_fn(released, theirs), strict=True)
    again = build(*words).eval()
    load_weights(again, str(tmp_path / "released.pth"))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), ours(images), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(again(images), ours(images), rtol=0, atol=0)


def test_own_files(build: Build, unsettle: Unsettle, tmp_path: Path) -> None:
    ours = unsettle(build("+roadmap=step7_kernel"))
    torch.save({"model": ours.state_dict(), "epochs": 3}, tmp_path / "checkpoint.pt")
    published = tmp_path / "published"
    published.mkdir()
    safetensors.torch.save_file(ours.state_dict(), published / "model.safetensors")
    for source in (tmp_path, tmp_path / "checkpoint.pt", published, published / "model.safetensors"):
        other = build("+roadmap=step7_kernel")
        load_weights(other, str(source))
        assert all(map(torch.equal, ours.state_dict().values(), other.state_dict().values()))


def test_another_architecture_is_refused_with_its_keys(build: Build, tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(WeightsError, match=r"resnet18\.pth .*another architecture.*layer1\.0\.conv3\.weight"):
        load_weights(build(*STEP0, "regime=resnet50"), str(tmp_path / "resnet18.pth"))


def pickles() -> Iterator[tuple[bytes, str]]:
    for protocol in (2, 5):
        yield (pickle.dumps(argparse.Namespace(lr=1), protocol), "holds argparse.Namespace, which is not loaded")
        yield pickle.dumps(nn.Linear(2, 2), protocol), "holds torch.nn.modules.linear.Linear, which is not loaded"
        yield pickle.dumps({"lr": 1}, protocol), "holds pickled objects of Python and is no file of torch.save"


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "is damaged"), (b"not a file of weights", "is damaged"), *pickles()]
)
def test_a_file_of_no_weights_is_called_by_what_it_holds(
    content: bytes, told: str, build: Build, tmp_path: Path
) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"weights\.pth can't be read as weights: it {told}"):
        load_weights(build(), str(tmp_path / "weights.pth"))


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_class_in_a_file_of_torch_is_named(is_zip: bool, build: Build, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    content = {"state_dict": build().state_dict(), "path": pathlib.PurePosixPath("x")}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(WeightsError, match=r"it holds pathlib\.PurePosixPath, which is not loaded"):
        load_weights(build(), str(path))


def test_an_archive_of_another_kind_is_called_so(build: Build, tmp_path: Path) -> None:
    np.savez(tmp_path / "weights.npz", a=np.ones(3))
    with pytest.raises(WeightsError, match=r"it is an archive that torch\.save did not write"):
        load_weights(build(), str(tmp_path / "weights.npz"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.pth", "there is no weights file .*missing.pth"),
        ("resnet51", "neither a file nor a torchvision ResNet nor a timm model"),
        ("resnet50.IMAGENET1K_V9", "IMAGENET1K_V1, IMAGENET1K_V2"),
    ],
)
def test_an_unknown_source_is_named(source: str, message: str, build: Build) -> None:
    with pytest.raises(WeightsError, match=message):
        load_weights(build(), source)


def test_a_torchvision_name_asks_for_the_weights_of_the_first_row(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real download, up to the request: 76.13 is IMAGENET1K_V1 in torchvision's table."""
    asked = []
    theirs = torchvision.models.resnet50()

    def download(url: str, *_: object, **__: object) -> dict[str, torch.Tensor]:
        asked.append(url)
        return theirs.state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    ours = build(*STEP0, "regime=resnet50")
    load_weights(ours, "resnet50")
    weights = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
    assert asked == [weights.url]
    assert weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] == pytest.approx(76.13)
    assert torch.equal(ours.state_dict()["stem.conv.weight"], theirs.conv1.weight)


@pytest.mark.parametrize(
    ("source", "request_"),
    [
        ("timm:convnext_atto.d2_in1k", ("convnext_atto.d2_in1k", {"pretrained": True})),
        ("hub:timm/convnext_atto.d2_in1k@v1", ("timm/convnext_atto.d2_in1k", {"revision": "v1"})),
        ("hub:me/net", ("me/net", {"revision": None})),
    ],
)
def test_a_name_with_its_place_asks_there(
    source: str, request_: tuple[str, object], build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = timm.create_model("convnext_atto")
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    asked: list[object] = []

    def create(name: str, **options: object) -> nn.Module:
        asked.append((name, options))
        return theirs

    def download(repository: str, file: str, **options: object) -> str:
        asked.append((repository, options))
        return str(tmp_path / file)

    monkeypatch.setattr("timm.create_model", create)
    monkeypatch.setattr("roadmap.model.weight_sources.hf_hub_download", download)
    ours = build(*STEP12, "regime=atto")
    load_weights(ours, source)
    assert asked == [request_]
    assert torch.equal(ours.state_dict()["stem.conv.weight"], theirs.state_dict()["stem.0.weight"])


def test_a_folder_without_weights_is_named(build: Build, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no checkpoint\.pt and no model\.safetensors"):
        load_weights(build(), str(tmp_path))


@pytest.mark.parametrize(("has", "way_out"), [("1e-6", "null"), ("null", "1e-6")])
def test_weights_that_differ_only_in_layer_scale_name_the_setting(
    has: str, way_out: str, build: Build, tmp_path: Path
) -> None:
    words = ("+roadmap=step12_downsample", "regime=micro")
    torch.save(build(*words, f"model.layer_scale_init={way_out}").state_dict(), tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match=f"Only LayerScale differs: recipe.layer_scale_init={way_out}"):
        load_weights(build(*words, f"model.layer_scale_init={has}"), str(tmp_path / "weights.pt"))


def test_no_network_is_said(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("timm.create_model", refuse)
    with pytest.raises(WeightsError, match=r"Name or service not known.*copy the file here and give its path"):
        load_weights(build(*STEP12, "regime=resnet50"), "convnext_tiny.fb_in1k")
