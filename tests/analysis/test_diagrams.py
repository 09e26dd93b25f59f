"""The diagrams are the network's own layers, with what a step changes marked; a card has one base."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from trial_rows import Write, rows_of

from roadmap.analysis.configurations import Setup
from roadmap.analysis.figures.block import Sections
from roadmap.analysis.report.diagrams import draw_network
from roadmap.analysis.report.walk import draw_walk
from roadmap.analysis.significance import compute_row_stats
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


def cards_of(tmp_path: Path, without_layers: str = "") -> dict[str, dict[str, Any]]:
    """Return the cards of the trial by regime and name; the layers of one row may be unknown."""
    rows = rows_of(tmp_path)
    networks = [None if row.name == without_layers else network(row.name.replace(",", " model/")) for row in rows]
    cards = draw_walk(compute_row_stats(rows), [Setup({}, one) for one in networks])
    drawn = [f"{row.regime} {row.name}" for row in rows if row.name != without_layers]
    return dict(zip(drawn, cards, strict=True))


def write_sizes(write_run: Write) -> None:
    for seed in range(2):
        write_run("step6_move_up", seed, 65.0, gmacs=0.10)
        write_run("step7_kernel", seed, 62.0, gmacs=0.25)
        write_run("step7_kernel", seed, 64.0, gmacs=0.20, variant={"kernel_size": "5"})
        write_run("step7_kernel", seed, 61.0, gmacs=0.30, variant={"norm": "layernorm"})
        write_run("step7_kernel", seed, 60.0, gmacs=0.50, variant={"kernel_size": "5", "norm": "layernorm"})


@pytest.mark.parametrize(
    ("name", "base", "top1", "cost", "gone"),
    [
        ("step7_kernel", "step6_move_up", "change -3.00", "+150.0%", ["- d3x3, 96"]),
        ("step7_kernel,kernel_size=5", "step6_move_up", "change -1.00", "+100.0%", ["- d3x3, 96"]),
        ("step7_kernel,norm=layernorm", "step7_kernel", "change -1.00", "+20.0%", ["- BN", "- BN", "- BN"]),
        ("step7_kernel,kernel_size=5,norm=layernorm", "step7_kernel", "60.00 (n = 2)", "+100.0%",
         ["- d7x7, 96", "- BN", "- BN", "- BN"]),
    ],
)  # fmt: skip
def test_a_card_has_one_base_for_layers_top1_and_cost(
    tmp_path: Path, write_run: Write, name: str, base: str, top1: str, cost: str, gone: list[str]
) -> None:
    write_sizes(write_run)
    card = cards_of(tmp_path)[f"micro {name}"]
    assert card["against"] == f"Against label of {base} ({base})."
    assert top1 in card["facts"]["top-1"]
    assert card["facts"]["GMACs"].endswith(f", change {cost}")
    assert texts(card["drawing"], "gone") == gone


def test_a_card_names_the_base_of_its_numbers_also_if_its_layers_are_unknown(
    tmp_path: Path, write_run: Write
) -> None:
    write_sizes(write_run)
    card = cards_of(tmp_path, without_layers="step6_move_up")["micro step7_kernel,kernel_size=5"]
    assert card["against"] == (
        "Against label of step6_move_up (step6_move_up), of which no layers are known: the diagram marks no change."
    )
    assert "change -1.00" in card["facts"]["top-1"]
    assert texts(card["drawing"], "gone") == []


def test_a_card_compares_with_no_network_of_another_setting(tmp_path: Path, write_run: Write) -> None:
    for seed, (regime, gmacs) in enumerate([("micro", 0.1), ("nano", 1.0)]):
        write_run("step7_kernel", seed, regime=regime, gmacs=gmacs)
        variant = {"kernel_size": "9", "norm": "layernorm"}
        write_run("step7_kernel", seed, regime=regime, gmacs=1.1 * gmacs, variant=variant)
    cards = cards_of(tmp_path)
    for regime in ("micro", "nano"):
        card = cards[f"{regime} step7_kernel,kernel_size=9,norm=layernorm"]
        assert card["against"] == f"Against label of step7_kernel [{regime}, digits, short] (step7_kernel)."
        assert card["facts"]["GMACs"].endswith(", change +10.0%")
