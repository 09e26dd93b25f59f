"""A roadmap is a folder: its steps, choices and published results, and what its author may get wrong."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from roadmap.config import Config, plan_runs, read_sweep
from roadmap.config.roadmap_files import find_roadmap, list_roadmaps, load_roadmap
from roadmap.config.search_path import SearchPath, use
from roadmap.config.sweep_networks import leave_one_out
from roadmap.errors import ConfigError
from roadmap.runs.config_hash import hash_config, hash_setting

Write = Callable[..., Path]
ABOUT = """title = "Mine"
[[sections]]
label = "All"
steps = ["step0_start", "step1_norm", "step2_mixup"]
"""
STEPS = {
    "step0_start": ("", "recipe: {mixup: 0.0}"),
    "step1_norm": ("/roadmap/mine/step0_start, override /model/norm: layernorm", ""),
    "step2_mixup": ("/roadmap/mine/step1_norm", "recipe: {mixup: 0.8}"),
}


@pytest.fixture
def write_roadmap(tmp_path: Path) -> Iterator[Write]:
    """Write the roadmap `mine` of three steps into a folder of the user's own, with changes, and search there."""

    def write(about: str = ABOUT, published: str | None = None, **changes: tuple[str, str]) -> Path:
        folder = tmp_path / "roadmap" / "mine"
        folder.mkdir(parents=True)
        (folder / "roadmap.toml").write_text(about)
        if published is not None:
            head = "regime,step,config,label,paper_top1,paper_top1_std,paper_gflops,gmacs,adopted"
            (folder / "published.csv").write_text(f"{head}\n{published}\n")
        for index, (name, (defaults, body)) in enumerate({**STEPS, **changes}.items()):
            entries = "".join(f"\n  - {entry}" for entry in [*filter(None, defaults.split(", ")), "_self_"])
            step = f"step: {{name: {name}, index: {index}, label: {name}, roadmap: mine}}"
            (folder / f"{name}.yaml").write_text(f"# @package _global_\ndefaults:{entries}\n{step}\n{body}\n")
        return folder

    with use(SearchPath((str(tmp_path),))):
        yield write


def test_the_default_roadmap_has_thirteen_steps_of_one_choice_each() -> None:
    roadmap = load_roadmap()
    assert (len(roadmap.steps), len(roadmap.axes)) == (13, 12)
    assert [choice.axes for choice in roadmap.choices] == [(axis,) for axis in roadmap.axes]
    assert list_roadmaps() == ["convnext", "bag_of_tricks", "convnextv2", "training_techniques"]


@pytest.mark.system  # builds all combinations of a roadmap: 11 s
@pytest.mark.parametrize("name", list_roadmaps())
def test_the_names_of_a_roadmaps_networks_build_them(name: str) -> None:
    """Each run of a leave-one-out sweep has the name, the design and the comparable settings that it claims."""
    roadmap = load_roadmap(name)
    sweep = read_sweep(["+sweep=leave_one_out", f"sweep.roadmap={name}"], is_sweep=True)
    assert sweep is not None
    runs = plan_runs(sweep.overrides(sweep.spec.names()), is_sweep=True)
    designs = {roadmap.name_of(roadmap.design_of(network)) for network in leave_one_out(roadmap)}
    assert {run.name for run in runs} == designs
    assert len({hash_config(asdict(run.config)) for run in runs}) == len(roadmap.axes) + 1
    assert len({hash_setting(asdict(run.config)) for run in runs}) == 1
    for run in runs:
        design = roadmap.design_named(run.config.step.name, run.variant)
        assert design is not None
        assert roadmap.network_of(design) in leave_one_out(roadmap)


def test_training_techniques_go_from_the_original_recipe_to_the_papers() -> None:
    def recipe(word: str) -> dict[str, object]:
        (run,) = plan_runs(["setting=paper", word], is_sweep=False)
        return asdict(run.config.recipe) | {"name": None}

    first, *_, last = load_roadmap("training_techniques").steps
    assert recipe(f"+roadmap=training_techniques/{first}") == recipe("+roadmap=original")
    assert recipe(f"+roadmap=training_techniques/{last}") == recipe("+roadmap=step0_resnet")


def test_a_roadmap_can_continue_another() -> None:
    roadmap = load_roadmap("convnextv2")
    assert roadmap.steps == (*load_roadmap().steps, "step13_grn")
    assert roadmap.override("step12_downsample") == "step12_downsample"
    assert roadmap.override("step13_grn") == "convnextv2/step13_grn"
    assert find_roadmap(load_roadmap().steps).name == "convnext"
    assert find_roadmap(roadmap.steps).name == "convnextv2"


