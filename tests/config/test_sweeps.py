"""`+sweep=NAME` expands to the networks that it describes, each with the same name in every sweep."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from roadmap.config import PlannedRun, Sweep, plan_runs, read_sweep
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.roadmaps import NONE, Roadmap
from roadmap.config.search_path import SearchPath, use
from roadmap.config.sweep import GroupsSpec, Kind
from roadmap.config.sweep_networks import add_one_in, networks_along, networks_needed, sample_orders
from roadmap.errors import ConfigError
from roadmap.runs.config_hash import hash_config

CONVNEXT = load_roadmap()
AXES, CHOICES, STEPS = CONVNEXT.axes, CONVNEXT.choices, CONVNEXT.steps
ALL = CONVNEXT.all_choices
TECHNIQUES = "+sweep=roadmap sweep.roadmap=training_techniques"


def sweep_of(*overrides: str) -> Sweep:
    sweep = read_sweep(overrides, is_sweep=True)
    assert sweep is not None
    return sweep


def plan(*overrides: str) -> list[PlannedRun]:
    sweep = sweep_of(*overrides)
    return plan_runs(sweep.overrides(sweep.spec.names()), is_sweep=True)


@pytest.mark.system  # composes each network twice: 2 s
def test_the_name_of_a_network_builds_it() -> None:
    """As in the leave-one-out sweep of each roadmap, see test_roadmaps.py."""
    runs, networks = plan("+sweep=add_one_in"), add_one_in(CONVNEXT)
    assert len(runs) == len(networks) == 13
    for run, network in zip(runs, networks, strict=True):
        assert run.name == CONVNEXT.name_of(CONVNEXT.design_of(network))
        assert {axis: str(getattr(run.config.model, axis)) for axis in CONVNEXT.all_axes} == CONVNEXT.design_of(
            network
        )


def test_a_network_that_is_a_step_is_called_as_the_step() -> None:
    assert CONVNEXT.name_of(CONVNEXT.design_of(ALL - {"downsample"})) == "step11_layernorm"
    assert CONVNEXT.name_of(CONVNEXT.design_of(frozenset({"stage_ratio"}))) == "step1_stage_ratio"
    assert CONVNEXT.name_of(CONVNEXT.design_of(ALL - {"norm"})) == "step12_downsample,norm=batchnorm"
    assert CONVNEXT.name_of(CONVNEXT.design_of(ALL) | {"kernel_size": "9"}) == "step12_downsample,kernel_size=9"


def test_the_networks_take_the_place_of_the_sweep_and_settings_go() -> None:
    overrides = ("recipe.epochs=3", "+sweep=leave_one_out", "sweep.choices=norm,downsample", "seed=0,1")
    runs = plan(*overrides)
    assert [(run.name, run.config.seed) for run in runs] == [
        (name, seed)
        for name in ("step12_downsample", "step12_downsample,norm=batchnorm", "step11_layernorm")
        for seed in (0, 1)
    ]
    assert {run.config.recipe.epochs for run in runs} == {3}
    assert read_sweep(["+roadmap=step0_resnet", "seed=0,1"], is_sweep=True) is None


def test_the_roadmap_is_every_step_in_its_order() -> None:
    """Followed by a user's own steps."""
    assert sweep_of("+sweep=roadmap").spec.names()[: len(STEPS)] == list(STEPS)


def test_the_kernel_ablation_is_the_papers() -> None:
    assert sweep_of("+sweep=kernel_size").spec.names() == [
        "step6_move_up",  # which has kernel 3
        *("step7_kernel,kernel_size=5", "step7_kernel", "step7_kernel,kernel_size=9"),
        "step7_kernel,kernel_size=11",
    ]


@pytest.mark.system  # composes eight networks: 3 s
def test_a_factorial_is_hydras_product_of_all_choices() -> None:
    runs = plan("+sweep=factorial", "sweep.axes=[activation,norm]", "sweep.step=step11_layernorm")
    overrides = ["model/activation=relu,gelu", "model/norm=batchnorm,layernorm"]
    typed = plan_runs(["+roadmap=step11_layernorm", *overrides], is_sweep=True)
    assert [hash_config(asdict(run.config)) for run in runs] == [hash_config(asdict(run.config)) for run in typed]
    assert len({run.name for run in runs}) == 4
    assert len(sweep_of("+sweep=factorial", "sweep.axes=kernel_size,norm").spec.names()) == 10


