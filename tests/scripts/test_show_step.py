"""show_step.py prints the blocks of the paper's figures 3 and 4, and exactly the changes of a step."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fixture_types import Call
from PIL import Image

import roadmap
from roadmap.cli.show import find_figure
from roadmap.config import SearchPath, use
from roadmap.config.roadmap_files import list_roadmaps, load_roadmap
from roadmap.errors import ConfigError

Show = Callable[..., list[str]]
ROOT = Path(__file__).parents[2]
# A block's rows without spacing and without its shortcut: kernel, channels, stride, groups, bias, following layers.
BLOCKS = {
    "step0_resnet": [  # figure 4, center
        "1x1 256 -> 64 1 1 no BN, ReLU",
        "3x3 64 -> 64 1 1 no BN, ReLU",
        "1x1 64 -> 256 1 1 no BN, LayerScale",
        "= their sum ReLU",
    ],
    "step4_width": [  # figure 3a
        "1x1 384 -> 96 1 1 no BN, ReLU",
        "d3x3 96 -> 96 1 96 depthwise no BN, ReLU",
        "1x1 96 -> 384 1 1 no BN, LayerScale",
        "= their sum ReLU",
    ],
    "step5_inverted": [  # figure 3b
        "1x1 96 -> 384 1 1 no BN, ReLU",
        "d3x3 384 -> 384 1 384 depthwise no BN, ReLU",
        "1x1 384 -> 96 1 1 no BN, LayerScale",
        "= their sum ReLU",
    ],
    "step6_move_up": [  # figure 3c
        "d3x3 96 -> 96 1 96 depthwise no BN, ReLU",
        "1x1 96 -> 384 1 1 no BN, ReLU",
        "1x1 384 -> 96 1 1 no BN, LayerScale",
        "= their sum ReLU",
    ],
    "step12_downsample": [  # figure 4, right
        "d7x7 96 -> 96 1 96 depthwise yes LN",
        "1x1 96 -> 384 1 1 yes GELU",
        "1x1 384 -> 96 1 1 yes LayerScale",
        "= their sum nothing",
    ],
}


@pytest.fixture
def show(call: Call) -> Show:
    """Return the lines that a command prints, without inner spacing."""

    def run(*words: str) -> list[str]:
        lines = call("show", *words).out.splitlines()
        assert max(map(len, lines)) <= 100
        return [" ".join(line.split()) for line in lines]

    return run


def test_the_step_before_the_first_is_its_own_roadmaps(own_roadmap: Path) -> None:
    assert roadmap.describe("step0_resnet").before is not None
    assert roadmap.describe("bag_of_tricks/step0_original_resnet").before is None
    with use(SearchPath((str(own_roadmap),))):  # as a command that has read a run's folders
        assert roadmap.describe("mine/step0_start").label == "start"


@pytest.mark.parametrize("step", BLOCKS)
def test_the_last_block_of_the_first_stage_is_the_figures(show: Show, step: str) -> None:
    *branch, shortcut, total = show(step, "--stage", "1")[-5:]
    assert ([*branch, total], shortcut) == (BLOCKS[step], "+ shortcut identity")


def test_stem_strided_block_and_head_of_resnet(show: Show) -> None:
    lines = show("step0_resnet")
    assert "paper, table 10: 78.82 ± 0.07 top-1 at 4.09 GFLOPs; these layers count 4.089 GMACs" in lines
    stem = lines.index("stem: 56 x 56")
    assert lines[stem + 1 : stem + 3] == ["7x7 3 -> 64 2 1 no BN, ReLU", "max 3x3 2"]
    strided = lines.index("stage 2: 4 blocks, 512 channels, 28 x 28")
    assert lines[strided + 1 : strided + 7] == [
        "block 1",
        "1x1 256 -> 128 1 1 no BN, ReLU",
        "3x3 128 -> 128 2 1 no BN, ReLU",
        "1x1 128 -> 512 1 1 no BN, LayerScale",
        "+ shortcut 1x1 256 -> 512 2 1 no BN",
        "= their sum ReLU",
    ]
    assert lines[-3:] == ["head: 1000 classes", "global average pooling", "linear 2048 -> 1000 yes"]


def test_stem_downsampling_and_head_of_convnext(show: Show) -> None:
    lines = show("step12_downsample")
    assert "4x4 3 -> 96 4 1 yes LN" in lines
    stage = lines.index("stage 3: 9 blocks, 384 channels, 14 x 14")
    assert lines[stage + 1 : stage + 4] == ["downsampling LN", "2x2 192 -> 384 2 1 yes", "blocks 1 to 9"]
    assert lines[-3:] == ["global average pooling", "LN", "linear 768 -> 1000 yes"]


def test_the_depthwise_convolution_moves_up(show: Show) -> None:
    lines = show("step5_inverted", "step6_move_up")
    assert "changed: model.position middle -> first" in lines
    assert "stem: 56 x 56 (unchanged)" in lines
    stage = lines.index("stage 2: 3 blocks, 192 channels, 28 x 28")
    assert lines[stage + 1 : stage + 8] == [
        "block 1",
        "+ d3x3 96 -> 96 2 96 depthwise no BN, ReLU",
        "1x1 96 -> 768 1 1 no BN, ReLU",
        "- d3x3 768 -> 768 2 768 depthwise no BN, ReLU",
        "1x1 768 -> 192 1 1 no BN, LayerScale",
        "+ shortcut 1x1 96 -> 192 2 1 no BN",
        "= their sum ReLU",
    ]
    marked = [line for line in lines if line[:3] in ("+ d", "- d", "+ 1", "- 1")]
    assert len(marked) == 2 * 7  # one convolution in each kind of block; stage 1 has one kind


def test_the_last_step_takes_strides_out_of_the_blocks(show: Show) -> None:
    lines = show("step11_layernorm", "step12_downsample", "--stage", "2")
    assert "+ downsampling LN" in lines
    assert "- + shortcut 1x1 96 -> 192 2 1 yes LN" in lines
    kept = lines[lines.index("+ blocks 1 to 3") + 1 :]
    assert not any(line.startswith("-") for line in kept)


def test_a_changed_size_is_told_with_its_choice(show: Show) -> None:
    lines = show("step0_resnet", "step1_stage_ratio", "--stage", "2", "regime=resnet200")
    changes = ["model.stage_ratio resnet -> modern", "depths 3 24 36 3 -> 3 3 27 3", "channels 64 -> 84"]
    assert [line for line in lines if line.startswith("changed:")] == [f"changed: {change}" for change in changes]


def test_a_changed_setting_is_told_with_its_value(show: Show) -> None:
    before, after = "training_techniques/step2_epochs", "training_techniques/step3_optimizer"
    assert [line for line in show(before, after, "--stage", "1") if line.startswith("changed:")] == [
        "changed: recipe.total_batch 256 -> 4096",
        "changed: recipe.optimizer sgd -> adamw",
        "changed: recipe.lr 0.1 -> 0.004",
        "changed: recipe.weight_decay 0.0001 -> 0.05",
        "changed: recipe.decay_all True -> False",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["bag_of_tricks/step6_mixup"], "step6_mixup: recipe.mixup 0 -> 0.2"),
        (["training_techniques/step10_drop_path"], "step10_drop_path: drop_path 0 -> 0.1"),
        (["training_techniques/step0_original_recipe"], "step0_original_recipe: the start"),
        (["step0_resnet", "regime=micro"], "step0_resnet: recipe original -> paper"),
    ],
)
def test_a_step_is_described_by_what_it_changes(words: list[str], expected: str) -> None:
    assert repr(roadmap.describe(*words)) == f"<{expected}>"


def test_a_step_without_a_change_is_not_the_start() -> None:
    assert repr(roadmap.describe("step5_inverted", against="step5_inverted")) == (
        "<step5_inverted: no change from step5_inverted>"
    )


@pytest.mark.system  # composes every step: 10 s
def test_every_step_of_every_roadmap_changes_something() -> None:
    for name in list_roadmaps():
        own = load_roadmap(name)
        for step in own.steps[1:]:
            assert roadmap.describe(own.override(step)).changes, step


def test_overrides_choose_the_size_and_the_papers_row(show: Show) -> None:
    kernel = show("step7_kernel", "model/kernel_size=9", "--stage", "1")
    assert "paper, table 10: 80.57 ± 0.06 top-1 at 4.21 GFLOPs; these layers count 4.210 GMACs" in kernel
    assert any(line.startswith("d9x9") for line in kernel)
    micro = show("step7_kernel", "setting=laptop", "--stage", "1")
    assert "paper: no such row" in micro
    assert "stage 1: 1 block, 24 channels, 8 x 8" in micro


def test_all_steps_are_listed_with_what_they_change(show: Show) -> None:
    lines = show()
    assert [line.split()[0] for line in lines][::13] == ["original", "step12_downsample"]
    assert lines[1] == "step0_resnet ResNet recipe original -> paper"
    assert lines[5] == "step4_width increase width width resnet -> modern, channels 64 -> 96"
    assert lines[6] == "step5_inverted inverting dimensions block bottleneck -> inverted"


def svg_texts(path: Path) -> list[tuple[str, str | None]]:
    """Return each text of a drawing and its colour; all colours are attributes, none is left to a style sheet."""
    elements = list(ElementTree.parse(path).iter())
    assert not any("class" in one.attrib for one in elements)
    return [(one.text or "", one.get("fill")) for one in elements if one.tag.endswith(("text", "tspan"))]


def test_two_blocks_are_drawn_into_files_that_need_no_other(call: Call, tmp_path: Path) -> None:
    svg, png = tmp_path / "blocks.svg", tmp_path / "blocks.png"
    choices = ("model/activation=gelu", "model/norm=layernorm")
    call("show", "step5_inverted", "step6_move_up", *choices, "--svg", svg, "--png", png)
    found = dict(svg_texts(svg))
    assert found["+ d3x3, 96"] != found["- d3x3, 384"] != found["1x1, 96 → 384"]
    assert {"step5_inverted", "step6_move_up", "position middle -> first"} <= found.keys()
    assert "activation=gelu, norm=layernorm" in found  # below the step's name, within the panel
    with Image.open(png) as image:
        assert image.width > image.height > 500
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 100


def test_a_figure_of_the_paper_is_one_command(call: Call, tmp_path: Path) -> None:
    svg = tmp_path / "figure3.svg"
    call("show", "--figure", "3", "--svg", svg)
    texts = [text for text, _ in svg_texts(svg)]
    assert [text for text in texts if text.startswith("step")] == ["step4_width", "step5_inverted", "step6_move_up"]
    assert not any(text.startswith(("+ ", "- ")) for text in texts)
    call("show", "--figure", "3", status=1)


def write_roadmap(folder: Path, name: str, figures: str) -> None:
    """Write a roadmap of two steps with a table of figures below a user's folder."""
    place = folder / "roadmap" / name
    place.mkdir(parents=True)
    start, end = f"{name}0", f"{name}1"
    (place / "roadmap.toml").write_text(
        f'title = "Mine"\n[[sections]]\nlabel = "All"\nsteps = ["{start}", "{end}"]\n[figures]\n{figures}\n'
    )
    for index, (step, defaults) in enumerate(
        {start: "_self_", end: f"/roadmap/{name}/{start}, override /model/norm: layernorm, _self_"}.items()
    ):
        text = f"step: {{name: {step}, index: {index}, label: {step}, roadmap: {name}}}"
        (place / f"{step}.yaml").write_text(f"# @package _global_\ndefaults: [{defaults}]\n{text}\n")


