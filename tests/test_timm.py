"""The roadmap's networks in timm's registry pass the assertions of timm's own tests of its models."""

import pytest
import timm
import torch
from torch import Tensor, nn

import roadmap
import roadmap.timm
from roadmap.config.roadmap_files import load_roadmap
from roadmap.errors import ConfigError
from roadmap.model.weights import import_weights

STEPS = load_roadmap().steps

ENDS = ("roadmap_step0_resnet_micro", "roadmap_step12_downsample_micro")


@pytest.fixture
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def create(name: str, **options: object) -> nn.Module:
    return timm.create_model(name, **options)


def test_every_step_is_listed_at_every_size() -> None:
    names = timm.list_models("roadmap_*")
    assert {f"roadmap_{step}" for step in STEPS} <= set(names)
    assert {f"roadmap_{step}_{size}" for step in STEPS for size in ("micro", "resnet200")} <= set(names)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_passes_the_assertions_of_timms_tests(step: str, images: Tensor) -> None:
    model = create(f"roadmap_{step}_micro", num_classes=42)
    logits = model(images)
    logits.mean().backward()
    assert logits.shape == (2, 42)
    assert logits.isfinite().all()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", ENDS)
def test_the_default_cfg_and_the_classifier_are_as_timms_tests_want(name: str, images: Tensor) -> None:
    model = create(name).eval()
    cfg, state = model.default_cfg, model.state_dict()
    assert f"{cfg['classifier']}.weight" in state
    assert f"{cfg['first_conv']}.weight" in state
    with torch.no_grad():
        whole = torch.zeros(1, *cfg["input_size"])
        assert model.forward_features(whole).shape[-2:] == cfg["pool_size"]
        model.reset_classifier(0)
        assert model(images).shape == (2, model.num_features)
        model.reset_classifier(0, "")
        assert model(whole).shape == (1, model.num_features, *cfg["pool_size"])
        model.reset_classifier(5, "avg")
        assert model(images).shape == (2, 5)
        assert model.get_classifier().out_features == 5


@pytest.mark.parametrize("name", ENDS)
def test_features_have_the_stated_channels_and_reductions(name: str, images: Tensor) -> None:
    backbone = create(name, features_only=True).eval()
    assert backbone.feature_info.reduction() == [4, 8, 16, 32]
    with torch.no_grad():
        maps = backbone(images)
    assert [m.shape[1] for m in maps] == backbone.feature_info.channels()
    assert [64 // m.shape[-1] for m in maps] == backbone.feature_info.reduction()
    assert [m.shape for m in create(name, features_only=True, out_indices=(1, 3))(images)] == [
        maps[1].shape, maps[3].shape
    ]  # fmt: skip


def test_features_of_step_12_are_those_of_timms_convnext(images: Tensor) -> None:
    theirs = timm.create_model("convnext_tiny", depths=(1, 1, 3, 1), dims=(24, 48, 96, 192)).eval()
    ours = create("roadmap_step12_downsample_micro").eval()
    import_weights(ours, theirs.state_dict(), "timm")
    with torch.no_grad():
        for mine, reference in zip(
            ours.forward_intermediates(images, intermediates_only=True),
            theirs.forward_intermediates(images, intermediates_only=True),
            strict=True,
        ):
            torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)
        pooled = (model.forward_head(model.forward_features(images), pre_logits=True) for model in (ours, theirs))
        torch.testing.assert_close(*pooled, rtol=1e-4, atol=1e-5)


def test_the_state_dict_is_that_of_a_run(images: Tensor) -> None:
    cfg = roadmap.compose("+roadmap=step7_kernel", "regime=micro", "data=imagenet", "recipe=paper")
    own = roadmap.build_model(cfg).eval()
    model = create("roadmap_step7_kernel_micro").eval()
    model.load_state_dict(own.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(images), own(images), rtol=0, atol=0)


def test_intermediates_are_the_features_and_stages_can_be_removed(images: Tensor) -> None:
    model = create(ENDS[1]).eval()
    with torch.no_grad():
        last, maps = model.forward_intermediates(images)
        torch.testing.assert_close(last, model.forward_features(images), rtol=0, atol=0)
        assert len(model.forward_intermediates(images, [0, 1], stop_early=True, intermediates_only=True)) == 2
        assert model.prune_intermediate_layers([-3]) == [1]
        torch.testing.assert_close(model(images), maps[1], rtol=0, atol=0)


