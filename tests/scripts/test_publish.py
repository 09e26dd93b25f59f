"""A published experiment has all that shows its results, no large files, and can be drawn again from them."""

import html
import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from fixture_types import Call, Write
from omegaconf import OmegaConf

from roadmap.analysis.configurations import find_recipe, keep_shared, merge, read_setup, subtract
from roadmap.analysis.epoch_table import read_records
from roadmap.analysis.read_runs import read_runs
from roadmap.analysis.results import aggregate
from roadmap.analysis.table import markdown_table
from roadmap.config import compose, read_config
from roadmap.runs.config_hash import hash_config

Publish = Callable[..., str]  # publishes into results, and returns the printed errors


@pytest.mark.system  # publishes twice: 3 s
def test_what_is_published_says_all_without_the_runs(tmp_path: Path, write_run: Write, call: Call) -> None:
    experiment, target = tmp_path / "outputs/trial", tmp_path / "results/trial"
    words = ("recipe.epochs=1", "recipe.total_batch=256", f"data.root={tmp_path}/images")
    for size in ("3", "7"):
        for seed in range(2):
            run = write_run(experiment, "step7_kernel", f"model/kernel_size={size}", *words, seed=seed)
            (run / "checkpoint.pt").touch()
    named = {Path(line) for line in call("publish", experiment, "--to", target).out.splitlines()}
    assert named == {path for path in target.rglob("*") if path.is_file()}
    assert not list(target.rglob("*.pt"))
    rows = aggregate(read_runs(target))
    assert rows == aggregate(read_runs(experiment))
    page = (target / "README.md").read_text()
    assert markdown_table(rows) in page
    assert "train.py -m +roadmap=step7_kernel model/kernel_size=3,7 recipe.epochs=1" in page
    assert "experiment=trial seed=0,1\n" in page
    recipe = yaml.safe_load((target / "recipe.yaml").read_text())
    assert (recipe["recipe"]["total_batch"], recipe["recipe"]["epochs"]) == (256, 1)
    assert not {"seed", "model", "output_dir"} & recipe.keys()
    assert "root" not in recipe["data"]
    report = (target / "report.html").read_text()
    assert "python scripts/plot_roadmap.py results/trial" in report
    assert str(tmp_path) not in report + page  # neither of the runs nor of their images
    (target / "README.md").write_text(page + "What I saw.\n")
    call("publish", experiment, "--to", target)
    assert (target / "README.md").read_text() == page + "What I saw.\n"
    refused = call("publish", target, "--to", tmp_path / "second", status=1)
    assert "is a published experiment, which can only be" in refused.err
    assert not (tmp_path / "second").exists()


def test_a_recipe_holds_what_runs_share_and_the_rest_is_their_own() -> None:
    values = {"recipe": {"lr": 2, "augment": {"crop": "padded"}}, "data": {"name": "a"}, "seed": 3}
    other = {"recipe": {"lr": 1, "augment": {"crop": "padded"}}, "data": {"name": "a"}, "hardware": 1}
    shared = keep_shared(other, values)
    assert shared == {"recipe": {"augment": {"crop": "padded"}}, "data": {"name": "a"}}
    assert subtract(values, shared) == {"recipe": {"lr": 2}, "seed": 3}
    assert merge(shared, subtract(values, shared)) == values


@pytest.fixture
def grown(tmp_path: Path, write_run: Write, publish: Publish) -> Path:
    """Two published steps with one seed each; another machine's experiment has one more seed of one of them."""
    trial = tmp_path / "outputs/trial"
    write_run(trial, "step0_resnet", top1=80.0)
    write_run(trial, "step12_downsample", "model/norm=batchnorm", top1=90.0)
    publish(trial)
    shutil.rmtree(trial)
    write_run(trial, "step0_resnet", seed=1, top1=84.0)
    return trial


@pytest.fixture
def publish(tmp_path: Path, call: Call) -> Publish:
    def run(folder: Path, *words: str, status: int = 0) -> str:
        return call("publish", folder, "--to", tmp_path / "results", *words, status=status).err

    return run


