"""Comparison of experiments: their differences, the order, and the message if they are not comparable."""

from dataclasses import replace
from pathlib import Path

import pytest
from trial_rows import RUN

from roadmap.analysis.comparison import (
    SETTINGS,
    Candidate,
    along,
    join_candidates,
    make_candidate,
    make_table,
    read_candidates,
    to_markdown,
    write_candidates,
)
from roadmap.analysis.figures.hyperparameter import draw_setting
from roadmap.errors import RunError
from roadmap.runs.read_run import REQUIRED as RESULTS


def candidate(name: str, settings: dict[str, str], **top1: list[float]) -> Candidate:
    """Make an experiment of steps such as step0=[90.0, 91.0], one accuracy per seed, and of a failed run."""
    runs = [
        replace(
            RUN,
            experiment=name,
            step=f"{step}_x",
            step_index=int(step[4:]),
            seed=seed,
            **dict.fromkeys(RESULTS, value),
        )
        for step, values in top1.items()
        for seed, value in enumerate(values)
    ]
    return make_candidate(name, {"recipe.epochs": "3", **settings}, [*runs, replace(RUN, state="failed")])


@pytest.fixture
def three() -> list[Candidate]:
    return [
        candidate("slow", {"recipe.lr": "0.001", "recipe.init": "fan_in"}, step12=[70.0, 71.0], step0=[60.0, 60.0]),
        candidate("fast", {"recipe.lr": "0.01", "recipe.init": "fan_in"}, step0=[66.0], step12=[68.0]),
        candidate("wide", {"recipe.lr": "0.01", "recipe.init": "normal"}, step0=[50.0]),
    ]


def test_the_table_has_what_differs_and_the_best_mean_of_shared_steps_first(three: list[Candidate]) -> None:
    assert make_table(three[:2]) == [
        ["experiment", "recipe.lr", "step0", "step12", "mean"],
        ["fast", "0.01", "66.00", "68.00", "67.00"],
        ["slow", "0.001", "60.00 ± 0.00", "70.50 ± 0.71", "65.25"],
    ]
    heading, *lines = make_table(three)
    assert heading == ["experiment", "recipe.lr", "recipe.init", "step0", "step12", "mean"]
    assert [(line[0], line[4], line[-1]) for line in lines] == [
        ("fast", "68.00", "66.00"),  # the mean is only of step 0, which all ran
        ("slow", "70.50 ± 0.71", "60.00"),
        ("wide", "", "50.00"),
    ]
    assert to_markdown(make_table(three[:2])).splitlines()[2] == "| fast | 0.01 | 66.00 | 68.00 | 67.00 |"


def test_variants_have_columns_of_their_own_and_settings_that_runs_do_not_share_are_several() -> None:
    kernels = [
        replace(RUN, step="step7_kernel", step_index=7, variant={"kernel_size": size}, top1=float(size))
        for size in ("11", "9")
    ]
    one = make_candidate(
        "one", {"recipe.lr": "0.1"}, [*kernels, replace(RUN, step="step7_kernel", step_index=7, top1=7.0)]
    )
    mixed = replace(one, name="mixed", settings={"recipe.epochs": "3"}, runs=(kernels[0],))
    columns = ["step7", "step7 kernel_size=9", "step7 kernel_size=11"]
    assert make_table([one, mixed]) == [
        ["experiment", "recipe.lr", "recipe.epochs", *columns, "mean"],
        ["one", "0.1", "several", "7.00", "9.00", "11.00", "11.00"],
        ["mixed", "several", "3", "", "", "11.00", "11.00"],
    ]


def test_networks_that_differ_have_headings_that_differ() -> None:
    """A short one only for a step with an index that no other step has in the table, such as step8_gelu."""
    steps = {
        "step7_kernel": 7,
        "step8_gelu": 8,
        "step8_silu": 8,
        "swin_tiny": None,
        "swin_base": None,
        "my_base": None,
    }
    runs = [replace(RUN, step=step, step_index=index, top1=50.0) for step, index in steps.items()]
    variants = [replace(run, variant={"kernel_size": "9"}) for run in runs[:2]]
    heading, _ = make_table([make_candidate("one", {}, [*runs, *variants])])
    assert heading[1:-1] == [
        *("step7", "step7 kernel_size=9", "step8_gelu", "step8_gelu kernel_size=9", "step8_silu"),
        *("my_base", "swin_base", "swin_tiny"),
    ]


