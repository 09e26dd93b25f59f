"""A broken config of a user's own is answered in one line: the file, the line, and what to write there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from roadmap.config import CONF_DIR, SearchPath, compose, plan_runs, use
from roadmap.config.step_files import read_step_file
from roadmap.config.yaml_errors import load_yaml
from roadmap.errors import ConfigError

HEAD = "# @package _global_\ndefaults:\n  - step12_downsample\n"
NAME = "step:\n  name: mine\n"


@pytest.mark.parametrize(
    ("content", "line", "part"),
    [
        (f"{HEAD}  - _self_\nstep:\n\tname: mine\n", 6, "a tab; indent with spaces"),
        (f"{HEAD}  - _self_\n{NAME}  name: other\n", 7, "name is there twice, first in line 6: keep one"),
        (
            f"{HEAD}{NAME}recipe: {{augment: [{{scale: 1, scale: 2}}]}}\n",
            6,
            "scale is there twice, first in line 6",
        ),
        (f"{HEAD}{NAME}  label: kernel: 9\n", 6, 'a value with a colon is quoted: label: "kernel: 9"'),
        ("", None, "is empty: it says what changes"),
        ("# only a comment\n", None, "is empty: it says what changes"),
        (f"{HEAD}{NAME}  label: gr\xfcn\n".encode("latin-1"), 6, "no UTF-8 (byte 0xFC): save the file as UTF-8"),
        (
            f"{HEAD}  - override /model/kernel_size: 9\n{NAME}",
            4,
            'a choice is a string, so this one is quoted: - override /model/kernel_size: "9"',
        ),
        (f'{HEAD}  - /model/kernel_size: "9"\n{NAME}', 4, 'which is replaced: - override /model/kernel_size: "9"'),
        (
            f'{HEAD}  - override model/kernel_size: "9"\n{NAME}',
            4,
            "roadmap/model/kernel_size is no group; from the top it is written /model/kernel_size",
        ),
        ("- step12_downsample\n", 1, "a list; a config is lines of KEY: VALUE"),
        ("step12_downsample\n", 1, "a single value; a config is lines of KEY: VALUE"),
        (
            "# @package _global_\ndefaults:\n  - step12_down\n" + NAME,
            3,
            "there is no roadmap/step12_down. Did you mean step12_downsample? Allowed: mine, original, ",
        ),
        ("# @package _global_\ndefaults: step12_downsample\n", 2, "each line of it begins with a dash"),
        (f"defaults:\n  - step12_downsample\n{NAME}", 1, "the file begins with # @package _global_"),
        (f"\ufeff{HEAD}{NAME}", 1, "a byte order mark hides # @package _global_: save the file as UTF-8 without"),
        (f"{HEAD}{NAME}  label: [1, 2\n", 6, "expected ',' or ']'"),
    ],
)
def test_a_broken_file(tmp_path: Path, content: str | bytes, line: int | None, part: str) -> None:
    file = tmp_path / "roadmap/mine.yaml"
    file.parent.mkdir()
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with use(SearchPath((str(tmp_path),))), pytest.raises(ConfigError) as caught:
        plan_runs(["+roadmap=mine"], is_sweep=False)
    message = str(caught.value)
    assert message.startswith(f"{file}, line {line}: " if line else f"{file} ")
    assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("plan", [lambda word: plan_runs([word], is_sweep=False), compose])
def test_files_that_name_each_other_are_named(tmp_path: Path, plan: Callable[[str], object]) -> None:
    (tmp_path / "recipe").mkdir()
    for name, base in {"a": "b", "b": "c", "c": "b"}.items():
        (tmp_path / f"recipe/{name}.yaml").write_text(f"defaults:\n  - {base}\n")
    with use(SearchPath((str(tmp_path),))), pytest.raises(ConfigError) as caught:
        plan("recipe=a")
    assert str(caught.value) == (
        f"{tmp_path}/recipe/c.yaml, line 2: these files name each other in their defaults: "
        "b.yaml -> c.yaml -> b.yaml: take one of them out"
    )


def test_a_step_reads_numbers_as_hydra_does(tmp_path: Path) -> None:
    """An exponent needs no decimal point; the same text with one is the same change."""
    for number in ("1e-3", "1.0e-3", "+1E-3"):
        step = "step: {name: mine, index: 13, label: mine}\n"
        (tmp_path / "mine.yaml").write_text(f"{step}recipe:\n  lr: {number}\n  name: 1e3x\n")
        assert read_step_file(tmp_path / "mine.yaml").changes == {"recipe.lr": "0.001", "recipe.name": "1e3x"}


def test_aliases_and_merged_keys_are_no_duplicates(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "step: &one {label: mine}\nfirst: {<<: *one, <<: {x: 1}}\nsecond: &a [*a]\n"
    )
    assert load_yaml(tmp_path / "mine.yaml")["first"] == {"label": "mine", "x": 1}


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("recipe/paper.yaml", "recipe=paper"),
        ("recipe/cifar10.yaml", "setting=cifar10"),  # which chooses the recipe
        ("data/digits.yaml", "seed=1"),  # the default
        ("roadmap/step3_depthwise.yaml", "+roadmap=step5_inverted"),  # a base
        ("roadmap/bag_of_tricks/roadmap.toml", "+roadmap=step5_inverted"),
        ("roadmap/mine/step0_start.yaml", "seed=1"),  # of another folder of the user's
    ],
)
def test_a_file_that_hides_behind_another_is_refused(tmp_path: Path, name: str, word: str) -> None:
    own, first = tmp_path / "own" / name, tmp_path / "first/roadmap/mine/step0_start.yaml"
    for file in (own, first):
        file.parent.mkdir(parents=True)
    first.write_text("seed: 1\n")
    with use(SearchPath((str(tmp_path / "first"), str(tmp_path / "own")))):
        own.write_text("seed: 2\n")
        with pytest.raises(
            ConfigError, match=rf"own/{name} is not read: .*/{name} has the same name .* first: ren"
        ):
            plan_runs([word], is_sweep=False)
        own.write_bytes((first if "mine" in name else CONF_DIR / name).read_bytes())  # a copy hides nothing
        plan_runs([word], is_sweep=False)
