"""DataFrames of results: several experiments in one stay apart, and what is no such frame is refused."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure
from trial_rows import Write

import roadmap
from roadmap.analysis.frame_rows import find_curves
from roadmap.errors import ConfigError, RunError

PUBLISHED = Path(__file__).parents[2] / "results/cifar10-stride4"
STEPS = ("step0_resnet", "step1_stage_ratio")


@pytest.fixture
def load(tmp_path: Path, write_run: Write) -> Callable[..., pd.DataFrame]:
    """Return a function that writes an experiment of two steps and two seeds, and loads it."""

    def write(experiment: str, offset: float, seeds: tuple[int, ...] = (0, 1), **changes: object) -> pd.DataFrame:
        for number, step in enumerate(STEPS):
            for seed in seeds:
                top1 = offset + 2 * number + 0.1 * seed * (1 + number)
                write_run(step, seed, top1, experiment=experiment, **changes)
        return roadmap.load_results(experiment, tmp_path)

    return write


def test_experiments_in_one_frame_have_the_changes_and_effects_that_each_has_alone(
    load: Callable[..., pd.DataFrame],
) -> None:
    slow, fast = load("slow", 70.0, setting_hash="a"), load("fast", 80.0, setting_hash="b")
    both = pd.concat([slow, fast])
    for find in (roadmap.changes, roadmap.effects):
        alone = pd.concat([find(slow), find(fast)], ignore_index=True)
        pd.testing.assert_frame_equal(find(both), alone)
    changes = roadmap.changes(both)
    found = changes[["experiment", "network", "seeds", "top1"]].round(2).values.tolist()
    assert found == [
        ["slow", "step0", 2, 70.05],
        ["slow", "step1", 2, 72.1],
        ["fast", "step0", 2, 80.05],
        ["fast", "step1", 2, 82.1],
    ]


def test_a_figure_of_several_experiments_is_refused_with_the_way_out(load: Callable[..., pd.DataFrame]) -> None:
    both = pd.concat([load("slow", 70.0), load("fast", 80.0)])
    for plot in (roadmap.plot_roadmap, roadmap.plot_effects):
        with pytest.raises(RunError, match=r"of 2: slow, fast\. Draw each.*runs\[runs\.experiment == 'slow'\]"):
            plot(both)
    assert roadmap.plot_roadmap(both[both.experiment == "slow"]).axes


def test_effects_of_one_of_two_data_sets_name_it_and_the_other(
    load: Callable[..., pd.DataFrame], write_run: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write_run("step0_resnet", 2, 99.0, experiment="trial", data="cifar10")
    results = load("trial", 70.0)
    drawn = [roadmap.plot_effects(results), roadmap.plot_effects(results, backend="plotly")]
    message = "trial: the effects are of micro, digits, short; give those of micro, cifar10, short alone for theirs"
    assert caplog.messages.count(message) == len(drawn)
    titles = [text.get_text() for text in drawn[0].texts]
    assert titles[1].startswith("regime micro, data digits, recipe short; effect of each choice, n = 2 seeds")


def test_a_folder_that_was_renamed_is_an_experiment_by_its_new_name(
    tmp_path: Path, load: Callable[..., pd.DataFrame]
) -> None:
    load("trial", 70.0)
    (tmp_path / "trial").rename(tmp_path / "first")
    first = roadmap.load_results("first", tmp_path)
    changes = roadmap.changes(pd.concat([first, load("trial", 80.0)]))
    assert changes.top1.round(2).tolist() == [70.05, 72.1, 80.05, 82.1]
    load("trial", 60.0, seeds=(2,))
    (tmp_path / "trial").rename(tmp_path / "second")
    assert set(roadmap.load_results("second", tmp_path).experiment) == {"second"}


def test_runs_of_one_experiment_join_and_one_that_is_given_twice_is_refused(
    load: Callable[..., pd.DataFrame],
) -> None:
    first = load("trial", 70.0)
    more = load("more", 71.0, seeds=(2,)).assign(experiment="trial")
    assert roadmap.changes(pd.concat([first, more])).seeds.tolist() == [3, 3]
    with pytest.raises(
        RunError, match=r"step0_resnet seed 0 of experiment trial is given twice, from .*/trial/step0"
    ):
        roadmap.changes(pd.concat([first, first]))
    unfinished = first.assign(state="failed", top1=pd.NA)
    assert roadmap.changes(pd.concat([first, unfinished])).seeds.tolist() == [2, 2]


def test_effects_name_the_data_set_that_they_leave_out(
    load: Callable[..., pd.DataFrame], caplog: pytest.LogCaptureFixture
) -> None:
    small, large = load("trial", 70.0), load("large", 80.0, data="cifar10").assign(experiment="trial")
    caplog.clear()
    assert roadmap.effects(pd.concat([small, large])).effect.round(2).tolist() == [2.05, 2.05]
    message = "the effects are of micro, cifar10, short; give those of micro, digits, short alone for theirs"
    assert any(message in record.message for record in caplog.records)


def test_curves_of_a_network_are_one_for_each_experiment_and_data_set() -> None:
    rows = [
        ("step0_resnet", "slow", "micro", "digits", "short", "0", 1, 70.0),
        ("step0_resnet", "slow", "micro", "digits", "short", "1", 1, 72.0),
        ("step0_resnet", "fast", "micro", "digits", "short", "0", 1, 80.0),
        ("step0_resnet", "fast", "micro", "cifar10", "short", "0", 1, 90.0),
        ("step1_stage_ratio", "fast", "micro", "digits", "short", "0", 1, 50.0),
    ]
    epochs = pd.DataFrame(
        rows, columns=["network", "experiment", "regime", "data", "recipe", "seeds", "epoch", "top1"]
    )
    curves = find_curves(epochs, "top1")
    assert {name: tuple(curve.loc[1]) for name, curve in curves.items()} == {
        "step0_resnet (slow, digits)": (71.0, 70.0, 72.0),
        "step0_resnet (fast, digits)": (80.0, 80.0, 80.0),
        "step0_resnet (fast, cifar10)": (90.0, 90.0, 90.0),
        "step1_stage_ratio": (50.0, 50.0, 50.0),
    }
    with pytest.raises(RunError, match="step0_resnet seed 0 of experiment slow is given twice"):
        find_curves(pd.concat([epochs, epochs.head(1).assign(seeds="3 0")]), "top1")


def test_the_band_of_a_published_curve_is_that_of_its_seeds() -> None:
    """The first line of results/cifar10-stride4/epochs.csv is the mean of three seeds, with both extremes."""
    epochs = roadmap.load_epochs(PUBLISHED)
    curve = find_curves(epochs, "top1")["step0_resnet"]
    assert curve.loc[1].round(3).to_dict() == {"mean": 43.313, "low": 42.02, "high": 44.34}
    one = epochs[epochs.network == "step0_resnet"]
    (axes,) = roadmap.plot_curves(one).axes
    assert len(axes.collections) == 1
    assert [trace.fill for trace in roadmap.plot_curves(one, backend="plotly").data] == ["toself", None]


def through_csv(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(frame.to_csv()))


def test_a_frame_that_was_written_to_a_csv_file_has_the_same_results() -> None:
    """In CSV an empty variant is a missing value, a step's index a float, and a path a text."""
    results = roadmap.load_results(PUBLISHED)
    read = through_csv(results)
    pd.testing.assert_frame_equal(roadmap.changes(read), roadmap.changes(results))
    pd.testing.assert_frame_equal(roadmap.effects(read), roadmap.effects(results))
    epochs = roadmap.load_epochs(PUBLISHED)
    one = epochs[epochs.network == "step0_resnet"].assign(seeds="0")
    for frame in (epochs, one):
        curves, again = find_curves(frame, "loss"), find_curves(through_csv(frame), "loss")
        assert list(curves) == list(again)
        for name, curve in curves.items():
            pd.testing.assert_frame_equal(again[name], curve)


