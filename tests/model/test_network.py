"""The network: both forms of a block, every combination of choices, and refused sizes."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from timm.layers import DropPath
from torch import nn

import roadmap
from roadmap.config import CONF_DIR, plan_run, read_config
from roadmap.config.convert import convert
from roadmap.errors import ConfigError
from roadmap.model.build import build as build_any
from roadmap.model.layers import build_layer
from roadmap.model.planned_layers import Act, Layer, Norm
from roadmap.model.spec import Form, ModelSpec, Widths

Build = Callable[..., nn.Module]
Unsettle = Callable[[nn.Module], nn.Module]

STEPS = sorted(path.stem for path in (CONF_DIR / "roadmap").glob("step*.yaml"))
AXES = {path.name: sorted(file.stem for file in path.glob("*.yaml")) for path in (CONF_DIR / "model").iterdir()}
BASE = roadmap.compose()


VARIANTS = (  # of the axes that no step of ConvNeXt's roadmap changes
    "+roadmap=step12_downsample model/response_norm=grn",
    "+roadmap=step5_inverted model/response_norm=grn",
    "+roadmap=step0_resnet model/response_norm=grn model/stride_conv=first model/stem=deep model/shortcut=avgpool",
)


@pytest.mark.parametrize("words", [*(f"+roadmap={step}" for step in STEPS), *VARIANTS])
def test_both_forms_of_the_block_agree(words: str, build: Build, unsettle: Unsettle) -> None:
    """Outputs and all gradients, in float64 and with LayerScale 1, since at 1e-6 any two branches look alike."""
    overrides = [*words.split(), "model.layer_scale_init=1.0", "model.drop_path=0"]
    conv, linear = (build(*overrides, f"model.form={form}").double() for form in ("conv", "linear"))
    unsettle(conv).train()
    linear.load_state_dict(conv.state_dict(), strict=True)
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    outputs = [model(images.to(memory_format=torch.channels_last)) for model in (conv, linear)]
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-9)
    for output in outputs:
        output.square().sum().backward()
    for (name, a), b in zip(conv.named_parameters(), linear.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-7, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking adds nothing to the failing choices
)
@given(
    choices=st.fixed_dictionaries({axis: st.sampled_from(members) for axis, members in AXES.items()}),
    stem_stride=st.sampled_from([1, 2, 4]),
    form=st.sampled_from(list(Form)),
    layer_scale=st.sampled_from([None, 1.0]),
)
def test_every_combination_trains(
    choices: dict[str, str], stem_stride: int, form: Form, layer_scale: float | None
) -> None:
    """No combination of the axes is refused: each builds, with finite forward and backward passes."""
    config = read_config(BASE)
    values = {
        **OmegaConf.to_container(BASE.model, resolve=True),
        **choices,
        "kernel_size": int(choices["kernel_size"]),
    }
    spec = convert(ModelSpec, {**values, "stem_stride": stem_stride, "form": form, "layer_scale_init": layer_scale})
    regime = replace(config.regime, width=Widths(resnet=8, stage_ratio=9, modern=10))  # dense 11x11 kernels, too
    size = 8 * stem_stride
    model = build_any(spec, regime, None, size)
    logits = model(torch.randn(4, 3, size, size))
    assert logits.shape == (4, 10)
    logits.logsumexp(1).sum().backward()
    assert logits.isfinite().all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize(("stem", "stride"), list(itertools.product(("resnet", "patchify", "deep"), (4, 2, 1))))
def test_every_stem_obeys_the_stride(stem: str, stride: int, build: Build) -> None:
    model = build(f"model/stem={stem}", f"model.stem_stride={stride}")
    assert model.stem(torch.randn(1, 3, 32, 32)).shape == (1, 16, 32 // stride, 32 // stride)


@pytest.mark.parametrize("step", STEPS)
def test_a_bias_stands_exactly_where_no_batch_norm_follows(step: str, build: Build) -> None:
    model = build(f"+roadmap={step}")
    for sequence in (module for module in model.modules() if isinstance(module, nn.Sequential)):
        layers = [layer for name, layer in sequence.named_children() if not name.endswith("format")]
        for layer, following in itertools.zip_longest(layers, layers[1:]):
            if isinstance(layer, nn.Conv2d):
                assert (layer.bias is None) == isinstance(following, nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        (["+roadmap=step12_downsample", "data.image_size=8"], "4, 2, 1, 0"),
        (["+roadmap=step2_patchify", "model.stem_stride=4", "data.image_size=3"], "0, 0, 0, 0"),
    ],
)
def test_an_image_that_the_strides_reduce_to_nothing(words: list[str], sizes: str) -> None:
    with pytest.raises(ConfigError, match=f"would see {sizes} pixels"):
        roadmap.build_model(roadmap.compose(*words))


@pytest.mark.parametrize("step", ["step0_resnet", "step12_downsample"])
def test_meta_networks_take_no_memory(step: str) -> None:
    with torch.device("meta"):
        model = roadmap.build_model(roadmap.compose(f"+roadmap={step}", "setting=paper"))
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}


def test_grn_is_the_identity_at_the_start(build: Build) -> None:
    """So a ResNet with GRN starts as the same function, with one override."""
    plain, normed = build("+roadmap=step0_resnet"), build("+roadmap=step0_resnet", "model/response_norm=grn")
    added = normed.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert added
    assert all(name.endswith((".grn.weight", ".grn.bias")) for name in added)
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(normed(images), plain(images), rtol=0, atol=0)


def test_stochastic_depth_rises_linearly(build: Build) -> None:
    model = build("+roadmap=step12_downsample", "regime=resnet50", "model.drop_path=0.1")
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx(torch.linspace(0, 0.1, 18).tolist())


@pytest.mark.parametrize(
    ("init", "std"), [("trunc_normal", 0.02), ("fan_in", 96**-0.5), ("torchvision", (2 / 384) ** 0.5)]
)
def test_initialization(init: str, std: float, build: Build) -> None:
    """The first 1x1 convolution of step 12's third block: 96 channels in, 384 out."""
    model = build("+roadmap=step12_downsample", "regime=resnet50", f"model.init={init}")
    weight = model.stages[0].blocks[2].branch.conv2.weight
    truncation = 0.88 if init == "fan_in" else 1.0  # truncated at two standard deviations
    assert weight.std().item() == pytest.approx(truncation * std, rel=0.02)
    assert not any(p.any() for name, p in model.named_parameters() if "conv" in name and name.endswith("bias"))


