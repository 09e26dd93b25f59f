"""BatchNorm of a single value per channel: detected from a network's plan, before torch refuses it."""

import pytest
import torch

import roadmap
from roadmap.config import plan_run, read_config
from roadmap.errors import ConfigError
from roadmap.model.build import build, trains_on_one_image
from roadmap.model.layer_plan import needs_several_images

STEPS = ("step0_resnet", "step2_patchify", "step7_kernel", "step10_fewer_norms", "step12_downsample")


@pytest.mark.parametrize("norm", ["batchnorm", "layernorm"])
@pytest.mark.parametrize("step", STEPS)
def test_the_plan_knows_what_torch_refuses(step: str, norm: str) -> None:
    config = read_config(roadmap.compose(f"+roadmap={step}", f"model/norm={norm}", "model.stem_stride=4"))
    refused = []
    for size in (32, 33, 64):
        with torch.device("meta"), torch.no_grad():
            network = build(config.model, config.regime, None, size).train()
            network(torch.empty(2, 3, size, size))
            try:
                network(torch.empty(1, 3, size, size))
            except ValueError as error:
                assert "more than 1 value per channel" in str(error)  # noqa: PT017
                refused.append(size)
        assert needs_several_images(config.model, config.regime, size) == (size in refused), size
    assert (32 in refused) == (norm == "batchnorm")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("+roadmap=step0_resnet", "hardware.per_device_batch=1"),
            "hardware.per_device_batch=1: BatchNorm sees a 1x1",
        ),
        (("+roadmap=step0_resnet", "recipe.mixup=0.8", "hardware.per_device_batch=1"), "Mixup and CutMix pair"),
        (
            ("+roadmap=step12_downsample", "model/norm=batchnorm", "hardware.per_device_batch=1"),
            "BatchNorm sees a 1x1",
        ),
    ],
)
def test_a_run_that_torch_would_end_is_refused_before_it_starts(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        plan_run(roadmap.compose(*words, "data.image_size=32", "model.stem_stride=4"))


@pytest.mark.parametrize(
    "words", [("+roadmap=step12_downsample", "data.image_size=32"), ("+roadmap=step0_resnet", "data.image_size=64")]
)
def test_one_image_at_once_is_allowed_where_it_can_be_trained_on(words: tuple[str, ...]) -> None:
    plan_run(roadmap.compose(*words, "hardware.per_device_batch=1", "model.stem_stride=4"))


def test_a_reference_is_tried() -> None:
    config = read_config(roadmap.compose("+reference=resnet18"))
    for size, takes_one in ((32, False), (64, True)):
        assert trains_on_one_image(config.model, config.regime, "resnet18", size) == takes_one
