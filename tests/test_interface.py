"""The public Python interface: the examples of its docstrings, and the tables that it returns."""

import doctest
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

import roadmap
from roadmap.analysis.read_runs import read_runs
from roadmap.analysis.results import aggregate
from roadmap.analysis.significance import compute_row_stats
from roadmap.config.keywords import to_words
from roadmap.errors import ConfigError, RoadmapError

PUBLISHED = Path("results/cifar10-stride4")


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(roadmap.__file__).parents[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of the examples, which are those of the other tests too."""
    return tmp_path_factory.mktemp("outputs")


FUNCTIONS = {name: getattr(roadmap, name) for name in roadmap.__all__ if not name.startswith("__")}
EXAMPLES = [
    example
    for name, owner in {"roadmap": roadmap, **FUNCTIONS}.items()
    for example in doctest.DocTestFinder(recurse=False).find(owner, name, globs={"roadmap": roadmap})
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_the_examples_of_the_docstrings(example: doctest.DocTest, folder: Path) -> None:
    example.globs["folder"] = str(folder)
    assert doctest.DocTestRunner().run(example).failed == 0


def test_every_public_function_has_an_example() -> None:
    assert not [name for name, function in FUNCTIONS.items() if ">>>" not in (function.__doc__ or "")]


def test_the_tables_are_those_of_the_analysis() -> None:
    runs = read_runs(PUBLISHED)
    results = roadmap.load_results(PUBLISHED)
    assert list(results.network) == [run.name for run in runs]
    assert list(results.top1) == [run.top1 for run in runs]
    stats = [one for one in compute_row_stats(aggregate(runs)) if one.estimate is not None]
    changes = roadmap.changes(results)
    assert list(changes.label) == [one.row.label for one in stats]
    expected = [one.change.difference.mean for one in stats if one.change]
    assert changes.change.dropna().tolist() == pytest.approx(expected)
    assert changes.set_index("network").paper_change["step7"] == 0.65


def test_rows_that_are_left_out_do_not_count() -> None:
    results = roadmap.load_results(PUBLISHED)
    some = results[
        results.step.isin(["step0_resnet", "step1_stage_ratio"]) & (results.seed < 2) & (results.variant == "")
    ]
    changes = roadmap.changes(some)
    assert changes.network.tolist() == ["step0", "step1"]
    assert changes.seeds.tolist() == [2, 2]
    assert roadmap.effects(some).place.tolist() == ["on the path", "in step 0"]  # which is one comparison
    assert roadmap.effects(some.head(1)).empty


def test_unfinished_runs_have_no_results(tmp_path: Path) -> None:
    results = roadmap.load_results(PUBLISHED).astype({"state": "str"})
    results.loc[0, ["state", "top1"]] = "failed", pd.NA
    assert roadmap.changes(results).seeds[0] == 2


def test_keywords_are_the_overrides_of_a_command() -> None:
    values = {
        "roadmap": "step7_kernel,kernel_size=9",
        "seed": 1,
        "model": {"norm": "layernorm", "kernel_size": 9, "drop_path": 0.1},
        "recipe": "paper",
        "init_from": Path("outputs/a b/checkpoint.pt"),
        "hardware.workers": None,
        "hardware.compile": True,
    }
    assert to_words(["data=digits"], values) == [
        "data=digits",
        "+roadmap='step7_kernel,kernel_size=9'",
        "seed=1",
        "model/norm=layernorm",
        "model/kernel_size=9",
        "model.drop_path=0.1",
        "recipe=paper",
        "init_from='outputs/a b/checkpoint.pt'",
        "hardware.workers=null",
        "hardware.compile=true",
    ]
    assert to_words([], {"seed": range(3), "roadmap": ["a", "b"]}, is_sweep=True) == ["seed=0,1,2", "+roadmap=a,b"]
    assert to_words([], {"hydra.searchpath": ["file:///a"]}) == ["hydra.searchpath=['file:///a']"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": object()}, "an? object is no value of a configuration"),
        ({"sed": 1}, "Did you mean seed"),
        ({"roadmap": "step5"}, "step5_inverted"),
        ({"recipe": {"epochs": "many"}}, "recipe.epochs"),
    ],
)
def test_a_wrong_keyword_is_an_error_that_names_it(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        roadmap.train(**values)
    if "many" not in str(values):  # which is checked with the whole configuration
        with pytest.raises(ConfigError, match=message):
            roadmap.compose(**values)


def test_a_list_of_steps_is_a_sweep_and_no_run(folder: Path) -> None:
    steps = ["step0_resnet", "step12_downsample"]
    for call in (roadmap.train, roadmap.evaluate):
        with pytest.raises(
            ConfigError, match=r"\+roadmap=\[step0_resnet,step12_downsample\]: a run has one choice"
        ):
            call(roadmap=steps, init_from="x", experiment="refused", output_dir=folder)
    with pytest.raises(ConfigError, match=r"\['step0_resnet', 'step12_downsample'\] is no step: name one"):
        roadmap.describe(steps)  # type: ignore[arg-type]
    assert not (folder / "refused").exists()


STEP: dict[str, Any] = {"roadmap": "step12_downsample", "recipe": {"epochs": 2}, "experiment": "stopped"}


def test_a_failed_run_is_an_error_in_train_and_a_row_in_sweep(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("roadmap.cli.run.build_trainer", fail)
    with pytest.raises(RoadmapError, match="failed: RuntimeError: a defect"):
        roadmap.train(**STEP | {"experiment": "failed"}, output_dir=folder)
    assert 'raise RuntimeError("a defect")' in capsys.readouterr().err
    runs = roadmap.sweep(**STEP | {"experiment": "swept"}, seed=[0, 1], output_dir=folder)
    assert runs.state.tolist() == ["failed", "failed"]
    assert set(runs.error) == {"RuntimeError: a defect"}


def test_progress_is_printed_as_plain_lines_unless_it_is_turned_off(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = STEP | {"recipe": {"epochs": 1}, "experiment": "example", "output_dir": folder}
    roadmap.train(**one, progress=False)
    assert capsys.readouterr().out == ""
    roadmap.train(**one)
    assert "done already" in capsys.readouterr().out


def test_a_step_describes_itself_and_what_it_changes(tmp_path: Path) -> None:
    step = roadmap.describe("step6_move_up")
    assert step.changes == ("position middle -> first",)
    assert step.before is not None
    assert step.before.name == "step5_inverted"
    assert "d3x3" in str(step)
    assert "\n+ " in step.diff
    assert step._repr_svg_() == step.svg
    assert "step6_move_up" in step.svg
    step.save(tmp_path / "step.svg")
    assert (tmp_path / "step.svg").read_text() == step.svg
    variant = roadmap.describe("step7_kernel,kernel_size=9")
    assert variant.changes == ("kernel_size 7 -> 9",)
    assert roadmap.describe("original").before is None
    assert roadmap.describe("step12_downsample", against="step0_resnet", regime="micro").before is not None
    with pytest.raises(ConfigError, match="step5_inverted"):
        roadmap.describe("step5_invert")


def test_plotly_draws_the_numbers_of_the_frame() -> None:
    results, epochs = roadmap.load_results(PUBLISHED), roadmap.load_epochs(PUBLISHED)
    steps = results[results.network.isin(roadmap.list_steps())]
    bars = roadmap.plot_roadmap(steps, backend="plotly").data[0]
    means = steps.groupby("network").top1.mean()
    assert sorted(bars.base + x for x in bars.x) == pytest.approx(sorted(means))
    lines = [trace for trace in roadmap.plot_curves(epochs, backend="plotly").data if trace.fill is None]
    last = epochs[epochs.epoch == epochs.epoch.max()]
    assert {line.name for line in lines} == set(epochs.network)
    seeds = last.seeds.str.split().str.len()
    means = (last.top1 * seeds).groupby(last.network).sum() / seeds.groupby(last.network).sum()
    assert {line.name: line.y[-1] for line in lines} == pytest.approx(means.to_dict())
    marks = roadmap.plot_effects(results, backend="plotly").data
    effects = roadmap.effects(results)
    assert set(effects.effect.round(6)) <= {round(x, 6) for mark in marks for x in mark.x}


@pytest.mark.system  # draws nine figures: 3 s
def test_figures_are_drawn_alone_or_into_given_axes() -> None:
    results, epochs = roadmap.load_results(PUBLISHED), roadmap.load_epochs(PUBLISHED)
    for plot, frame in (
        (roadmap.plot_roadmap, results),
        (roadmap.plot_effects, results),
        (roadmap.plot_curves, epochs),
    ):
        assert plot(frame)._repr_png_().startswith(b"\x89PNG")  # as a notebook shows it
        figure = Figure()
        axes = figure.subplots(1, 2)
        assert plot(frame, ax=axes[1]) is figure
        assert axes[1].has_data()
        assert not axes[0].has_data()
        with pytest.raises(ConfigError, match="ax, which is matplotlib's"):
            plot(frame, ax=axes[0], backend="plotly")
    with pytest.raises(RoadmapError, match="no finished run"):
        roadmap.plot_roadmap(results.head(0))
    with pytest.raises(RoadmapError, match="Did you mean top1"):
        roadmap.plot_curves(epochs, "top")
    with pytest.raises(ConfigError, match="backend=bokeh: must be matplotlib or plotly"):
        roadmap.plot_roadmap(results, backend="bokeh")
