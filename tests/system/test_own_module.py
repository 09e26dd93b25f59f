"""The walk-through of docs/extend.md, from its own text: parts of one's own from a folder outside."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from roadmap.config import plan_runs, read_search_path, use
from roadmap.errors import ConfigError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/extend.md").read_text()
SHORT = ["recipe.epochs=1", "recipe.warmup_epochs=0"]


def run(folder: Path, *words: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "roadmap.cli", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the walk-through."""
    for text in re.findall(r"```(?:python|yaml)\n(# mine/.*?)```", PAGE, flags=re.DOTALL):
        path = tmp_path / text.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.partition("\n")[2])
    return tmp_path


def test_example_axis_takes_two_files_and_forty_lines(folder: Path) -> None:
    files = [folder / "mine/squeeze.py", folder / "mine/roadmap/step13_se.yaml"]
    assert sum(len(path.read_text().splitlines()) for path in files) < 40


@pytest.mark.system  # seven short trainings: a minute
def test_example_axis_appears_in_figure_and_report(folder: Path) -> None:
    run(folder, "train", "+roadmap=step12_downsample", *SHORT)  # before the axis exists
    (block,) = re.findall(r"```bash\n(convnet-roadmap train -m.*?)```", PAGE, flags=re.DOTALL)
    outputs = []
    for line in block.splitlines():
        words = shlex.split(line)[1:]
        outputs.append(run(folder, *words, *(SHORT if words[0] == "train" else [])))
    assert "seed0: done already" in outputs[0]  # the axis has orphaned no run
    experiment = folder / "outputs/micro-digits"
    assert {path.name for path in experiment.iterdir()} >= {"step12_downsample,squeeze=se", "step13_se"}
    assert "squeeze-excite" in (experiment / "figures/roadmap.svg").read_text()
    assert re.search(r"squeeze +se +\d", outputs[3])
    report = (experiment / "figures/report.html").read_text()
    assert ", SE" in report
    assert "no diagram" not in report
    # Without the module, what it has not changed is read as before.
    assert "step12_downsample" in run(folder, "train", "+roadmap=step12_downsample", *SHORT)
    (folder / "mine/squeeze.py").unlink()
    assert "squeeze can't be imported" in run(folder, "plot")


@pytest.mark.system  # a short training
def test_registered_choice_data_set_and_logger_train_a_network(folder: Path) -> None:
    (line,) = re.findall(r"```bash\nconvnet-roadmap (train --config-dir.*?)```", PAGE, flags=re.DOTALL)
    run(folder, *shlex.split(line), *SHORT)
    experiment = folder / "outputs/micro-stripes"
    assert (experiment / "step12_downsample,norm=groupnorm/seed0/epochs.csv").read_text().startswith("1,")
    assert "norm=groupnorm" in run(folder, "plot", "micro-stripes")  # which finds the module by itself


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["modules=[sqeeze]"], "modules: sqeeze can't be imported (ModuleNotFoundError: No module named 'sqeeze')"),
        (["modules=squeeze"], "modules=squeeze: must be a list of modules, as in 'modules=[mine]'"),
        (["+roadmap=step13_se"], "there is no model/squeeze/se. No file has its group, and no module in use"),
    ],
)
def test_mistakes_are_one_line_with_a_way_out(
    folder: Path, words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which a folder of modules is added
    with pytest.raises(ConfigError) as caught, use(read_search_path(words, str(folder / "mine"))):
        plan_runs(words, is_sweep=False)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
