"""The commands of an experiment are the fewest that train exactly its runs."""

from collections.abc import Sequence

from roadmap.analysis.report.commands import Setup, training_commands
from roadmap.analysis.results import Row
from roadmap.config.steps import design_of, leave_one_out, name_of


def commands(*runs: tuple[str, Sequence[str], tuple[int, ...]]) -> list[str]:
    """Return the commands of rows by step, other overrides and seeds."""
    rows = [Row(step, None, step, {}, None, "x", "micro", "digits", "short", seeds) for step, _, seeds in runs]
    setups = [Setup(f"+roadmap={step}", tuple(words), {"seed": "0"}, None) for step, words, _ in runs]
    return training_commands(rows, setups)


def test_steps_and_values_of_a_design_share_a_command() -> None:
    assert commands(
        ("step6", ["data=digits"], (0, 1)),
        ("step7", ["data=digits"], (0, 1)),
        ("step7", ["model/kernel_size=9", "data=digits"], (0, 1)),
        ("step7", ["model/kernel_size=11", "data=digits"], (0, 1)),
        ("step7", ["model/norm=layernorm", "data=digits"], (0, 1)),
    ) == [
        "python train.py -m +roadmap=step6,step7 data=digits seed=0,1",
        "python train.py -m +roadmap=step7 model/kernel_size=9,11 data=digits seed=0,1",
        "python train.py -m +roadmap=step7 model/norm=layernorm data=digits seed=0,1",
    ]


def test_what_differs_in_seeds_or_settings_has_a_command_of_its_own() -> None:
    assert commands(
        ("step6", ["recipe.lr=0.1"], (0,)),
        ("step6", ["recipe.lr=0.2"], (0,)),
        ("step6", ["recipe.lr=0.2"], (0, 1)),
        ("step7", ["recipe.augment.scale=[0.5,1]"], (0,)),
        ("step8", [], ()),
    ) == [
        "python train.py +roadmap=step6 recipe.lr=0.1 seed=0",
        "python train.py +roadmap=step6 recipe.lr=0.2 seed=0",
        "python train.py -m +roadmap=step6 recipe.lr=0.2 seed=0,1",
        "python train.py +roadmap=step7 'recipe.augment.scale=[0.5,1]' seed=0",
    ]


def test_a_sweep_that_ran_whole_is_one_command() -> None:
    """Its first and last step have more seeds, from another command."""
    networks = [design_of(network) for network in leave_one_out()]
    seeds = {name_of(design): (0, 1, 2) if design == networks[0] else (0, 1) for design in networks}
    seeds["step11_layernorm"] = (0, 1, 2)

    def train(names: Sequence[str]) -> list[str]:
        rows, setups = [], []
        for name in names:
            step, *variant = name.split(",")
            values = dict(word.split("=") for word in variant)
            rows.append(Row(step, 12, step, values, None, "x", "micro", "digits", "short", seeds[name]))
            words = (*(f"model/{word}" for word in variant), "data=digits")
            setups.append(Setup(f"+roadmap={step}", words, {"seed": "0"}, None))
        return training_commands(rows, setups)

    assert train(list(seeds)) == [
        "python train.py -m +roadmap=step12_downsample,step11_layernorm data=digits seed=0,1,2",
        "python train.py -m +sweep=leave_one_out data=digits seed=0,1",
    ]
    del seeds["step12_downsample,stem=resnet"]
    assert not any("+sweep" in command for command in train(list(seeds)))
    assert len(train(list(seeds))) == 1 + 10


def test_a_grid_is_not_made_of_runs_that_do_not_fill_it() -> None:
    """Three of four combinations: a merged command would train the fourth."""
    assert commands(
        ("step6", ["model/kernel_size=3"], (0,)),
        ("step6", ["model/kernel_size=5"], (0,)),
        ("step7", ["model/kernel_size=3"], (0,)),
    ) == [
        "python train.py -m +roadmap=step6 model/kernel_size=3,5 seed=0",
        "python train.py +roadmap=step7 model/kernel_size=3 seed=0",
    ]