@pytest.mark.parametrize("name", ["bag_of_tricks", "training_techniques"])
def test_the_page_has_the_published_values(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs/roadmaps.md").read_text()
    cells = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `step")]
    shown = {line[0].strip("`"): line[1] for line in cells}
    for row in load_roadmap(name).published:
        assert shown[row.config] == f"{row.top1:.2f}"


def test_a_roadmap_of_the_users_own_is_planned_and_named(write_roadmap: Write) -> None:
    write_roadmap(published="micro,0,step0_start,start,70.0,,1.0,,yes")
    roadmap = load_roadmap("mine")
    assert (roadmap.axes, roadmap.setting_axes) == (("norm", "recipe.mixup"), ("recipe.mixup",))
    (run,) = plan_runs(["+roadmap='mine/step2_mixup,recipe.mixup=0.2'"], is_sweep=False)
    config: Config = run.config
    assert (run.name, config.recipe.mixup) == ("step2_mixup,recipe.mixup=0.2", 0.2)
    assert (config.model.norm, config.step.varies) == ("layernorm", ("recipe.mixup",))
    assert roadmap.find_published("micro", "step0_start", {}) is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"step2_mixup": ("/roadmap/mine/step0_start", "recipe: {mixup: 0.8}")},
            "begin its defaults with .*step1_norm",
        ),
        ({"step2_mixup": ("/roadmap/mine/step1_norm", "")}, "step2_mixup.yaml changes nothing"),
        (
            {"step2_mixup": ("/roadmap/mine/step1_norm, override /model/norm: batchnorm", "")},  # back to step 0's
            "step2_mixup.yaml changes norm, as step1_norm.yaml does",
        ),
        (
            {"step2_mixup": ("/roadmap/mine/step1_norm, override /model/norm: groupnorm", "")},
            "step2_mixup.yaml changes norm, as step1_norm.yaml does",
        ),
        ({"step2_mixup": ("/roadmap/mine/step1_norm", "recipe: {cutmix: 1.0}")}, "write it into the first step"),
        ({"step2_mixup": ("/roadmap/mine/step1_norm", "recipe: {scale: [0.1, 1]}")}, "changes plain values"),
        ({"step2_mixup": ("/roadmap/mine/step1_norm", "a: b: c")}, "line 6: a value with a colon is quoted"),
        (
            {"step0_start": ("/roadmap/mine/step2_mixup", "recipe: {mixup: 0.0}")},
            "start.yaml: these .*: step0_start.yaml -> step2_mixup.yaml -> step1_norm.yaml -> step0_start.yaml",
        ),
        ({"step0_start": ("/roadmap/mine/step", "")}, "step0_start.yaml is based on roadmap/mine/step, which does"),
        ({"published": "micro,3,step3_more,more,70.0,,1.0,,yes"}, "line 2: step3_more is no step.*step0_start"),
        (
            {"published": "micro,0,step0_start,start,good,,1.0,,yes"},
            "line 2: paper_top1=good: must be a number from 0",
        ),
        ({"published": "micro,0,step0_start,start,nan,,1.0,,yes"}, "line 2: paper_top1=nan: .* from 0 to 100"),
        ({"published": "micro,0,step0_start,start,712,,1.0,,yes"}, "line 2: paper_top1=712: .* from 0 to 100"),
        ({"published": "micro,0,step0_start,start,,,1.0,,yes"}, "line 2: paper_top1 is empty"),
        ({"published": "micro,0,step0_start,start,70,-1,1.0,,yes"}, "line 2: paper_top1_std=-1: .* from 0 to 100"),
        ({"published": "micro,0,step0_start,start,70,,inf,,yes"}, "line 2: paper_gflops=inf: .* of at least 0"),
        ({"published": "\nmicro,0,step0_start,start,70,,1,a,yes"}, "line 3: gmacs=a: must be a number"),
        (
            {"published": "micro,2,step0_start,start,70,,1,,yes"},
            "line 2: step=2: the place of step0_start: must be 0",
        ),
        ({"published": "micro,0,step0_start,start,70,,1,,maybe"}, "line 2: adopted=maybe: must be yes or no"),
        ({"published": ",0,step0_start,start,70,,1,,yes"}, "line 2: regime is empty"),
        (
            {"published": "micro,0,step0_start + norm,start,70,,1,,no"},
            r"line 2: config=.* written STEP \+ AXIS=VALUE",
        ),
        ({"published": "micro,0,step0_start,start,70,,1"}, "line 2: must have 9 values"),
        ({"published": "micro,0,step0_start,a,70,,1,,yes\n" * 2}, "line 3: micro and step0_start are in line 2"),
        ({"about": ABOUT.replace("step2_mixup", "step2_mix")}, "lists step2_mix, and there is no step2_mix.yaml"),
        ({"about": ABOUT.replace("step1_norm", "step0_start")}, "step0_start is in two sections"),
        ({"about": ABOUT.replace('["step0_start", "step1_norm", "step2_mixup"]', "[]")}, "no section has a step"),
        ({"about": ABOUT + "colour = 'red'\n"}, "no key sections.colour. Did you mean sections.color?"),
        ({"about": "references = ['swin']\n" + ABOUT}, r"references must be a table: write \[references\]"),
        (
            {"about": ABOUT + "color = '#12'\n"},
            'sections.color of All="#12": must be of the form "#7c80b8", or a name',
        ),
        ({"about": ABOUT + "color = 'tab:blue'\n"}, 'sections.color of All="tab:blue": must be of the form'),
        (
            {"about": ABOUT + "[figures]\n3 = ['step']\n"},
            "figures.3=step: there is no step. .*Allowed: step0_start",
        ),
        ({"about": ABOUT + "[figures]\n3 = 'step0_start'\n"}, "figures.3=step0_start: must be a list"),
        ({"about": ABOUT + "[tables]\nmicro = [1]\n"}, r"tables.micro=\[1\]: must be a string"),
        ({"about": 'title = "Mine"'}, r"no \[\[sections\]\] yet"),
        ({"about": "title ="}, "roadmap.toml: "),
    ],
)
def test_a_mistake_is_one_line_with_the_way_out(
    changes: dict[str, str | tuple[str, str]], message: str, write_roadmap: Write
) -> None:
    write_roadmap(**changes)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=message) as error:
        load_roadmap("mine")
    assert "\n" not in str(error.value)


