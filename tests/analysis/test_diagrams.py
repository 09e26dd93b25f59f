"""The diagrams are the network's own layers, with what a step changes marked."""

import re

import pytest

from roadmap.analysis.report.diagrams import Sections, draw_network
from roadmap.config import plan_runs
from roadmap.model.describe import describe_network
from roadmap.model.layer_plan import plan_network


def network(step: str, *words: str) -> Sections:
    (run,) = plan_runs([f"+roadmap={step}", "setting=paper", *words], is_sweep=False)
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


def test_moving_the_depthwise_conv_up_is_marked() -> None:
    drawn = draw_network(network("step6_move_up"), network("step5_inverted"))
    assert "+ d3x3, 96" in texts(drawn, "new")
    assert "- d3x3, 384" in texts(drawn, "gone")
    assert "1x1, 96 → 384" in texts(drawn, "kept")


def test_an_activation_that_is_gone_is_marked() -> None:
    drawn = draw_network(network("step9_fewer_acts"), network("step8_gelu"))
    assert any("GELU" in text for text in texts(drawn, "gone"))


def test_an_unchanged_norm_behind_a_larger_kernel_is_not_new() -> None:
    drawn = draw_network(network("step12_downsample", "model/kernel_size=9"), network("step12_downsample"))
    assert texts(drawn, "new") == ["+ d9x9, 96"]
    assert texts(drawn, "gone") == ["- d7x7, 96"]
    assert texts(drawn, "kept").count("LN") == 1


def test_a_layer_that_is_replaced_is_marked_alone() -> None:
    drawn = draw_network(network("step11_layernorm"), network("step10_fewer_norms"))
    assert (texts(drawn, "new"), texts(drawn, "gone")) == (["+ LN"], ["- BN"])


@pytest.mark.parametrize(
    ("step", "before", "changed"),
    [
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
    ("words", "old_words", "caption", "new"),
    [
        (["model/response_norm=grn"], [], "stage 1, blocks 2 to 3", ["+ GRN"]),
        ([], ["model/stride_conv=first"], "stage 2, block 1", ["+ 3x3, 128, /2"]),
        (["model/shortcut=avgpool"], [], "stage 2, block 1", ["+ avg 2x2", "+ stride 2"]),
    ],
)
def test_a_change_of_any_block_is_drawn(
    words: list[str], old_words: list[str], caption: str, new: list[str]
) -> None:
    """A stage's first block is drawn if the others are as before, with all layers of its shortcut beside it."""
    drawn = draw_network(network("step0_resnet", *words), network("step0_resnet", *old_words))
    assert f"<figcaption>{caption}</figcaption>" in drawn
    found = texts(drawn, "new")
    assert all(any(word in text for text in found) for word in new), found


def test_a_step_against_itself_changes_nothing() -> None:
    drawn = draw_network(network("step4_width"), network("step4_width"))
    assert 'class="changed"' not in drawn
    assert 'class="new"' not in drawn
