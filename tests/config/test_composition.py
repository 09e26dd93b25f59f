"""`compose` accepts what users type, from Python and inside a running Hydra job."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from roadmap.config import CONF_DIR, Config, SearchPath, compose, plan_runs, prepare_overrides
from roadmap.config.copies import copier
from roadmap.config.file_source import FileConfigSource
from roadmap.config.keywords import to_words, use_words
from roadmap.config.search_path import current
from roadmap.data.custom_sources import SOURCES
from roadmap.errors import ConfigError

Read = Callable[..., Config]


@pytest.mark.parametrize(
    ("typed", "prepared"),
    [
        ("model/kernel_size=9", "model/kernel_size='9'"),
        ("model/kernel_size=3, 11", "model/kernel_size='3','11'"),
        ("model/kernel_size='9'", "model/kernel_size='9'"),
        ("model.kernel_size=9", "model.kernel_size=9"),
        ("seed=0,1,2", "seed=0,1,2"),
        ("+roadmap=glob(step*)", "+roadmap=glob(step*)"),
        ("recipe.lr=1e-3", "recipe.lr=1e-3"),
    ],
)
def test_a_number_that_is_a_choice_is_quoted(typed: str, prepared: str) -> None:
    assert prepare_overrides([typed]) == [prepared]
    assert prepare_overrides([prepared]) == [prepared]


@pytest.mark.parametrize("name", ["resnet34", "convnext_tiny.fb_in1k"])
def test_any_timm_model_is_a_reference(read: Read, name: str) -> None:
    config = read(f"+reference={name}")
    assert (config.reference, config.step.name, config.step.label, config.step.index) == (name, name, name, None)


def test_compose_works_inside_a_job_of_hydras_and_leaves_it_as_it_was() -> None:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        outer = GlobalHydra.instance().hydra
        assert compose("+roadmap=step5_inverted").step.name == "step5_inverted"
        with pytest.raises(Exception, match="step55"):
            compose("+roadmap=step55")
        assert GlobalHydra.instance().hydra is outer
        assert hydra_compose("config", ["seed=3"]).seed == 3
    assert not GlobalHydra.instance().is_initialized()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A user's folder with a module that registers a data set, and with a group of its own; removed afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "stripes_of_a_test.py").write_text(
        "from roadmap.extend import register_dataset\n"
        "register_dataset('stripes', lambda data: None, num_classes=4, image_size=16)\n"
    )
    (tmp_path / "recipe/extra").mkdir(parents=True)
    (tmp_path / "recipe/extra/long.yaml").write_text("# @package recipe\nepochs: 77\n")
    yield "stripes_of_a_test"
    sys.modules.pop("stripes_of_a_test", None)
    SOURCES.clear()


def test_a_module_and_a_folder_of_the_users_own_are_used_for_one_composition(tmp_path: Path, module: str) -> None:
    own = {"modules": [module], "hydra": {"searchpath": [f"file://{tmp_path}"]}}
    cfg = compose(data="stripes", **own)
    assert (cfg.data.num_classes, cfg.modules) == (4, [module])
    words = ["data=stripes", f"modules=[{module}]", f"hydra.searchpath=[file://{tmp_path}]"]
    assert compose(*words) == cfg
    assert current() == SearchPath()
    with pytest.raises(ConfigError, match="modules: nowhere can't be imported"):
        compose(modules=["nowhere"])
    with pytest.raises(ConfigError, match=r"modules=nowhere: must be a list of modules"):
        compose(modules="nowhere")


def test_keywords_name_the_groups_of_the_users_folder(tmp_path: Path, module: str) -> None:
    own = {"modules": [module], "hydra": {"searchpath": [f"file://{tmp_path}"]}}
    with use_words([], {"recipe": {"extra": "long"}, "seed": [0, 1], **own}, is_sweep=True) as words:
        assert words == [
            "recipe/extra=long",
            "seed=0,1",
            f"modules=[{module}]",
            f"hydra.searchpath=['file://{tmp_path}']",
        ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"roadmap": ["step0_resnet", "step1_stage_ratio"]},
            "-m +roadmap=step0_resnet,step1_stage_ratio, in Python",
        ),
        ({"model": {"kernel_size": ["7", "9"]}}, "-m model/kernel_size='7','9', in Python roadmap.sweep"),
        ({"data": ["digits", "cifar10"]}, "data=[digits,cifar10]: a run has one choice of data"),
        ({"sweep": "leave_one_out"}, "+sweep=leave_one_out: compose returns one run's configuration"),
    ],
)
def test_several_choices_for_one_run_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(**values)
    assert message in str(caught.value)
    if "sweep" not in values:
        with pytest.raises(ConfigError) as caught:
            plan_runs(to_words([], values), is_sweep=False)
        assert message in str(caught.value)


def test_a_group_of_the_users_own_may_join_several_configs(tmp_path: Path, module: str) -> None:
    (tmp_path / "recipe/extra/wide.yaml").write_text("# @package recipe\nlr: 0.5\n")
    cfg = compose("+recipe/extra=[long,wide]", f"hydra.searchpath=[file://{tmp_path}]")
    assert (cfg.recipe.epochs, cfg.recipe.lr) == (77, 0.5)


def test_composing_needs_no_large_library_and_no_checkout(tmp_path: Path) -> None:
    program = (
        "import sys, roadmap\n"
        "roadmap.list_axes()\n"
        "cfg = roadmap.compose('+roadmap=step12_downsample', 'setting=paper')\n"
        "large = {'torch', 'timm', 'torchvision', 'pandas', 'matplotlib'}\n"
        "print(cfg.model.downsample, sorted(large & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["separate", "[]"]
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    for content in ("a: 1\n", "a: 22\n"):
        file.write_text(content)
        source = FileConfigSource("test", str(tmp_path))
        first, second = source.load_config("some"), source.load_config("some")
        assert first.config == second.config == OmegaConf.create(content)
        first.config.a = 3  # of a copy
        assert source.load_config("some").config == second.config


def test_a_value_that_pickle_refuses_is_copied_too() -> None:
    class Twice:
        """Of no module, like a class that was loaded a second time."""

    value = [Twice()]
    copies = copier(value)
    value.clear()
    (copied,), (other,) = copies(), copies()
    assert isinstance(copied, Twice)
    assert copied is not other


def test_files_that_are_edited_between_two_calls_are_read_again(tmp_path: Path) -> None:
    """As in a notebook: recipes, steps, and what is made of them."""
    path = f"hydra.searchpath=[file://{tmp_path}/own]"

    def write(name: str, text: str) -> None:
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(text)

    def plan(*words: str) -> tuple[float, dict[str, str]]:
        with use_words([path, *words], {}) as found:
            (run,) = plan_runs(found, is_sweep=False)
        return run.config.recipe.lr, run.variant

    with pytest.raises(ConfigError, match=r"there is no .*/own; a folder is written"):
        compose(path)
    step = "# @package _global_\ndefaults: [/roadmap/step12_downsample, override /model/norm: {}, _self_]\n"
    step += "step: {{name: mine, index: null, label: mine}}\n"
    for lr, norm, variant in ((0.5, "batchnorm", {}), (1e-6, "layernorm", {"norm": "batchnorm"})):
        write("recipe/mine.yaml", f"defaults: [short, _self_]\nname: mine\nlr: {lr}\n")
        write("roadmap/mine.yaml", step.format(norm))
        assert compose(path, "recipe=mine").recipe.lr == lr
        assert plan("+roadmap=mine", "recipe=mine", "model/norm=batchnorm") == (lr, variant)


def test_a_composition_is_repeated_only_if_a_file_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed: list[object] = []

    def count(cfg: Any) -> Any:
        composed.append(cfg)
        return copier(cfg)

    monkeypatch.setattr(sys.modules[compose.__module__], "copier", count)
    recipe = tmp_path / "recipe/mine.yaml"
    recipe.parent.mkdir()
    counts = []
    for base in ("short", "short", "paper"):
        if not recipe.exists() or base not in recipe.read_text():
            recipe.write_text(f"defaults: [{base}, _self_]\nname: mine\n")
        compose(f"hydra.searchpath=[file://{tmp_path}]", "recipe=mine")
        counts.append(len(composed))
    assert counts == [1, 1, 2]
