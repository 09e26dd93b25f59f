"""A mistyped command fails at once: with the allowed values, exit status 1, and no slow import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "timm", "torchvision", "wandb", "scipy", "matplotlib")
# Runs train.py in one process for each command of a JSON list.
PROGRAM = """
import contextlib, io, json, runpy, sys
answers = []
for words in json.loads(sys.stdin.read()):
    sys.argv = ["train.py", *words]
    with contextlib.redirect_stderr(io.StringIO()) as error, contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            runpy.run_path("train.py", run_name="__main__")
        except SystemExit as end:
            status = end.code
    answers.append([status, out.getvalue(), error.getvalue(), sorted(set(HEAVY) & sys.modules.keys())])
print(json.dumps(answers))
"""
COMMANDS = (
    (["+roadmap=step5"], "Allowed: original, step0_resnet, step1_stage_ratio, step2_patchify, "),
    (["regime=resnet18"], "micro, nano, pico, resnet50, resnet200"),
    (["data=mnist"], "Allowed: cifar10, cifar10_stride4, cifar100, digits, imagefolder, imagenet, small_images"),
    (["recipe.learning_rate=1"], "Allowed in recipe: name, epochs, total_batch, optimizer, lr, "),
    (["model/kernel=7"], "Allowed: model/activation, model/activation_count, "),
    (["logger=neptune"], "Allowed: mlflow, none, tensorboard, trackio, wandb"),
    (["logger.name=neptune"], "Allowed: mlflow, none, tensorboard, trackio, wandb"),
    (["data=imagefolder"], "no value yet for data.root: give one"),
    (["recipe.total_batch=100", "hardware.per_device_batch=30"], "take 25 or 50"),
    (["seed=1,2"], "seed=1,2 names several values"),
    (["-m", "+roadmap=step0_resnet,step99"], "roadmap=step99: there is no such choice."),
    (["-m", "+roadmap=glob(stage*)"], "glob() found no name that fits"),
    (["-m", "+roadmap=step0_resnet,step12_downsample", "data.image_size=8"], "would see 4, 2, 1, 0 pixels"),
    (["-m", "+sweep=leave_one_ot"], "Did you mean leave_one_out? Allowed: add_one_in, factorial, groups, "),
    (["+sweep=shapley"], " networks; runs over all of them take -m"),
    (
        ["data=imagefolder", "data.root=/none", "data.num_classes=2"],
        "there is no data folder /none; expected train/",
    ),
    (["-m", "data=imagefolder", "data.root=/none"], "error: there is no data folder /none; expected train/CLASS/*"),
    (["data=imagefolder", "data.root=IMAGES", "data.num_classes=4"], "has 2 classes (cat, dog), the configuration"),
    (["experiment=[1,2]"], "experiment=[1, 2]: must be a string"),
    (["experiment='[red]'", "data=imagefolder", "data.root='[b]'", "data.num_classes=2"], "/[b];"),
    (["--config-dir", "nowhere"], "--config-dir nowhere: there is no such folder"),
    (["--config-name", "exp9"], "--config-name exp9: there is no exp9.yaml in "),
    (["--config-path", "mine"], "--config-dir mine adds a folder of your own"),
    (["--experimental-rerun", "x.pickle"], "a run goes on by its command"),
    (["hydra.searchpath=[file:///nowhere]"], "hydra.searchpath: there is no /nowhere"),
    (["hydra.searchpath=mine"], "must be a list of folders, as in 'hydra.searchpath=[file:///PATH]'"),
    (["hydra.job.chdir=true"], "leave it out"),
    (["-m", "hydra/sweeper=none_such"], "hydra/sweeper=none_such: no such choice."),
    (["-m", "hydra.verbose=true,false"], "a sweep is over a run's keys, not over Hydra's own"),
    (["-m", "--cfg", "job"], "--multirun --cfg: only one of them can be given"),
    (["--resolve"], "--resolve goes with --cfg"),
    (["--cfg", "job", "recipe=none_such"], "recipe=none_such: there is no such choice."),
    (["step.name=.hidden"], "step.name=.hidden: must be the name of one folder"),
    (["experiment=.hidden"], "experiment=.hidden: must be the name of one folder"),
    (["step.name='a,b'"], "so a step has none"),
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str, list[str]]]:
    outputs, images = tmp_path_factory.mktemp("outputs"), tmp_path_factory.mktemp("images")
    for name in ("train/cat", "train/dog", "val/cat", "val/dog"):
        (images / name).mkdir(parents=True)
    commands = [
        [*(word.replace("IMAGES", str(images)) for word in overrides), f"output_dir={outputs}"]
        for overrides, _ in COMMANDS
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("HEAVY", repr(HEAVY))],
        input=json.dumps(commands),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not list(outputs.iterdir())
    return {
        " ".join(overrides): answer
        for (overrides, _), answer in zip(COMMANDS, json.loads(done.stdout), strict=True)
    }


@pytest.mark.parametrize(("overrides", "part"), COMMANDS, ids=[" ".join(overrides) for overrides, _ in COMMANDS])
def test_the_answer(answers: dict[str, tuple[int, str, str, list[str]]], overrides: list[str], part: str) -> None:
    status, out, error, heavy = answers[" ".join(overrides)]
    assert (status, out, heavy) == (1, "", [])
    assert error.startswith("error: ")
    assert part in error
    assert "Traceback" not in error
