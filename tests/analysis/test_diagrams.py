"""The diagrams are the network's own layers, with what a step changes marked."""

import re
from functools import cache

import pytest

from roadmap.analysis.figures.block import Sections
from roadmap.analysis.report.diagrams import draw_network
from roadmap.config import plan_runs
from roadmap.model.describe import describe_network
from roadmap.model.layer_plan import plan_network


@cache
def network(words: str) -> Sections:
    """Return the sections of a step, with overrides after its name."""
    step, *overrides = words.split()
    (run,) = plan_runs([f"+roadmap={step}", "setting=paper", *overrides], is_sweep=False)
    return describe_network(plan_network(run.config.model, run.config.regime), run.config.data.image_size)


def texts(html: str, kind: str) -> list[str]:
    """Return the words in the block's drawing that are `kept`, `new` or `gone`."""
    (svg,) = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    return re.findall(rf'<(?:text|tspan) class="{kind}"[^>]*>([^<]*)<', svg)


def test_the_block_is_that_of_figure_4() -> None:
    drawn = draw_network(network("step12_downsample"), None)
    assert texts(drawn, "kept") == [
        "d7x7, 96", "LN", "1x1, 96 → 384", "GELU", "1x1, 384 → 96", "LayerScale", "identity", "+",
    ]  # fmt: skip
    assert "stage 1, blocks 1 to 3" in drawn
    assert texts(drawn, "new") == texts(drawn, "gone") == []


@pytest.mark.parametrize(
    ("words", "before", "new", "gone", "kept"),
    [
        ("step6_move_up", "step5_inverted",
         ["+ d3x3, 96", "+ BN, ReLU"], ["- d3x3, 384", "- BN, ReLU"], "1x1, 96 → 384"),
        ("step9_fewer_acts", "step8_gelu", [], ["- GELU", "- GELU"], "BN, GELU"),
        ("step11_layernorm", "step10_fewer_norms", ["+ LN"], ["- BN"], "GELU"),
        ("step12_downsample model/kernel_size=9", "step12_downsample", ["+ d9x9, 96"], ["- d7x7, 96"], "LN"),
        ("step12_downsample", "step12_downsample", [], [], "d7x7, 96"),
    ],
)  # fmt: skip
def test_exactly_the_layers_that_a_step_changes_are_marked(
    words: str, before: str, new: list[str], gone: list[str], kept: str
) -> None:
    drawn = draw_network(network(words), network(before))
    assert (texts(drawn, "new"), texts(drawn, "gone")) == (new, gone)
    assert kept in texts(drawn, "kept")


@pytest.mark.parametrize(
    ("step", "before", "changed"),
    [
        ("step4_width", "step4_width", []),
        ("step2_patchify", "step1_stage_ratio", ["stem"]),
        ("step12_downsample", "step11_layernorm", ["stem", "stage 2", "stage 3", "stage 4", "head"]),
        ("step7_kernel", "step6_move_up", ["stage 1", "stage 2", "stage 3", "stage 4"]),
    ],
)
def test_exactly_the_sections_that_a_step_changes_are_marked(step: str, before: str, changed: list[str]) -> None:
    cards = re.findall(r'<li class="(\w+)">(.*?)</li>', draw_network(network(step), network(before)))
    assert len(cards) == 6
    found = [re.sub("<[^>]*>", "", text).lstrip("-+ ") for kind, text in cards if kind == "changed"]
    assert [text.partition(":")[0] for text in found] == changed


@pytest.mark.parametrize(
    ("words", "before", "caption", "new"),
    [
        ("step0_resnet model/response_norm=grn", "step0_resnet", "stage 1, blocks 2 to 3", [", + GRN"]),
        ("step0_resnet", "step0_resnet model/stride_conv=first", "stage 2, block 1",
         ["+ 1x1, 256 → 128", "+ 3x3, 128, /2"]),
        ("step0_resnet model/shortcut=avgpool", "step0_resnet", "stage 2, block 1",
         ["+ avg 2x2", "+ stride 2", "+ 1x1", "+ 256 -&gt; 512", "+ BN"]),
    ],
)  # fmt: skip
def test_a_change_of_any_block_is_drawn(words: str, before: str, caption: str, new: list[str]) -> None:
    """A stage's first block is drawn if the others are as before, with all layers of its shortcut beside it."""
    drawn = draw_network(network(words), network(before))
    assert f"<figcaption>{caption}</figcaption>" in drawn
    assert texts(drawn, "new") == new