def test_recomputed_activations_give_the_same_gradients(images: Tensor) -> None:
    model = create(ENDS[1]).train()
    gradients = []
    for is_recomputed in (False, True):
        model.set_grad_checkpointing(is_recomputed)
        model.zero_grad()
        model(images).square().mean().backward()
        gradients.append(model.stem.conv.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_options_of_a_network(images: Tensor) -> None:
    assert create(ENDS[1], in_chans=1)(images[:, :1]).shape == (2, 1000)
    assert create(ENDS[1], kernel_size=9).stages[0].blocks[0].branch.conv1.kernel_size == (9, 9)
    assert create(ENDS[1], features_only=True, stem_stride=2).feature_info.reduction() == [2, 4, 8, 16]
    assert create(ENDS[1], drop_path_rate=0.5).stages[-1].blocks[-1].drop_path.drop_prob == 0.5
    assert create(ENDS[1], num_classes=0, global_pool="")(images).ndim == 4
    with pytest.raises(TypeError, match=r"kernel: no axis of the roadmap; there are .*kernel_size"):
        create(ENDS[1], kernel=9)
    with pytest.raises(ValueError, match="must be avg"):
        create(ENDS[1]).reset_classifier(10, "max")


def test_a_network_of_ones_own_is_registered_by_its_overrides(images: Tensor) -> None:
    roadmap.timm.register("roadmap_large_kernel", "+roadmap=step7_kernel", "model/kernel_size=11")
    with torch.device("meta"):
        model = timm.create_model("roadmap_large_kernel", num_classes=3)
    assert model.stages[0].blocks[0].branch.conv1.kernel_size == (11, 11)
    assert [stage["num_chs"] for stage in model.feature_info] == [96, 192, 384, 768]  # ResNet-50's size by default


def test_overrides_of_ones_own_network_have_their_effect() -> None:
    """They stand behind the defaults, which are ImageNet's data and the paper's recipe."""
    words = ("+roadmap=step12_downsample", "regime=micro")
    roadmap.timm.register("roadmap_small_stem", *words, "data.stem_stride=2", "recipe=short")
    model = create("roadmap_small_stem")
    assert (model.stem.conv.stride, model.feature_info[0]["reduction"]) == ((2, 2), 2)
    assert not [name for name in model.state_dict() if "layer_scale" in name]
    assert create("roadmap_small_stem", features_only=True, stem_stride=1).feature_info.reduction() == [1, 2, 4, 8]
    roadmap.timm.register("roadmap_kernel", "+roadmap=step7_kernel", "regime=micro", "model.kernel_size=11")
    for options, kernel in (({}, 11), ({"kernel_size": 9}, 9)):  # an option is said later than an override
        assert create("roadmap_kernel", **options).stages[0].blocks[0].branch.conv1.kernel_size == (kernel, kernel)
    roadmap.timm.register("roadmap_of_setting", "+roadmap=step12_downsample", "setting=laptop")
    small = create("roadmap_of_setting")
    assert (small.stem.conv.stride, small.num_features, small.num_classes) == ((2, 2), 192, 1000)
    with pytest.raises(ConfigError, match=r"stem_stride=3: must be 4, 2 or 1"):
        create("roadmap_small_stem", stem_stride=3)


@pytest.mark.parametrize(
    ("word", "way_out"),
    [
        ("data.num_classes=7", "num_classes=..."),
        ("++model.num_classes=7", "num_classes=..."),
        ("model.drop_path=0.3", "drop_path_rate=..."),
        ("recipe.drop_path=0.3", "drop_path_rate=..."),
        ("+reference=swin_tiny", "timm.create_model builds by its own name"),
    ],
)
def test_an_override_that_an_option_of_timm_replaces_is_refused(word: str, way_out: str) -> None:
    with pytest.raises(ConfigError) as caught:
        roadmap.timm.register("roadmap_refused", "+roadmap=step12_downsample", word)
    assert str(caught.value).startswith(f"{word}: ")
    assert way_out in str(caught.value)
    assert "roadmap_refused" not in timm.list_models("roadmap_*")


def test_export_computes_the_same(images: Tensor) -> None:
    model = create(ENDS[1]).eval()
    exported = torch.export.export(model, (images,)).module()
    torch.testing.assert_close(exported(images), model(images))


@pytest.mark.parametrize("name", ENDS)
def test_a_segmentation_library_takes_the_backbone(name: str, images: Tensor) -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    model = smp.Unet(f"tu-{name}", encoder_weights=None, encoder_depth=5, classes=4)
    masks = model(images)
    assert masks.shape == (2, 4, 64, 64)
    masks.mean().backward()
    assert model.encoder.model.stem_conv.weight.grad.abs().sum() > 0