@pytest.mark.system  # publishes three times: 3 s
def test_runs_of_another_machine_stay(
    tmp_path: Path, grown: Path, publish: Publish, caplog: pytest.LogCaptureFixture
) -> None:
    results = tmp_path / "results"
    publish(grown)
    assert "2 runs stay as they were published" in caplog.text
    assert [(run.name, run.seed, run.top1) for run in read_runs(results)] == [
        ("step0_resnet", 0, 80.0),
        ("step0_resnet", 1, 84.0),
        ("step12_downsample,norm=batchnorm", 0, 90.0),
    ]
    records = read_records(results, [])
    assert [(one.network, one.seeds, one.mean[3]["top1"]) for one in records] == [
        ("step0_resnet", (0,), 80.0),
        ("step0_resnet", (1,), 84.0),
        ("step12_downsample,norm=batchnorm", (0,), 90.0),
    ]
    page = (results / "README.md").read_text()
    assert "train.py -m +roadmap=step0_resnet experiment=trial seed=0,1" in page
    assert "train.py +roadmap=step12_downsample model/norm=batchnorm experiment=trial seed=0" in page
    report = (results / "report.html").read_text()
    for part in ("norm=batchnorm", "Training curves", "layer_scale_init"):
        assert part in report
    before = {path: path.read_bytes() for path in results.rglob("*.*") if path.suffix in (".csv", ".md", ".svg")}
    publish(grown)
    assert {path: path.read_bytes() for path in before} == before
    publish(grown, "--anew")
    assert [run.seed for run in read_runs(results)] == [1]


@pytest.mark.system  # publishes twice: 3 s
def test_a_page_published_anew_shows_no_figure_of_earlier_runs(
    tmp_path: Path, write_run: Write, publish: Publish, caplog: pytest.LogCaptureFixture
) -> None:
    trial, results = tmp_path / "outputs/trial", tmp_path / "results"
    write_run(trial, "step7_kernel")
    for size in ("9", "11"):
        write_run(trial, "step7_kernel", f"model/kernel_size={size}")
    publish(trial)
    assert "![kernels](figures/kernels.svg)" in (results / "README.md").read_text()
    shutil.rmtree(trial)
    write_run(trial, "step0_resnet")
    (results / "figures/roadmap-best.svg").touch()
    (results / "figures/report.html").touch()
    publish(trial, "--anew")
    figures = re.findall(r"!\[.*", (results / "README.md").read_text())
    assert figures == ["![roadmap](figures/roadmap.svg)"]
    assert not list(results.rglob("kernels.*"))
    named = f"{results}/figures/roadmap-best.svg and {results}/figures/report.html: of an earlier command"
    assert named in caplog.text


def test_the_page_says_which_settings_the_networks_do_not_share(
    tmp_path: Path, write_run: Write, publish: Publish
) -> None:
    trial = tmp_path / "outputs/trial"
    write_run(trial, "step0_resnet", "recipe.lr=2e-3")
    write_run(trial, "step1_stage_ratio", "recipe.lr=2e-3")
    publish(trial)
    page = tmp_path / "results/README.md"
    assert "Not all share" not in page.read_text()
    write_run(trial, "step2_patchify", "recipe.lr=1e-3")
    publish(trial)
    note = "- Not all share `recipe.lr`: 0.002 in step0_resnet, step1_stage_ratio; 0.001 in step2_patchify.\n"
    assert note in page.read_text()


@pytest.mark.parametrize("word", ["recipe.lr=1e-4", "init_from=/weights/a.pt"])
def test_seeds_with_different_settings_are_not_published_as_one_network(
    tmp_path: Path, grown: Path, write_run: Write, publish: Publish, word: str
) -> None:
    """Another network may have settings of its own, as with a rate each."""
    before = (tmp_path / "results/runs.csv").read_bytes()
    write_run(grown, "step12_downsample", "model/norm=batchnorm", word, seed=3)
    key = word.partition("=")[0]
    error = publish(grown, status=1)
    assert f"seeds 0 and 3 of step12_downsample,norm=batchnorm have different settings ({key}: " in error
    assert (tmp_path / "results/runs.csv").read_bytes() == before


