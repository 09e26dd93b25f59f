"""A series' file expands to two sweeps, and the remaining time determines the epochs."""

from dataclasses import replace
from pathlib import Path

import pytest

from roadmap.config import plan_runs
from roadmap.config.compose import prepare_overrides
from roadmap.config.series import SeriesSpec, check_networks, read_series
from roadmap.errors import ConfigError

FILE = Path(__file__).parents[2] / "scripts/gpu_series.yaml"


@pytest.fixture(scope="module")
def spec() -> SeriesSpec:
    return read_series(FILE)


def test_the_ends_come_in_order_of_value_on_held_out_images(spec: SeriesSpec) -> None:
    """All networks at the first stride and rate, then at the next rate, then at the next stride."""
    ends = replace(spec.ends, stem_strides=(2, 1), rates=(0.004,), others=("step12_downsample,stem=resnet",))
    runs = plan_runs(prepare_overrides(replace(spec, ends=ends).ends_overrides()), True)
    found = [(run.config.data.stem_stride, run.config.step.name, run.variant) for run in runs]
    networks = [("step1_stage_ratio", {}), ("step12_downsample", {}), ("step12_downsample", {"stem": "resnet"})]
    assert found == [(stride, *network) for stride in (2, 1) for network in networks]
    assert {run.config.data.holdout for run in runs} == {5000}
    assert [run.config.experiment for run in runs[::3]] == ["gpu-ends-s2-lr0.004", "gpu-ends-s1-lr0.004"]


def test_all_steps_come_seed_after_seed_on_the_test_images(spec: SeriesSpec) -> None:
    overrides = spec.steps_overrides(1, 0.012, 9)
    assert overrides[:2] == ["seed=0,1,2,3,4", "+sweep=roadmap"]
    assert not any(word.startswith("data.holdout") for word in overrides)
    assert overrides[-4:] == ["data.stem_stride=1", "recipe.lr=0.012", "recipe.epochs=9", "experiment=gpu-steps"]


def test_the_epochs_leave_time_for_the_seeds(spec: SeriesSpec) -> None:
    """13 steps with 3 seeds in 290 s, 6 at a time: 0.8 x 290 x 6 / 39 - 10 s to start = 25.7 s per run."""
    steps = replace(spec.steps, seeds_to_fit=3, least_epochs=8, most_epochs=100)
    assert steps.count_epochs(290, 6, epoch_seconds=2.0, networks=13) == 12
    assert steps.count_epochs(290, 6, epoch_seconds=20.0, networks=13) == 8
    assert steps.count_epochs(290, 6, epoch_seconds=0.1, networks=13) == 100
    assert steps.count_epochs(5, 6, epoch_seconds=2.0, networks=13) == 8


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("jobs: 6", "jobs: 0", "jobs=0: must be at least 1"),
        ("jobs: 6", "job: 6", "there is no key job"),
        ("jobs: 6", "jobs: 1\njobs: 6", r", line 12: jobs is there twice, first in line 11: keep one"),
        ("rates: [0.004, 0.012]", "rates: [0.1]\n  rates: [0.2]", "rates is there twice, first in line 25"),
        ("stem_strides: [2, 1]", "stem_strides: []", r"ends\.stem_strides=\[\]: needs at least one value"),
        ("rates: [0.004, 0.012]", "rates: [fast]", r"ends\.rates\[0\]=fast: must be a number"),
        ("rates: [0.004, 0.012]", "rates: ['0.1']", r"ends\.rates\[0\]=0\.1: must be a number, without quotes"),
        ("rates: [0.004, 0.012]", "rates: [0.1, 1e-1]", r"ends\.rates: 0\.1 is there twice"),
        ("rates: [0.004, 0.012]", "rates: [-1.0]", r"ends\.rates: -1\.0 must be above 0"),
        ("stem_strides: [2, 1]", "stem_strides: [2, 2]", r"ends\.stem_strides: 2 is there twice"),
        ("stem_strides: [2, 1]", "stem_strides: [3]", r"ends\.stem_strides: 3 must be 4, 2 or 1"),
        ("minutes: 4", "minutes: -1", r"ends\.minutes=-1\.0: must be at least 0"),
        ("first: step1_stage_ratio", "first: x/step12_downsample", "step12_downsample is there twice"),
        ("name: gpu", "name: a/b", "name=a/b: must be the name of one folder"),
        ("name: gpu", "name: a,b", "name=a,b: must be of letters"),
        ("name: gpu", "name: ${seed}", r"name=\${seed}: must be of letters"),
        ("seeds_to_fit: 3", "seeds_to_fit: 9", r"steps\.seeds_to_fit=9: must be from 1 to steps\.seeds"),
        ("least_epochs: 8", "least_epochs: 800", r"steps\.least_epochs=800: must be from 1"),
        ("ends:\n", "ends: [\n", r"line \d+: .*expected"),
        ("name: gpu", "", "no value yet for name"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    text = FILE.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=rf"mine\.yaml.*{message}"):
        read_series(file)


@pytest.mark.parametrize(("text", "found"), [("", "empty"), ("- name\n", "a list"), ("name\n", "a single value")])
def test_a_file_without_keys_is_named(text: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"mine\.yaml: {found}, and not a group of keys: name, note, jobs, "):
        read_series(tmp_path / "mine.yaml")


def test_a_network_that_is_no_step_is_named(spec: SeriesSpec) -> None:
    check_networks(FILE, replace(spec, ends=replace(spec.ends, first="bag_of_tricks/step1_resnet_b")))
    for key, name, guess in (
        ("first", "step99", " Allowed: "),
        ("last", "step12_downsampl,norm=batchnorm", " Did you mean step12_downsample?"),
        ("first", "bag_of_tricks/step99", " Allowed: step0_original_resnet, "),
    ):
        with pytest.raises(
            ConfigError, match=rf"gpu_series\.yaml: ends\.{key}={name}: there is no such step\..*{guess}"
        ):
            check_networks(FILE, replace(spec, ends=replace(spec.ends, **{key: name})))


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("step12_downsample,norm=batchnorm,kernel_size=3", "step12_downsample,kernel_size=3,norm=batchnorm"),
        ("step7_kernel,kernel_size=7", "step7_kernel"),
        ("bag_of_tricks/step1_resnet_b,stride_conv=spatial", "bag_of_tricks/step1_resnet_b"),
    ],
)
def test_a_network_is_written_as_its_runs_are_named(spec: SeriesSpec, name: str, right: str) -> None:
    """Finished ends are found by this name, and records show the others by it."""
    for key, values in (("last", {"last": name, "others": ()}), ("others[0]", {"others": (name,)})):
        with pytest.raises(ConfigError) as caught:
            check_networks(FILE, replace(spec, ends=replace(spec.ends, **values)))
        assert str(caught.value) == f"{FILE}: ends.{key}={name}: its runs have the name {right}: write that"
    check_networks(FILE, replace(spec, ends=replace(spec.ends, last=right)))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("model/kernel_size=9", "the name step7_kernel,kernel_size=9: write that"),
        ("model/kernel_size=7,9", "several names: step7_kernel; step7_kernel,kernel_size=9. Keep one"),
    ],
)
def test_a_networks_name_includes_the_commands_choices(spec: SeriesSpec, word: str, message: str) -> None:
    ends = replace(spec.ends, first="step7_kernel", others=())
    with pytest.raises(ConfigError, match=rf"ends\.first=step7_kernel: its runs have {message}$"):
        check_networks(FILE, replace(spec, ends=ends), [word])
