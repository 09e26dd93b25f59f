"""What a run left of its configuration gives the words that compose it again, by the hash that tells its result."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from omegaconf import DictConfig

from roadmap.config import compose, read_config
from roadmap.config.replay import Words, compose_again, find_words
from roadmap.config.variant import find_variant
from roadmap.runs.identity import hash_config

FOLDER = ("data=imagefolder", "data.root=/images", "data.num_classes=3")


def replay(*words: str) -> tuple[Words, bool]:
    """The words of the run that `words` train, and whether they compose the same."""
    cfg = compose(*words)
    values = read_plain(cfg)
    found = find_words(values, find_variant(cfg))
    again = read_plain(compose(*filter(None, [found.choice]), *found.variant, *found.setting))
    return found, hash_config(again | {"seed": values["seed"]}) == hash_config(values)


def read_plain(cfg: DictConfig) -> dict[str, Any]:
    """The values of the config.yaml that a run leaves."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(read_config(cfg))))
    return values


def test_what_a_group_leaves_open_is_told() -> None:
    words, is_same = replay("+roadmap=step5_inverted", *FOLDER)
    assert is_same
    assert words.setting == (
        "regime=micro",
        "data=imagefolder",
        "recipe=short",
        "data.root=/images",
        "data.num_classes=3",
    )


def test_what_follows_another_value_is_told_where_it_does_not() -> None:
    words, is_same = replay("regime.drop_path=0.3")
    assert is_same
    assert words.setting[3:] == ("regime.drop_path=0.3",)
    words, is_same = replay("regime.drop_path=0.3", "recipe.drop_path=0.0")
    assert is_same
    assert words.setting[3:] == ("regime.drop_path=0.3", "recipe.drop_path=0")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((*FOLDER, "data.name=flowers"), ("data=imagefolder", "data.name=flowers")),
        (("data=imagenet", "data.name=mine", "data.image_size=64"), ("data=imagenet", "data.image_size=64")),
        (("data=cifar100", "data.name=coarse", "data.num_classes=20"), ("data=cifar100", "data.num_classes=20")),
        (("recipe=paper", "recipe.name=mine", "recipe.lr=1e-3"), ("recipe=paper", "recipe.name=mine")),
        (("regime=resnet50", "regime.name=slim", "regime.width.modern=48"), ("regime=resnet50",)),
    ],
)
def test_a_name_of_ones_own_is_told_beside_the_choice_that_is_nearest(
    words: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    found, is_same = replay(*words)
    assert is_same
    assert set(expected) < set(found.setting)


@pytest.mark.parametrize("named", ["null", "None"])  # the latter as older runs are named
def test_no_layer_scale_is_a_variant_that_can_be_typed(named: str) -> None:
    cfg = compose("+roadmap=step12_downsample", "recipe=paper", "model.layer_scale_init=null")
    assert find_variant(cfg) == {"layer_scale_init": "null"}
    words = find_words(read_plain(cfg), {"layer_scale_init": named})
    assert words.variant == ("model.layer_scale_init=null",)
    again = compose_again(
        "step12_downsample", None, {"layer_scale_init": named}, ("micro", "digits", "paper"), {}, ()
    )
    assert read_config(again) == read_config(cfg)
