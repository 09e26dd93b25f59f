"""The recipe's settings, compared with timm's and torch's own implementations."""

from dataclasses import replace

import pytest
import timm
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from torch import nn

import roadmap
from roadmap.config import read_config
from roadmap.errors import ConfigError
from roadmap.model.weights import Naming
from roadmap.training.recipe import (
    build_ema,
    build_loss,
    build_mix,
    build_optimizer,
    learning_rate,
    set_learning_rate,
)
from roadmap.training.spec import BatchRule, plan_accumulation

PAPER = read_config(roadmap.compose("setting=paper", "+roadmap=step12_downsample")).recipe
ORIGINAL = read_config(roadmap.compose("setting=paper", "+roadmap=original")).recipe
TRICKS = read_config(roadmap.compose("setting=paper", "+roadmap=bag_of_tricks/step3_resnet_d")).recipe


def test_cosine_with_warmup_matches_timm() -> None:
    updates = 312  # an epoch of ImageNet-1K at batch size 4096
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=PAPER.lr)
    theirs = CosineLRScheduler(
        optimizer,
        t_initial=280 * updates,
        lr_min=1e-6,
        warmup_t=20 * updates,
        warmup_lr_init=0,
        warmup_prefix=True,
        t_in_epochs=False,
    )
    for update in [0, 1, 311, 6239, 6240, 6241, 50_000, 93_599]:
        theirs.step_update(update)
        assert learning_rate(PAPER, update, updates) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)


@pytest.mark.parametrize(("epoch", "lr"), [(0, 0.1), (29, 0.1), (30, 0.01), (59, 0.01), (60, 0.001), (89, 0.001)])
def test_step_schedule_matches_the_original_recipe(epoch: int, lr: float) -> None:
    assert learning_rate(ORIGINAL, epoch * 5004, 5004) == pytest.approx(lr)
    assert learning_rate(ORIGINAL, epoch * 5004 + 5003, 5004) == pytest.approx(lr)


@pytest.mark.parametrize(
    ("epoch", "lr"), [(5, 0.4), (29, 0.4), (30, 0.04), (59, 0.04), (60, 4e-3), (89, 4e-3), (90, 4e-4), (119, 4e-4)]
)
def test_bag_of_tricks_divides_the_rate_at_epochs_30_60_and_90(epoch: int, lr: float) -> None:
    """Arxiv 1812.01187, section 2.1: of 120 epochs, the first 5 of which are the warm-up."""
    assert learning_rate(TRICKS, epoch * 1251, 1251) == pytest.approx(lr)
    assert learning_rate(TRICKS, epoch * 1251 + 1250, 1251) == pytest.approx(lr)