def test_without_a_shared_step_there_is_no_mean(three: list[Candidate]) -> None:
    table = make_table([three[2], candidate("other", {}, step12=[90.0])])
    assert table[0][-1] == "step12"
    assert [line[0] for line in table[1:]] == ["wide", "other"]


def test_a_curve_is_of_experiments_that_differ_in_one_setting(three: list[Candidate], tmp_path: Path) -> None:
    chosen = along(three, "recipe.lr")
    assert [one.name for one in chosen] == ["slow", "fast"]
    paths = draw_setting(chosen, "recipe.lr", tmp_path / "recipe.lr")
    assert [path.name for path in paths] == ["recipe.lr.png", "recipe.lr.svg", "recipe.lr.pdf"]
    drawn = paths[1].read_text()
    assert all(text in drawn for text in ("step0_x", "step12_x", "recipe.lr", "0.001", "0.01"))
    with pytest.raises(RunError, match=r"recipe\.epochs: no two .* differ in recipe\.lr, recipe\.init"):
        along(three, "recipe.epochs")
    with pytest.raises(RunError, match=r"recipe\.init: its values are no numbers"):
        along(three[1:], "recipe.init")


def test_experiments_that_agree_do_not_hide_those_that_differ(three: list[Candidate]) -> None:
    """Regardless of their number."""
    alike = [candidate(f"wide{number}", {"recipe.lr": "0.01", "recipe.init": "normal"}) for number in range(3)]
    assert [one.name for one in along([*alike, *three[:2]], "recipe.lr")] == ["slow", "fast"]
    more = candidate("wider", {"recipe.lr": "0.1", "recipe.init": "normal"})
    assert len(along([*three[:2], *alike, more], "recipe.lr")) == 4


def test_the_table_can_be_made_from_the_written_files(three: list[Candidate], tmp_path: Path) -> None:
    write_candidates(three, tmp_path)
    again = read_candidates(tmp_path)
    assert [len(one.runs) for one in again] == [4, 2, 1]
    assert make_table(again) == make_table(three)
    assert again[2].settings.items() >= three[2].settings.items()


def test_a_key_that_a_published_comparison_does_not_know_has_its_neutral_value(tmp_path: Path) -> None:
    several = candidate("several", {"recipe.layer_decay": "several"}, step0=[50.0])
    write_candidates([several], tmp_path)
    (published,) = read_candidates(tmp_path)
    assert published.settings["recipe.layer_decay"] == "several"
    lines = (tmp_path / SETTINGS).read_text()
    (tmp_path / SETTINGS).write_text(lines.replace(', "recipe.layer_decay": "several"', ""))
    (published,) = read_candidates(tmp_path)
    assert published.settings["recipe.layer_decay"] == "1"


def test_weights_that_a_published_comparison_does_not_name_are_those_of_its_runs(tmp_path: Path) -> None:
    scratch, tuned = candidate("scratch", {}, step0=[50.0]), candidate("tuned", {}, step0=[60.0])
    words = "+roadmap=step0_resnet init_from=timm:resnet50"
    tuned = replace(tuned, runs=tuple(replace(run, overrides=words) for run in tuned.runs))
    write_candidates([scratch, tuned], tmp_path)
    assert make_table(read_candidates(tmp_path)) == [
        ["experiment", "init_from", "step0", "mean"],
        ["tuned", "timm:resnet50", "60.00", "60.00"],
        ["scratch", "null", "50.00", "50.00"],
    ]


@pytest.mark.parametrize(
    "damage", ["gone", "", "[" * 999, '{"experiment": "slow"}', '{"experiment": "slow", "settings": 3}']
)
def test_settings_that_are_gone_or_damaged_are_named(three: list[Candidate], tmp_path: Path, damage: str) -> None:
    write_candidates(three, tmp_path)
    if damage == "gone":
        (tmp_path / SETTINGS).unlink()
    else:
        (tmp_path / SETTINGS).write_text(damage)
    with pytest.raises(RunError, match=r"settings\.jsonl (cannot be read|has no settings of slow, fast, wide)"):
        read_candidates(tmp_path)


