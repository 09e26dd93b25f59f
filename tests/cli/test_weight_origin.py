"""Weights of another network whose names and shapes fit are refused, with what differs and the way out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub.errors import EntryNotFoundError
from omegaconf import OmegaConf
from timm.layers import BlurPool2d
from torch import nn

import roadmap
from roadmap.cli import weight_origin
from roadmap.cli.weight_origin import check_origin, describe_other_images, read_recorded
from roadmap.config import Config, read_config
from roadmap.config.schema import recorded_values
from roadmap.errors import WeightsError
from roadmap.model.weights import copy_weights, import_weights

STEPS = "+roadmap=step"
RESNET50 = ("+roadmap=step0_resnet", "regime=resnet50", "model.layer_scale_init=null", "data.stem_stride=4")
SHALLOW = (*RESNET50, "regime.depths.resnet=[1,1,1,1]", "data.image_size=64")  # builds in a tenth of the time
Save = Callable[..., Path]


def read(*words: str) -> Config:
    return read_config(roadmap.compose(*words))


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that writes weights and configuration as a run does, without a training."""

    def write(*words: str, **changes: Any) -> Path:
        cfg = roadmap.compose(*words)
        torch.save({"model": roadmap.build_model(cfg).state_dict()}, tmp_path / "checkpoint.pt")
        values = recorded_values(read_config(cfg))
        values["model"] = {
            key: value for key, value in values["model"].items() if key not in changes.get("without", ())
        }
        OmegaConf.save(OmegaConf.create(values), tmp_path / "config.yaml")
        return tmp_path

    return write


def check(folder: Path, *words: str) -> None:
    """Load the weights of a folder and check them, as a training and an evaluation do."""
    cfg = roadmap.compose(*words, f"init_from={folder}")
    network = roadmap.build_model(cfg)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]
    import_weights(network, state, str(folder), new_head=True)
    check_origin(network, read_config(cfg), print)


OTHERS = {  # the weights' network, the one that loads them, what differs, and the way out
    "step 7 in 8": ((f"{STEPS}7_kernel",), (f"{STEPS}8_gelu",), "activation is relu there and gelu here",
                    "model/activation=relu"),
    "step 8 in 9": ((f"{STEPS}8_gelu",), (f"{STEPS}9_fewer_acts",), "activation_count is all there and one here",
                    "model/activation_count=all"),
    "stride": ((f"{STEPS}0_resnet",), (f"{STEPS}0_resnet", "model/stride_conv=first"),
               "stride_conv is spatial there and first here", "model/stride_conv=spatial"),
    "pool": ((f"{STEPS}0_resnet", "model/shortcut=avgpool"), (f"{STEPS}0_resnet",),
             "shortcut is avgpool there and conv here", "model/shortcut=avgpool"),
    "stem": ((f"{STEPS}0_resnet", "data.stem_stride=2"), (f"{STEPS}0_resnet", "data.stem_stride=4"),
             "stem_stride is 2 there and 4 here", "data.stem_stride=2"),
}  # fmt: skip


@pytest.mark.parametrize(("there", "here", "differs", "word"), OTHERS.values(), ids=OTHERS)
def test_a_run_of_another_network_is_refused(
    there: tuple[str, ...], here: tuple[str, ...], differs: str, word: str, save: Save
) -> None:
    folder = save(*there)
    with pytest.raises(WeightsError) as raised:
        check(folder, *here)
    assert f"model.{differs}" in str(raised.value)
    assert f": {word} builds theirs" in str(raised.value)
    assert str(folder) in str(raised.value)
    check(folder, *here, word)


def test_what_does_not_change_the_network_is_not_compared(save: Save) -> None:
    """Also in a run from before an axis existed."""
    step = f"{STEPS}12_downsample"
    folder = save(step, "model.layer_scale_init=1e-6", without=("response_norm", "stride_conv", "shortcut"))
    others = ("data.num_classes=3", "recipe.drop_path=0.3", "model.init=trunc_normal", "model.form=conv")
    check(folder, step, "model.layer_scale_init=0.1", *others)


def test_training_and_evaluation_refuse_and_a_copy_of_the_file_alone_is_loaded(save: Save, tmp_path: Path) -> None:
    folder = save(f"{STEPS}7_kernel")
    here = {"roadmap": "step8_gelu", "output_dir": tmp_path / "outputs", "progress": False}
    for call in (roadmap.train, roadmap.evaluate):
        with pytest.raises(WeightsError, match="activation is relu there and gelu here"):
            call(**here, init_from=folder)
    alone = tmp_path / "alone"
    alone.mkdir()
    assert roadmap.evaluate(**here, init_from=(folder / "checkpoint.pt").rename(alone / "weights.pt")) < 100


def test_a_config_of_another_program_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"")
    for text in ("model: resnet50\n", "a: &x 1\nb: *x\n", "[1, 2]\n", "model: {name: resnet50}\n"):
        (tmp_path / "config.yaml").write_text(text)
        assert read_recorded(str(tmp_path / "weights.pt")) is None