def test_no_decay_on_biases_norms_and_layer_scale() -> None:
    model = roadmap.build_model(roadmap.compose("+roadmap=step12_downsample", "model.layer_scale_init=1e-6"))
    optimizer = build_optimizer(model, PAPER)
    decayed = {p for group in optimizer.param_groups if group["weight_decay"] > 0 for p in group["params"]}
    assert decayed == {p for p in model.parameters() if p.ndim > 1}
    (group,) = build_optimizer(model, ORIGINAL).param_groups
    assert group["weight_decay"] == 1e-4
    assert len(group["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "convnext_atto"])
def test_reference_weight_decay_matches_timm(name: str) -> None:
    """Except for Swin's relative position biases, which are tables."""
    model = timm.create_model(name)
    ours, theirs = build_optimizer(model, PAPER), create_optimizer_v2(model, opt="adamw", weight_decay=0.05)
    decayed = [
        {p for group in optimizer.param_groups if group["weight_decay"] > 0 for p in group["params"]}
        for optimizer in (ours, theirs)
    ]
    assert decayed[0] == decayed[1]
    names = {key for key, p in model.named_parameters() if p.ndim > 1 and p not in decayed[0]}
    assert any("relative_position" in key or key == "pos_embed" for key in names) == ("convnext" not in name)


def test_layer_decay_groups_match_timms_convnext_tiny() -> None:
    words = ("+roadmap=step12_downsample", "data=imagenet", "recipe=finetune", "regime=resnet50")
    with torch.device("meta"):
        ours, theirs = roadmap.build_model(roadmap.compose(*words)), timm.create_model("convnext_tiny")
    recipe = read_config(roadmap.compose(*words)).recipe
    optimizer = build_optimizer(ours, recipe)
    expected = create_optimizer_v2(theirs, opt="adamw", lr=recipe.lr, weight_decay=1e-8, layer_decay=0.8)
    set_learning_rate(optimizer, 0.5 * recipe.lr)

    def settings(optimizer: torch.optim.Optimizer, names: dict[nn.Parameter, str]) -> dict[str, tuple[float, ...]]:
        return {
            names[p]: (group["lr"] / group["lr_scale"], group["lr_scale"], group["weight_decay"])
            for group in optimizer.param_groups
            for p in group["params"]
        }

    names = {p: Naming.convnext.translate(name) for name, p in ours.named_parameters()}
    timms = settings(expected, {p: name for name, p in theirs.named_parameters()})
    assert settings(optimizer, names) == {
        name: (pytest.approx(0.5 * recipe.lr), scale, decay) for name, (_, scale, decay) in timms.items()
    }
    assert {scale for _, scale, _ in timms.values()} == {0.8**layers for layers in range(20)}


def test_mixed_targets_include_label_smoothing() -> None:
    images, targets = build_mix(PAPER, 10, 64)(torch.rand(64, 3, 8, 8), torch.arange(64) % 10)
    assert images.shape == (64, 3, 8, 8)
    torch.testing.assert_close(targets.sum(1), torch.ones(64))
    assert targets.min().item() == pytest.approx(0.1 / 10)
    with pytest.raises(ConfigError, match="can't be odd: 7 images"):
        build_mix(PAPER, 10, 7)


def test_loss_without_mixing_is_smoothed() -> None:
    logits, labels = torch.randn(5, 10), torch.arange(5)
    plain = replace(PAPER, mixup=0.0, cutmix=0.0)
    expected = nn.CrossEntropyLoss(label_smoothing=0.1)(logits, labels)
    torch.testing.assert_close(build_loss(plain)(logits, labels), expected)
    targets = 0.9 * nn.functional.one_hot(labels, 10) + 0.01
    torch.testing.assert_close(build_loss(PAPER)(logits, targets), expected)


def test_moving_average() -> None:
    model = nn.BatchNorm1d(1)
    nn.init.constant_(model.weight, 0.0)
    ema = build_ema(model, replace(PAPER, ema_decay=0.9))
    assert ema is not None
    values = []
    for value in (1.0, 2.0, 3.0):
        nn.init.constant_(model.weight, value)
        model.running_mean.fill_(value)
        model.num_batches_tracked.fill_(value)
        ema.update(model)
        values.append([*ema.module.weight.tolist(), *ema.module.running_mean.tolist()])
    assert values == [pytest.approx([mean, mean]) for mean in (0.1, 0.29, 0.561)]  # 0.9 * mean + 0.1 * value
    assert ema.module.num_batches_tracked == 3
    assert build_ema(model, PAPER) is None


@pytest.mark.parametrize(
    ("total", "per_device", "devices", "plan"),
    [(4096, 128, 8, (128, 4)), (64, 128, 1, (64, 1)), (4096, 4096, 1, (4096, 1)), (256, 64, 2, (64, 2))],
)
def test_accumulation(total: int, per_device: int, devices: int, plan: tuple[int, int]) -> None:
    assert plan_accumulation(total, per_device, devices) == plan


@pytest.mark.parametrize(
    ("total", "per_device", "rule", "message"),
    [
        (100, 64, BatchRule(), "not a multiple of hardware.per_device_batch=64: take 50 or 100"),
        (127, 64, BatchRule(not_one=True), "not a multiple of hardware.per_device_batch=64: take 127$"),
        (127, 64, BatchRule(), "not a multiple of hardware.per_device_batch=64: take 1 or 127$"),
        (12, 3, BatchRule(even=True), "per_device_batch=3: Mixup and CutMix pair .* 3 images: take 2 or 4$"),
        (12, 5, BatchRule(even=True), "per_device_batch=5: Mixup and CutMix pair .* 5 images: take 4 or 6$"),
        (
            7,
            8,
            BatchRule(even=True),
            "total_batch=7: Mixup and CutMix pair .* 7 images: choose recipe.total_batch=2 or",
        ),
        (8, 1, BatchRule(not_one=True), "hardware.per_device_batch=1: BatchNorm sees .*: take 2$"),
        (1, 8, BatchRule(not_one=True), "recipe.total_batch=1: BatchNorm sees .*: choose recipe.total_batch=2"),
    ],
)
def test_impossible_batch_is_an_error(total: int, per_device: int, rule: BatchRule, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_accumulation(total, per_device, rule=rule)


def test_ranks_need_a_multiple_of_their_number() -> None:
    with pytest.raises(ConfigError, match="take 9 or 12"):
        plan_accumulation(10, 8, 3)