def test_a_figure_of_the_users_roadmap_is_drawn_too(call: Call, tmp_path: Path) -> None:
    write_roadmap(tmp_path, "mine", "1 = ['mine0', 'mine1']\n3 = ['mine1']")
    svg = tmp_path / "figure.svg"
    call("show", "--config-dir", tmp_path, "--figure", "mine/1", "--svg", svg)
    assert [text for text, _ in svg_texts(svg) if text in ("mine0", "mine1")] == ["mine0"] * 2 + ["mine1"] * 2
    with use(SearchPath((str(tmp_path),))):
        assert find_figure("1", []) == ["mine/mine0", "mine/mine1"]
        assert find_figure("3", [])[0] == "step4_width"  # the paper's
        with pytest.raises(
            ConfigError, match=r"--figure 2: there is no such figure. Allowed: 3, 4, mine/1, mine/3"
        ):
            find_figure("2", [])
        with pytest.raises(ConfigError, match="--figure 3 chooses the steps by itself; leave out step5_inverted"):
            find_figure("3", ["step5_inverted"])


def test_a_figure_that_two_roadmaps_have_is_named_with_its_roadmap(tmp_path: Path) -> None:
    for name in ("mine", "other"):
        write_roadmap(tmp_path, name, f"1 = ['{name}0']")
    with use(SearchPath((str(tmp_path),))):
        with pytest.raises(ConfigError, match=r"--figure 1: several roadmaps have one. Allowed: mine/1, other/1"):
            find_figure("1", [])
        assert find_figure("other/1", []) == ["other/other0"]


@pytest.mark.system  # draws thirteen steps: 3 s
def test_all_steps_are_one_picture_for_a_slide(call: Call, tmp_path: Path) -> None:
    svg = tmp_path / "steps.svg"
    call("show", "--svg", svg, "regime=micro", "data=digits")
    texts = [text for text, _ in svg_texts(svg)]
    assert [text for text in texts if text.startswith("step")] == list(load_roadmap().steps)
    assert "+ d7x7, 96" in texts  # of stage 3, the first that repeats a block
    root = ElementTree.parse(svg).getroot()
    assert 1.2 < float(root.attrib["width"]) / float(root.attrib["height"]) < 2.4


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys, runpy; sys.argv = ['show_step.py', 'step5_inverted', 'step6_move_up']\n"
        "try: runpy.run_path('scripts/show_step.py', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print('imported:', *sorted({'torch', 'timm', 'numpy', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported:"