@pytest.mark.system  # composes 16 networks: 4 s
def test_groups_share_their_networks_with_the_roadmap() -> None:
    names = sweep_of("+sweep=groups").spec.names()
    assert len(set(names)) == 16
    assert {name for name in names if "," not in name} == {STEPS[step] for step in (0, 2, 4, 7, 12)}
    assert len({run.name for run in plan("+sweep=groups")}) == 16


def test_a_sweep_of_groups_names_the_choices_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    *sections, micro = CONVNEXT.sections
    partly = replace(CONVNEXT, sections=(*sections, replace(micro, group=None)))
    monkeypatch.setattr("roadmap.config.sweep.load_roadmap", lambda _: partly)
    spec = GroupsSpec(kind=Kind.groups)
    without = "activation, activation_count, norm_count, norm, downsample"
    said = f"every combination of 3 groups of choices: macro, depthwise, block; without {without}, in no group"
    assert spec.describe() == said
    assert len({*spec.names()}) == 8


def test_the_first_choice_of_an_axis_is_resnets() -> None:
    assert CONVNEXT.levels_of("kernel_size") == ["3", "5", "7", "9", "11"]
    assert [CONVNEXT.levels_of(choice.axis)[0] for choice in CHOICES] == [choice.start for choice in CHOICES]


def test_orders_share_their_networks() -> None:
    orders = sample_orders(4, 0, AXES)
    needed = networks_needed(orders, AXES)
    assert sample_orders(5, 0, AXES)[:8] == orders
    assert sample_orders(4, 1, AXES) != orders
    # as stated in conf/sweep/shapley.yaml; 8 * 13 including shared ones
    assert len(needed) == len(set(needed)) == 82
    assert set(needed) == {network for order in orders for network in networks_along(order)}
    assert (needed[0], needed[-1]) == (NONE, ALL)
    names = sweep_of("+sweep=shapley").spec.names()
    assert names == [CONVNEXT.name_of(CONVNEXT.design_of(network)) for network in needed]
    assert len(set(names)) == len(names)
    assert set(names) <= set(sweep_of("+sweep=shapley", "sweep.pairs=5").spec.names())


@pytest.fixture
def scaled(tmp_path: Path) -> Iterator[Roadmap]:
    """A roadmap with two own steps, the first of which sets a key of the model that no step before it sets."""
    (tmp_path / "roadmap").mkdir()
    steps = {"step13_scale": "step12_downsample", "step14_grn": "step13_scale, override /model/response_norm: grn"}
    for index, (name, defaults) in enumerate(steps.items(), 13):
        own = "model: {layer_scale_init: 0.25}" if index == 13 else ""
        (tmp_path / f"roadmap/{name}.yaml").write_text(
            f"# @package _global_\ndefaults: [{defaults}, _self_]\n"
            f"step: {{name: {name}, index: {index}, label: own}}\n{own}\n"
        )
    with use(SearchPath((str(tmp_path),))):
        yield load_roadmap("step14_grn")