def test_names_that_csv_reads_as_numbers_stay_names(load: Callable[..., pd.DataFrame]) -> None:
    results = load("12", 70.0, data="100")
    read = through_csv(results)
    assert read.experiment.dtype.kind == read.data.dtype.kind == "i"
    pd.testing.assert_frame_equal(roadmap.changes(read), roadmap.changes(results))


RUNS, EPOCHS = roadmap.load_results(PUBLISHED), roadmap.load_epochs(PUBLISHED)
OF_RUNS = (roadmap.changes, roadmap.effects, roadmap.plot_roadmap, roadmap.plot_effects)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            RUNS.drop(columns=["variant", "path"]),
            "the frame lacks the columns path, variant: give rows of roadmap.load_",
        ),
        (EPOCHS, "the frame lacks the columns path, step, .*: give rows of roadmap.load_results, with all"),
        ("cifar10", "'cifar10' is no DataFrame: give one of roadmap.load_results"),
        (RUNS.assign(top1="high"), "row 0: top1 is 'high'"),
        (RUNS.assign(top1=130.0), "row 0: top1 is 130"),
        (RUNS.assign(seed=pd.NA), "row 0: seed is"),
        (RUNS.assign(state="finished"), "row 0: state is 'finished'"),
        (RUNS.assign(gmacs=pd.NA), "row 0: the finished run has no gmacs"),
        (RUNS.assign(variant="kernel"), "row 0: variant is 'kernel'"),
    ],
)
def test_what_are_no_runs_is_refused_with_column_or_row(frame: Any, message: str) -> None:
    for function in OF_RUNS:
        with pytest.raises(RunError, match=message):
            function(frame)


