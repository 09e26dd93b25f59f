"""The row of the paper's tables with which a run is compared."""

from collections.abc import Mapping

import pytest

from roadmap.analysis.results import Row
from roadmap.config.roadmap_files import load_roadmap


@pytest.mark.parametrize(
    ("regime", "step", "variant", "top1"),
    [
        ("resnet50", "step7_kernel", {}, 80.57),
        ("resnet200", "step7_kernel", {}, 82.30),
        ("micro", "step7_kernel", {}, 80.57),  # not in the paper
        ("resnet50", "step7_kernel", {"kernel_size": "3"}, 79.92),  # step 6
        ("resnet50", "step7_kernel", {"kernel_size": "9"}, 80.57),
        ("resnet50", "step7_kernel", {"kernel_size": "13"}, None),
        ("resnet50", "step7_kernel", {"kernel_size": "mine"}, None),
        ("resnet50", "step7_kernel", {"kernel_size": "9", "norm": "layernorm"}, None),
        ("resnet50", "step12_downsample", {"kernel_size": "3"}, None),
        ("resnet50", "original", {}, 76.13),
        ("resnet50", "step13_mine", {}, None),
        ("resnet50", "step7_kernel", {"norm": "layernorm"}, None),
        ("resnet200", "step12_downsample", {}, 83.60),
        ("micro", "swin_base", {}, 83.50),
        ("micro", "swin_base", {"norm": "batchnorm"}, None),
    ],
)
def test_the_row_of_a_run(regime: str, step: str, variant: Mapping[str, str], top1: float | None) -> None:
    row = load_roadmap().find_published(regime, step, variant)
    assert (row and row.top1) == top1
    told = Row(step, None, step, dict(variant), None, "experiment", regime, "imagenet", "paper")
    assert told.paper == row