def test_a_seed_fixes_the_weights(build: Build) -> None:
    first, second = (build("+roadmap=step12_downsample").state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_references(name: str, build: Build) -> None:
    model = build(f"+reference={name}", "data.image_size=32").eval()
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(("name", "blocks"), [("densenet121", 0), ("vgg11", 0), ("resnet18", 7)])
def test_a_reference_has_the_stochastic_depth_that_is_recorded(name: str, blocks: int, build: Build) -> None:
    """Its first block is never dropped."""

    def count(*overrides: str) -> int:
        with torch.device("meta"):
            network = build(f"+reference={name}", "data.image_size=64", *overrides)
        return sum(isinstance(module, DropPath) for module in network.modules())

    assert count("recipe.drop_path=0") == 0
    if blocks:
        assert count("recipe.drop_path=0.2") == count("recipe=paper", "regime=resnet50") == blocks
        return
    with pytest.raises(ConfigError, match=f"{name} has no stochastic depth, so recipe.drop_path=0.2 has no effect"):
        count("recipe.drop_path=0.2")
    with pytest.warns(UserWarning, match=r"recipe.drop_path=0.1 has no effect: recipe.drop_path=0 records that"):
        assert count("recipe=paper", "regime=resnet50") == 0  # which is the recipe's


def test_an_unknown_reference_names_its_neighbors() -> None:
    with pytest.raises(ConfigError, match=r"no model 'resnet3x4'.*resnet34"):
        roadmap.build_model(roadmap.compose("+reference=resnet3x4"))


@pytest.mark.parametrize("layer", [Norm("norm", "groupnorm", 8), Act("act", "silu")])  # type: ignore[arg-type]
def test_a_layer_that_has_no_module_is_not_built_as_another(layer: Layer) -> None:
    with pytest.raises(ConfigError, match=r"(groupnorm|silu).*layers\.py has no module for it"):
        build_layer(layer)


THREE = ("regime.depths.resnet=[1,1,2]", "regime.depths.modern=[1,1,3]")


@pytest.mark.parametrize("step", ["step0_resnet", "step1_stage_ratio", "step12_downsample"])
def test_a_regime_of_three_stages_is_the_first_three_of_four(step: str, build: Build) -> None:
    """The last stage then gets 4 pixels at stem stride 2, while the fourth would get 2."""
    words = (f"+roadmap={step}", "data=cifar10")
    three, four = build(*words, *THREE), build(*words)
    assert [len(stage.blocks) for stage in three.stages] == [len(stage.blocks) for stage in four.stages[:3]]
    shapes = {name: tensor.shape for name, tensor in three.state_dict().items()}
    missing = {name for name, tensor in four.state_dict().items() if shapes.get(name) != tensor.shape}
    assert {name.rpartition(".")[0].partition(".")[0] for name in missing} == {"stages", "head"}
    assert all(name.startswith(("stages.3.", "head.")) for name in missing)
    features = three.stages(three.stem(torch.randn(2, 3, 32, 32)))
    assert features.shape[2:] == (4, 4)
    assert three(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_three_stages_take_smaller_images() -> None:
    words = ("+roadmap=step12_downsample", "data=cifar10", "data.image_size=8")
    with pytest.raises(ConfigError, match="the 4 stages would see 4, 2, 1, 0 pixels"):
        plan_run(roadmap.compose(*words))
    plan_run(roadmap.compose(*words, *THREE))
