"""`compose` accepts what users type, from Python and inside a running Hydra job."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from roadmap.config import CONF_DIR, Config, compose, prepare_overrides
from roadmap.config.copies import copier
from roadmap.config.file_source import FileConfigSource

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