def test_new_seeds_join_their_experiment_and_a_repeated_run_replaces_the_former(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = {"recipe.lr": "0.1"}
    old, other = candidate("one", settings, step0=[60.0, 61.0]), candidate("two", settings, step0=[10.0])
    new = candidate("one", settings, step0=[50.0], step1=[70.0])
    joined = join_candidates([old, other, new])
    assert [one.name for one in joined] == ["one", "two"]
    assert joined[0].top1 == {"step0_x": [50.0, 61.0], "step1_x": [70.0]}
    assert joined[0].settings == old.settings
    assert caplog.messages == ["one: step0_x seed 0 is given twice; its later top-1, 50.00, counts, not 60.00"]
    caplog.clear()
    join_candidates([old, old])
    assert not caplog.records
    (joined_too,) = join_candidates([old, candidate("one", {"recipe.lr": "0.2"}, step0=[1.0])])
    assert joined_too.settings == {"recipe.epochs": "3", "recipe.lr": "several"}
    assert caplog.messages[0] == "one joins runs that differ in recipe.lr"
    caplog.clear()
    join_candidates([joined_too, candidate("one", settings, step1=[71.0])])  # a rate of each network is known
    assert not caplog.records


@pytest.mark.parametrize("key", ["data", "regime", "recipe"])
def test_runs_of_one_seed_on_other_data_are_other_runs(key: str, caplog: pytest.LogCaptureFixture) -> None:
    """They do not replace each other; a mean over them is warned of."""
    one = candidate("one", {}, step0=[60.0])
    other = replace(one, runs=tuple(replace(run, top1=90.0, **{key: "another"}) for run in one.runs))
    (joined,) = join_candidates([one, other])
    assert [(run.top1, getattr(run, key)) for run in joined.runs] == [
        (60.0, getattr(RUN, key)),
        (90.0, "another"),
    ]
    assert caplog.messages == [
        "one: the runs of step0_x have different settings, such as recipe.lr, so their mean is that of no network"
    ]


def test_runs_of_one_network_with_different_settings_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """Networks may have settings of their own, such as a rate each; the seeds of one may not."""
    one = candidate("one", {"recipe.lr": "several"}, step0=[60.0, 61.0], step1=[70.0, 71.0])
    own = [replace(run, setting_hash=run.step) for run in one.runs]
    (joined,) = join_candidates([replace(one, runs=tuple(own))])
    assert not caplog.records
    assert make_table([joined])[0] == ["experiment", "recipe.lr", "step0", "step1", "mean"]
    assert make_table([joined])[1][1] == "several"
    join_candidates([replace(one, runs=(*own[:3], replace(own[3], setting_hash="other")))])
    assert caplog.messages == [
        "one: the runs of step1_x have different settings, such as recipe.lr, so their mean is that of no network"
    ]


def test_setting_of_a_later_version_that_affects_no_result_is_no_column() -> None:
    old, new = (
        candidate(name, settings, step0=[60.0])
        for name, settings in (("old", {"recipe.lr": "1"}), ("new", {"recipe.lr": "1", "hardware.graphs": "false"}))
    )
    assert make_table([old, new])[0] == ["experiment", "step0", "mean"]
    fast = candidate("fast", {"recipe.lr": "1", "hardware.graphs": "true"}, step0=[60.0])
    assert make_table([new, fast])[0] == ["experiment", "hardware.graphs", "step0", "mean"]
    assert make_table([old, candidate("none", {}, step0=[60.0])])[0] == ["experiment", "recipe.lr", "step0", "mean"]


def test_experiments_on_other_images_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """An experiment with another data.holdout has other images, and a column that says so."""
    one, two, third = (
        candidate(name, {"data.holdout": held}, step0=[60.0])
        for name, held in (("one", "0"), ("two", "0"), ("third", "9"))
    )
    old, new, held = (
        replace(each, runs=tuple(replace(run, data_fingerprint=images) for run in each.runs))
        for each, images in ((one, "a"), (two, "b"), (third, "c"))
    )
    join_candidates([old, one, held])
    assert not caplog.records
    join_candidates([old, new, held])
    assert "1 of 2 runs on data=digits, such as two/step0_x/seed0, had other images than the rest" in caplog.text


def test_a_point_of_a_curve_says_how_many_runs_it_has(three: list[Candidate], tmp_path: Path) -> None:
    again = candidate("slow too", {"recipe.lr": "0.001", "recipe.init": "fan_in"}, step0=[60.0], step12=[60.0])
    chosen = along([*three[:2], again], "recipe.lr")
    drawn = draw_setting(chosen, "recipe.lr", tmp_path / "recipe.lr")[1].read_text()
    assert "n = 1 to 3" in drawn