def test_a_published_repository_is_compared(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(f"{STEPS}7_kernel")
    asked = []

    def download(repository: str, file: str, revision: str | None) -> str:
        asked.append((repository, file, revision))
        return str(folder / file)

    monkeypatch.setattr(weight_origin, "hf_hub_download", download)
    cfg = roadmap.compose(f"{STEPS}8_gelu", "init_from='hub:me/net@v1'")
    with pytest.raises(WeightsError, match="activation is relu there and gelu here"):
        check_origin(roadmap.build_model(cfg), read_config(cfg), print)
    assert asked == [("me/net", "config.yaml", "v1")]


def check_name(source: str, *words: str) -> None:
    """Check a network as if it had loaded the weights of a name; its own have the same names and shapes."""
    cfg = roadmap.compose(*words, f"init_from={source}")
    network = roadmap.build_model(cfg)
    state = torch.get_rng_state()
    check_origin(network, read_config(cfg), print)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that names a repository of timm: of a shallow ResNet-50, with arguments."""

    def refuse(*_: object, **__: object) -> str:
        raise EntryNotFoundError("no config.yaml")

    def write(**arguments: object) -> str:
        entry = ({}, "resnet50", {"layers": (1, 1, 1, 1), **arguments})
        monkeypatch.setattr(weight_origin, "hf_hub_download", refuse)
        monkeypatch.setattr(weight_origin, "load_model_config_from_hf", lambda _: entry)
        return "hub:timm/shallow"

    return write


@pytest.mark.parametrize(
    ("arguments", "words", "parts"),
    [
        ({"aa_layer": nn.AvgPool2d}, (), r"it has AvgPool2d \(4\), and this network MaxPool2d \(1\)"),
        ({"aa_layer": BlurPool2d}, (), r"it has BlurPool2d \(4\), and this network the same kinds of modules"),
        ({}, ("model/activation=gelu",), r"it has ReLU \(13\), and this network GELU \(13\)"),
        ({}, ("model/shortcut=avgpool",), r"this network AvgPool2d \(3\)"),
        ({}, ("data.stem_stride=2", "mode=eval"), r"it has MaxPool2d \(1\)"),
    ],
)
def test_a_model_of_timm_that_computes_something_else_is_refused(
    arguments: dict[str, object], words: tuple[str, ...], parts: str, publish: Callable[..., str]
) -> None:
    source = publish(**arguments)
    with pytest.raises(WeightsError, match=f"{source} holds .* timm's resnet50 with these weights .*{parts}"):
        check_name(source, *SHALLOW, *words)


def test_a_model_of_timm_that_computes_the_same_is_accepted(publish: Callable[..., str]) -> None:
    check_name(publish(), *SHALLOW, "data.num_classes=3")
    check_name(publish(), *SHALLOW, "data.stem_stride=2")  # a training on smaller images


@pytest.mark.system  # builds seven large networks
def test_names_of_timm_and_torchvision_are_checked() -> None:
    atto = ("+roadmap=step12_downsample", "regime=atto", "model.layer_scale_init=1e-6", "data.stem_stride=4")
    check_name("timm:convnext_atto.d2_in1k", *atto, "data.image_size=64")
    check_name("resnet50", *RESNET50)
    for name in ("resnetaa50", "resnetblur50"):
        with pytest.raises(WeightsError, match=f"timm's {name} with these weights gives other logits"):
            check_name(f"timm:{name}", *RESNET50)


VIT = (
    "+reference=vit_tiny_patch16_224",
    "data=imagenet",
    "recipe.drop_path=0",
    "init_from=timm:vit_tiny_patch16_224",
)
HALF = "data.mean=[0.5,0.5,0.5] data.std=[0.5,0.5,0.5]"


def test_images_that_timm_normalizes_otherwise_are_named_with_the_overrides() -> None:
    """Of timm's pretrained_cfg: mean and std 0.5, crop_pct 0.9, bicubic."""
    trained, evaluated = (describe_other_images(read(*VIT, f"mode={mode}")) for mode in ("train", "eval"))
    assert trained is not None
    assert trained.endswith(f"were trained with other images than this data set gives: {HALF}")
    assert evaluated is not None
    assert evaluated.endswith(f": {HALF} data.crop_pct=0.9")
    assert "timm:vit_tiny_patch16_224" in evaluated
    assert describe_other_images(read(*VIT, *HALF.split(), "data.crop_pct=0.9", "mode=eval")) is None


def test_weights_of_torchvision_and_files_say_nothing_of_images(tmp_path: Path) -> None:
    for source in ("resnet50", "resnet50.IMAGENET1K_V2", tmp_path / "weights.pt"):
        assert describe_other_images(read(*RESNET50, "data=imagenet", f"init_from={source}", "mode=eval")) is None
    tagged = read(*RESNET50, "data=imagenet", "init_from=timm:resnet50.a1_in1k", "mode=eval")
    assert str(describe_other_images(tagged)).endswith(" gives: data.crop_pct=0.95")


def test_weights_are_copied_both_ways() -> None:
    ours = roadmap.build_model(roadmap.compose(*SHALLOW)).eval()
    theirs: nn.Module = timm.create_model("resnet50", num_classes=10, layers=(1, 1, 1, 1)).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = theirs(images)
        copy_weights(theirs, ours)
        torch.testing.assert_close(ours(images), before, rtol=1e-4, atol=1e-5)