def test_files_of_a_spreadsheet_and_unknown_costs_are_read(write_roadmap: Write) -> None:
    """Those of a spreadsheet begin with a byte order mark; a paper may not print a cost."""
    folder = write_roadmap(ABOUT + "color = 'Teal'\n", published="micro,,step0_start,start,70.0,,,,yes")
    for name in ("published.csv", "roadmap.toml"):
        file = folder / name
        file.write_text(file.read_text(), encoding="utf-8-sig")
    (row,) = load_roadmap("mine").published
    assert (row.regime, row.top1, row.gflops, row.step) == ("micro", 70.0, None, None)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "step1_norm",
            ", label: step1_norm",
            "",
            r"step1_norm\.yaml has no step\.label: write step: {name: step1_norm,",
        ),
        (
            "step1_norm",
            "name: step1_norm, ",
            "",
            r"step1_norm\.yaml has no step\.name",
        ),  # the base's would be its own
        ("step1_norm", "index: 1, ", "", r"step1_norm\.yaml has no step\.index"),
        ("step1_norm", "name: step1_norm", "name: step0_start", r"step\.name=step0_start: must be .* step1_norm"),
        ("step0_start", ", roadmap: mine", "", r"step\.roadmap=convnext, and .*: write roadmap: mine below step"),
        ("step2_mixup", "roadmap: mine", "roadmap: convnextv2", r"step2_mixup\.yaml: step\.roadmap=convnextv2"),
    ],
)
def test_a_step_has_names_of_its_own(write_roadmap: Write, file: str, old: str, new: str, message: str) -> None:
    path = write_roadmap() / f"{file}.yaml"
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_roadmap("mine")
    with pytest.raises(ConfigError, match=message):
        plan_runs([f"+roadmap=mine/{file}"], is_sweep=False)


def test_a_roadmap_has_the_name_of_its_folder(write_roadmap: Write) -> None:
    write_roadmap('name = "other"\n' + ABOUT)
    with pytest.raises(ConfigError, match=r"roadmap\.toml: name=other: must be the folder's name, mine"):
        load_roadmap("mine")


def test_an_index_that_contradicts_the_list_is_refused(write_roadmap: Write) -> None:
    file = write_roadmap() / "step1_norm.yaml"
    file.write_text(file.read_text().replace("index: 1", "index: 2"))
    with pytest.raises(
        ConfigError, match=r"step1_norm\.yaml: step\.index=2, .*roadmap\.toml lists it as step 1: write"
    ):
        load_roadmap("mine")


def test_a_base_without_its_folder_is_refused(write_roadmap: Write) -> None:
    """Hydra looks for it among the steps of the default roadmap."""
    write_roadmap(step1_norm=("step0_start, override /model/norm: layernorm", ""))
    with pytest.raises(ConfigError, match="begin its defaults with /roadmap/mine/step0_start"):
        load_roadmap("mine")


def test_an_unknown_roadmap_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"no roadmap bag_of_trick\. Did you mean bag_of_tricks\? Allowed: convnext"
    ):
        load_roadmap("bag_of_trick")
