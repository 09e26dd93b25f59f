"""`conf/roadmap/` follows the paper: one file per step, one change per file, the paper's figures at the top."""

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from omegaconf import OmegaConf

from roadmap.config import CONF_DIR, Config
from roadmap.config.paper import PaperRow
from roadmap.config.roadmap_files import load_roadmap

# The table of axes: name of the file, field of ModelSpec, from, to.
STEPS = (
    ("step0_resnet", None, None, None),
    ("step1_stage_ratio", "stage_ratio", "resnet", "modern"),
    ("step2_patchify", "stem", "resnet", "patchify"),
    ("step3_depthwise", "conv", "dense", "depthwise"),
    ("step4_width", "width", "resnet", "modern"),
    ("step5_inverted", "block", "bottleneck", "inverted"),
    ("step6_move_up", "position", "middle", "first"),
    ("step7_kernel", "kernel_size", 3, 7),
    ("step8_gelu", "activation", "relu", "gelu"),
    ("step9_fewer_acts", "activation_count", "all", "one"),
    ("step10_fewer_norms", "norm_count", "all", "one"),
    ("step11_layernorm", "norm", "batchnorm", "layernorm"),
    ("step12_downsample", "downsample", "block", "separate"),
)
NAMES = [name for name, *_ in STEPS]

Read = Callable[..., Config]


def read_file(name: str) -> dict[str, Any]:
    values = OmegaConf.to_container(OmegaConf.load(CONF_DIR / "roadmap" / f"{name}.yaml"))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def read_header(name: str) -> str:
    """Return the comment above the first value, on one line."""
    lines = (CONF_DIR / "roadmap" / f"{name}.yaml").read_text().splitlines()
    return " ".join(line.removeprefix("# ") for line in lines[1:] if line.startswith("#"))


def find_rows(name: str) -> dict[str, PaperRow]:
    return {row.regime: row for row in load_roadmap().published if row.config == name and not row.variant}


def test_the_choices_of_the_roadmap_are_those_of_its_files() -> None:
    choices = load_roadmap().choices
    assert [(one.axis, one.start, one.end) for one in choices] == [(a, str(b), str(c)) for _, a, b, c in STEPS[1:]]


def test_the_thirteen_steps_and_the_original_have_labels_of_their_own() -> None:
    labels = [read_file(name)["step"]["label"] for name in [*NAMES, "original"]]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(("index", "name"), [(None, "original"), *enumerate(NAMES)])
def test_a_file_is_named_as_its_step_and_numbered_by_its_place(read: Read, index: int | None, name: str) -> None:
    step = read(f"+roadmap={name}").step
    assert (step.name, step.index) == (name, index)
    assert index is None or name.startswith(f"step{index}_")


@pytest.mark.parametrize("index", range(1, 13))
def test_a_step_names_the_step_before_it_and_overrides_one_axis(index: int) -> None:
    name, axis, _, after = STEPS[index]
    values = read_file(name)
    assert values.keys() == {"defaults", "step"}
    assert values["defaults"] == [NAMES[index - 1], {f"override /model/{axis}": str(after)}, "_self_"]


def test_step_0_changes_nothing_and_the_original_its_recipe_alone() -> None:
    assert read_file("step0_resnet").keys() == {"step"}
    original = read_file("original")
    assert original.keys() == {"defaults", "step"}
    assert original["defaults"] == [{"override /recipe": "original"}, "_self_"]


@pytest.mark.parametrize("index", range(1, 13))
def test_consecutive_steps_differ_in_exactly_one_axis(read: Read, index: int) -> None:
    name, axis, old, new = STEPS[index]
    own = asdict(read(f"+roadmap={name}"))
    before = asdict(read(f"+roadmap={NAMES[index - 1]}"))
    changed = {
        key: (before["model"][key], value) for key, value in own["model"].items() if value != before["model"][key]
    }
    assert changed == {axis: (old, new)}
    assert {**own, "model": None, "step": None} == {**before, "model": None, "step": None}


@pytest.mark.parametrize("name", ["original", *NAMES])
def test_a_header_cites_the_papers_accuracy_and_cost(name: str) -> None:
    found = re.search(
        r"(?P<small>\d\d\.\d\d) top-1 at (?P<small_cost>\d+\.\d\d) GFLOPs.*?; "
        r"(?P<large>\d\d\.\d\d) at (?P<large_cost>\d+\.\d\d)",
        read_header(name),
    )
    assert found, read_header(name)
    rows = find_rows(name)
    small, large = rows["resnet50"], rows["resnet200"]
    assert (float(found["small"]), float(found["small_cost"])) == (small.top1, small.gflops)
    assert (float(found["large"]), float(found["large_cost"])) == (large.top1, large.gflops)


@pytest.mark.parametrize("index", range(13))
def test_a_header_begins_with_its_section_and_cites_the_accuracy_before_the_step(index: int) -> None:
    section = {0: "2.1", 1: "2.2", 2: "2.2", 3: "2.3", 4: "2.3", 5: "2.4", 6: "2.5", 7: "2.5"}
    header = read_header(NAMES[index])
    assert header.startswith(f"Section {section.get(index, '2.6')}, ")
    if index:
        found = re.search(r"\((\d\d\.\d\d) before\)", header)
        assert found
        assert float(found[1]) == find_rows(NAMES[index - 1])["resnet50"].top1


@pytest.mark.parametrize(
    ("name", "regime", "timm_name"),
    [
        ("swin_tiny", "resnet50", "swin_tiny_patch4_window7_224"),
        ("swin_base", "resnet200", "swin_base_patch4_window7_224"),
    ],
)
def test_swin_is_the_reference_with_the_papers_figures(read: Read, name: str, regime: str, timm_name: str) -> None:
    config = read(f"+reference={name}")
    assert (config.reference, config.step.name, config.step.index) == (timm_name, name, None)
    header = (CONF_DIR / "reference" / f"{name}.yaml").read_text()
    row = next(row for row in load_roadmap().published if (row.regime, row.config) == (regime, "reference"))
    assert f"{row.top1:.2f} at {row.gflops:.2f} GFLOPs" in header