def test_derived_files_are_written_again_from_the_published_tables(tmp_path: Path, grown: Path, call: Call) -> None:
    results = tmp_path / "results"
    before = {path: path.read_bytes() for path in results.rglob("*.*") if path.suffix in (".csv", ".md", ".svg")}
    for path in ("README.md", "figures/roadmap.csv", "figures/roadmap.svg"):
        (results / path).unlink()
    call("publish", results)
    assert {path: path.read_bytes() for path in before} == before


def test_runs_of_another_experiment_are_not_mixed(
    tmp_path: Path, grown: Path, write_run: Write, publish: Publish
) -> None:
    """Neither with those of other seeds nor in place of those of the same."""
    before = (tmp_path / "results/runs.csv").read_text()
    for seed in (0, 7):
        write_run(tmp_path / "outputs/another", "step0_resnet", seed=seed)
        error = publish(tmp_path / "outputs/another", status=1)
        assert "has the published runs of trial, not of another. Leave them out with --anew" in error
    assert (tmp_path / "results/runs.csv").read_text() == before
    publish(tmp_path / "outputs/another", "--anew")


def test_runs_of_other_settings_are_not_mixed(
    tmp_path: Path, grown: Path, write_run: Write, publish: Publish, caplog: pytest.LogCaptureFixture
) -> None:
    before = (tmp_path / "results/runs.csv").read_text()
    shutil.rmtree(grown)
    write_run(grown, "step0_resnet", "recipe.lr=1e-3", seed=1)
    error = publish(grown, status=1)
    assert "2 runs were published with other settings: recipe.lr 0.004 there, 0.001 here." in error
    assert (tmp_path / "results/runs.csv").read_text() == before
    write_run(grown, "step0_resnet", "recipe.lr=1e-3", seed=0)
    write_run(grown, "step12_downsample", "model/norm=batchnorm", "recipe.lr=1e-3")
    caplog.set_level("INFO")
    assert publish(grown) == ""  # nothing of the previous publication is left
    assert "are replaced: recipe.lr 0.004 there, 0.001 here" in caplog.text
    assert find_recipe(read_runs(tmp_path / "results"))["recipe"]["lr"] == 1e-3


def test_a_published_run_is_not_given_up_for_one_that_has_not_finished(
    tmp_path: Path, grown: Path, write_run: Write, publish: Publish
) -> None:
    write_run(grown, "step0_resnet", state="interrupted", epochs=1)
    publish(grown)
    (row, *_) = aggregate(read_runs(tmp_path / "results"))
    assert (row.seeds, row.top1) == ((0, 1), (80.0, 84.0))


@pytest.mark.system  # publishes three times: 4 s
def test_settings_that_differ_are_published_with_the_run(
    tmp_path: Path, grown: Path, write_run: Write, publish: Publish
) -> None:
    write_run(grown, "step6_move_up", "recipe.epochs=4", "recipe.augment.scale=[0.5,1.0]")
    publish(grown, "--anew")
    results = tmp_path / "results"
    setup = read_setup(read_runs(results)[1])
    assert setup is not None
    assert (setup.problem, setup.values["recipe.epochs"]) == (None, "4")
    page = (results / "README.md").read_text()
    assert "+roadmap=step0_resnet experiment=trial seed=1" in page
    assert "recipe.epochs=4 'recipe.augment.scale=[0.5,1.0]' experiment=trial seed=0" in page
    assert "epochs" not in find_recipe(read_runs(results))["recipe"]
    publish(grown)  # kept runs keep their settings
    shutil.rmtree(grown / "step6_move_up")
    publish(grown)
    assert (results / "README.md").read_text() == page