@pytest.mark.parametrize(
    ("frame", "metric", "message"),
    [
        (EPOCHS[["network", "epoch", "top1"]], "top1", "lacks the columns experiment, regime, data, recipe, seeds"),
        (RUNS, "top1", "lacks the columns seeds, epoch: give rows of roadmap.load_epochs"),
        (EPOCHS.head(0), "top1", "no top1 to draw among 0 rows: no epoch with it has finished"),
        (EPOCHS.assign(top1=float("nan")), "top1", "no top1 to draw among"),
        (EPOCHS, None, "metric=None: not measured. Allowed: top1, loss"),
        (
            EPOCHS.drop(columns=["top1", "loss", "train_loss", "lr"]),
            "top1",
            "not measured. The frame has no metric",
        ),
    ],
)
def test_what_has_no_curve_is_refused(frame: pd.DataFrame, metric: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        roadmap.plot_curves(frame, metric)


def test_a_figure_is_drawn_into_one_axes_alone() -> None:
    axes = Figure().subplots(1, 2)
    for ax in (axes, list(axes), axes[0].figure, "left"):
        for plot, frame in (
            (roadmap.plot_roadmap, RUNS),
            (roadmap.plot_effects, RUNS),
            (roadmap.plot_curves, EPOCHS),
        ):
            with pytest.raises(ConfigError, match=r"must be one Axes of matplotlib, as axes\[0\] of plt.subplots"):
                plot(frame, ax=ax)


def test_frames_of_no_run_have_their_columns(tmp_path: Path, load: Callable[..., pd.DataFrame]) -> None:
    none = RUNS.head(0)
    assert list(roadmap.changes(none)) == list(roadmap.changes(RUNS))
    assert list(roadmap.effects(none)) == list(roadmap.effects(RUNS))
    load("trial", 70.0)  # whose runs have finished no epoch
    epochs = roadmap.load_epochs("trial", tmp_path)
    assert list(epochs) == ["network", "experiment", "regime", "data", "recipe", "seeds", "epoch"]
    assert epochs.empty
    one = roadmap.changes(RUNS[RUNS.step == "step5_inverted"])
    assert one[["network", "seeds"]].values.tolist() == [["step5", 3]]
    assert one.change.isna().all()
