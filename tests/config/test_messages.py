"""A mistyped command is answered with the wrong word and the allowed ones."""

import pytest

from roadmap.config import CONF_DIR, plan_runs
from roadmap.errors import ConfigError

AXES = "model/activation, model/activation_count, model/block, "


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        # a choice that does not exist
        ("+roadmap=step5_invert", ["roadmap=step5_invert:", "Did you mean step5_inverted?", "Allowed: original, "]),
        (
            "regime=resnet51",
            [
                "regime=resnet51:",
                "Did you mean resnet50?",
                "Allowed: atto, femto, micro, nano, pico, resnet50, resnet200",
            ],
        ),
        ("data=cifr10", ["data=cifr10:", "Did you mean cifar10?", "Allowed: cifar10, cifar10_stride4, "]),
        ("model/norm=bn", ["model/norm=bn:", "Allowed: batchnorm, layernorm"]),
        ("model/kernel_size=8", ["model/kernel_size=8:", "Allowed: 3, 5, 7, 9, 11"]),
        ("model/kernel_size=7.0", ["model/kernel_size=7.0:", "Allowed: 3, 5, 7, 9, 11"]),
        (
            "model/kernel_size=7 recipe=null",
            ["recipe=null:", "Allowed: bag_of_tricks, cifar10, finetune, original, paper, short"],
        ),
        ("+reference=", ["reference=:", "swin_base, swin_tiny, or any timm model"]),
        # a group or key that does not exist
        ("model/norms=batchnorm", ["no group model/norms.", "Did you mean model/norm?", AXES]),
        ("model=resnet", ["no group model.", AXES]),
        ("seting=paper", ["no key seting.", "Did you mean setting?"]),
        ("+roadmp=step0_resnet", ["no key roadmp.", "Did you mean +roadmap?"]),
        ("recipe.epoch=3", ["no key recipe.epoch.", "Did you mean recipe.epochs?"]),
        ("epochs=3", ["no key epochs at the top.", "Did you mean recipe.epochs?"]),
        ("recipe.augment.crop.size=3", ["recipe.augment.crop is a single value and has no keys"]),
        # a plus that is missing or too many
        ("reference=resnet34", ["takes a plus, as in +reference=NAME"]),
        ("++roadmap=step0_resnet", ["++roadmap=step0_resnet: a group takes one plus or none"]),
        ("+data=cifar10", ["takes no plus: data=cifar10"]),
        ("+model/kernel_size=9", ["takes no plus: model/kernel_size=9"]),
        ("+seed=3", ["seed is there already, so it takes no plus: seed=VALUE"]),
        (
            "+roadmap=step0_resnet +roadmap=step1_stage_ratio",
            ["+roadmap is given twice", "step1_stage_ratio", "-m"],
        ),
        # several values without -m
        ("seed=0,1", ["seed=0,1 names several values", "-m", "a list is written seed=[0,1]"]),
        ("regime=micro,resnet50", ["regime=micro,resnet50 names several values. Runs over all of them take -m"]),
        ("+roadmap=glob(step*)", ["+roadmap=glob(step*) names several values", "-m"]),
        # unparsable input
        ("step0_resnet", ["step0_resnet is not of the form KEY=VALUE.", "Did you mean +roadmap=step0_resnet?"]),
        ("paper", ["paper is not of the form KEY=VALUE.", "Did you mean recipe=paper or setting=paper?"]),
        ("recipe.augment.scale=[0.1", ["recipe.augment.scale=[0.1 can't be read", "quoted"]),
        # values that Hydra allows but a training cannot use
        ("recipe.total_batch=100 hardware.per_device_batch=30", ["total_batch=100", "batch=30", "take 25 or 50"]),
    ],
)
def test_the_message(overrides: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        plan_runs(overrides.split(), is_sweep=False)
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert "hydra" not in message.lower()
    assert str(CONF_DIR) not in message


def test_a_launcher_is_checked_before_anything_starts() -> None:
    with pytest.raises(
        ConfigError, match=r"hydra/launcher=slrm: no such choice\. Did you mean slurm\? Allowed: basic"
    ):
        plan_runs(["+roadmap=step0_resnet", "hydra/launcher=slrm"], is_sweep=True)