@pytest.mark.parametrize("words", [("trial", "--output-dir", "results"), ("outputs/trial", "--to", "link")])
def test_run_folders_are_never_hidden_by_a_table_beside_them(
    tmp_path: Path, write_run: Write, call: Call, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """From runs.csv on, commands would read neither them nor later seeds."""
    monkeypatch.chdir(tmp_path)
    for place in ("outputs", "results"):
        write_run(Path(place, "trial"), "step0_resnet")
    Path("link").symlink_to("results/trial")
    refused = call("publish", *words, status=1).err
    target = words[-1] if "--to" in words else "results/trial"
    assert f"error: {target} has step0_resnet/seed0: beside runs.csv, commands would read neither it" in refused
    assert "Name another folder with --to" in refused
    assert [path.name for path in Path("results/trial").iterdir()] == ["step0_resnet"]


def test_a_damaged_configuration_is_one_message(grown: Path, publish: Publish) -> None:
    (config,) = grown.rglob("config.yaml")
    config.write_text("{a: [")
    error = publish(grown, status=1)
    assert error.count("\n") == 1
    assert f"{config} is damaged (" in error


def test_an_image_folder_with_a_name_of_its_own_has_its_command(
    tmp_path: Path, write_run: Write, publish: Publish, call: Call
) -> None:
    """Only the owner sees the images' path; published runs are found by the hash of the trained configuration."""
    trial = tmp_path / "outputs/trial"
    flowers, birds = (
        ("data=imagefolder", f"data.name={name}", f"data.root=/images/{name}", f"data.num_classes={classes}")
        for name, classes in (("flowers", 3), ("birds", 4))
    )
    hashes = [
        write_hashed_run(write_run, trial, "step5_inverted", *flowers),
        write_hashed_run(write_run, trial, "step7_kernel", *birds, "recipe.name=mine", "recipe.epochs=2"),
    ]
    call("report", trial)
    owners = html.unescape((trial / "figures/report.html").read_text())
    assert "data.root=/images/flowers data.num_classes=3 experiment=trial seed=0" in owners
    publish(trial)
    results = tmp_path / "results"
    commands = re.findall(r"^python train.py (.*)$", (results / "README.md").read_text(), re.MULTILINE)
    assert [hash_of(*shlex.split(command), "data.root=/elsewhere") for command in commands] == hashes
    assert [run.config_hash for run in read_runs(results)] == hashes
    setups = [read_setup(run) for run in read_runs(results)]
    assert [setup.problem for setup in setups if setup] == [None, None]
    page = html.unescape((results / "report.html").read_text())
    for command in commands:
        assert command in page
    assert "/images" not in page


def test_a_reference_is_published_with_its_stochastic_depth(
    tmp_path: Path, write_run: Write, publish: Publish
) -> None:
    trial = tmp_path / "outputs/trial"
    config_hash = write_hashed_run(write_run, trial, "swin_tiny", "model.drop_path=0.2", group="reference")
    publish(trial)
    (run,) = read_runs(tmp_path / "results")
    setup = read_setup(run)
    assert setup is not None
    assert (run.config_hash, setup.problem) == (config_hash, None)
    page = (tmp_path / "results/README.md").read_text()
    assert "+reference=swin_tiny model.drop_path=0.2 experiment=trial seed=0" in page


def test_a_run_of_an_earlier_version_has_no_command_and_loses_nothing_else(
    tmp_path: Path, write_run: Write, publish: Publish, call: Call
) -> None:
    trial = tmp_path / "outputs/trial"
    write_run(trial, "step0_resnet", recorded=False)
    publish(trial)
    page = (tmp_path / "results/README.md").read_text()
    assert "Trained by" not in page
    assert "1 of 1 runs recorded no command: an earlier version trained them." in page
    call("report", tmp_path / "results")
    report = (tmp_path / "results/figures/report.html").read_text()
    assert "1 of 1 runs recorded no command" in report
    assert "layer_scale_init" in report
    (setup,) = map(read_setup, read_runs(tmp_path / "results"))
    assert setup is not None
    assert setup.network is not None


def write_hashed_run(write_run: Write, folder: Path, step: str, *words: str, group: str = "roadmap") -> str:
    """Write a run whose summary has the hash of its configuration, and return the hash."""
    run = write_run(folder, step, *words, group=group)
    summary, config_hash = run / "summary.json", hash_of(f"+{group}={step}", *words)
    values = asdict(read_config(compose(f"+{group}={step}", f"experiment={folder.name}", *words)))
    OmegaConf.save(OmegaConf.create(json.loads(json.dumps(values))), run / "config.yaml")
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"config_hash": config_hash}))
    return config_hash


def hash_of(*words: str) -> str:
    return hash_config(asdict(read_config(compose(*words))))