def test_without_a_value_that_a_step_sets_a_network_has_the_recipes(scaled: Roadmap) -> None:
    """It is named by a step before that one, since no override gives a key its inherited value."""
    source = "sweep.roadmap=step14_grn"
    runs = plan(
        "+sweep=leave_one_out", "sweep.choices=norm,layer_scale_init", source, "recipe.layer_scale_init=0.5"
    )
    assert {run.name: run.config.model.layer_scale_init for run in runs} == {
        "step14_grn": 0.25,
        "step14_grn,norm=batchnorm": 0.25,
        "step12_downsample,response_norm=grn": 0.5,
    }
    design = scaled.design_named("step12_downsample", {"response_norm": "grn"})
    assert design is not None
    assert scaled.network_of(design) == scaled.all_choices - {"layer_scale_init"}
    assert sweep_of("+sweep=factorial", "sweep.axes=layer_scale_init,norm", source).spec.names() == [
        "step12_downsample,norm=batchnorm,response_norm=grn",
        "step12_downsample,response_norm=grn",
        "step14_grn,norm=batchnorm",
        "step14_grn",
    ]


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (
            "+sweep=leave_one_ot",
            ["Did you mean leave_one_out? Allowed: add_one_in, factorial, groups, kernel_size, "],
        ),
        ("+sweep=", ["sweep=: there is no such choice. Allowed: add_one_in, "]),
        ("+sweep=shapley,roadmap", ["one sweep a command"]),
        ("+sweep=shapley +sweep=roadmap", ["one sweep a command"]),
        ("+sweep=shapley sweep.pears=3", ["sweep.pairs? Allowed in sweep: kind, roadmap, pairs, order_seed"]),
        ("+sweep=shapley sweep.pairs=0", ["sweep.pairs=0: must be at least 1"]),
        ("+sweep=roadmap sweep.pairs=3", ["there is no key sweep.pairs. Allowed in sweep: kind"]),
        ("+sweep=factorial", ["no value yet for sweep.axes", "as in sweep.axes=kernel_size,activation"]),
        ("+sweep=factorial sweep.axes=nrm", ["sweep.axes=nrm", "Did you mean norm? Allowed: stage_ratio, "]),
        ("+sweep=factorial sweep.axes=norm,norm", ["sweep.axes=norm,norm: must name", "each once"]),
        ("+sweep=factorial sweep.axes=norm sweep.step=step13", ["sweep.step=step13", "Allowed: step0_resnet, "]),
        (
            "+sweep=leave_one_out sweep.choices=norm sweep.choices=stem",
            ["sweep.choices=norm sweep.choices=stem: sweep.choices is given twice", "as in sweep.choices=ONE,TWO"],
        ),
        ("+sweep=leave_one_out sweep.choices=[]", ["sweep.choices=: must name at least one axis"]),
        ("+sweep=shapley +roadmap=step0_resnet", ["+roadmap=step0_resnet: +sweep=shapley chooses the networks"]),
        ("+sweep=shapley model/norm=batchnorm", ["model/norm=batchnorm: +sweep=shapley chooses the networks"]),
        ("+sweep=shapley model.kernel_size=13", ["model.kernel_size=13: +sweep=shapley chooses the networks"]),
        ("+sweep=shapley ++model.norm=layernorm", ["++model.norm=layernorm: +sweep=shapley chooses the networks"]),
        ("+sweep=shapley model={norm:layernorm}", ["model={norm:layernorm}: +sweep=shapley chooses the networks"]),
        (f"{TECHNIQUES} ++recipe.mixup=0.1", ["++recipe.mixup=0.1: +sweep=roadmap chooses the networks"]),
        (f"{TECHNIQUES} ~recipe.mixup", ["~recipe.mixup: +sweep=roadmap chooses the networks"]),
        (f"{TECHNIQUES} recipe.augment={{erasing:0.1}}", ["recipe.augment={erasing:0.1}: +sweep=roadmap chooses"]),
        (f"{TECHNIQUES} recipe.augment={{erasing:0}},{{erasing:1}}", ["+sweep=roadmap chooses the networks"]),
        (f"{TECHNIQUES} ++recipe.augment=null", ["++recipe.augment=null: +sweep=roadmap chooses the networks"]),
    ],
)
def test_a_mistake_is_answered_with_what_is_allowed(overrides: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_sweep(overrides.split(), is_sweep=True)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "word",
    ["recipe.augment={scale:[1,1]}", "++recipe.decays=3", "model={form:conv}", "recipe=original", "seed=0,1"],
)
def test_a_sweep_takes_what_its_steps_do_not_change(word: str) -> None:
    sweep = read_sweep([*TECHNIQUES.split(), word], is_sweep=True)
    assert sweep is not None
    assert word in sweep.others


def test_a_sweep_takes_the_flag() -> None:
    with pytest.raises(ConfigError, match=r"\+sweep=add_one_in is 13 networks; runs over all of them take -m"):
        read_sweep(["+sweep=add_one_in", "seed=0"], is_sweep=False)


@pytest.mark.parametrize("overrides", ["sweep=shapley", "+roadmap='step12_downsampl,norm=batchnorm'"])
def test_a_word_that_is_no_sweep_is_answered_as_others_are(overrides: str) -> None:
    with pytest.raises(ConfigError, match=r"takes a plus, as in \+sweep=NAME|Did you mean step12_downsample\?"):
        plan_runs([overrides], is_sweep=True)
