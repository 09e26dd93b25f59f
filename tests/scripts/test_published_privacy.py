"""What is published tells nothing of the machine or the reader: no folders, no dashboard, no environment."""

import csv
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from roadmap.analysis.publish import hide_places
from roadmap.analysis.read_runs import read_runs
from roadmap.analysis.run_table import write_run_table
from roadmap.cli.run_setups import add_own_settings, find_recipe, read_setup

Load = Callable[[str], ModuleType]
Write = Callable[..., Path]  # writes run folders; see conftest.py
TOKEN = "hunter2"
REFERENCE = "${oc.env:CONVNET_TEST_TOKEN}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("DataError: /home/me/data/x.jpg is damaged", "DataError: .../x.jpg is damaged"),
        ("no file '~/data/val.tar'", "no file '.../val.tar'"),
        (r"C:\Users\me\x.png is bad", ".../x.png is bad"),
        (r"\\server\share\x.png is bad", ".../x.png is bad"),
        ("file:///home/me/x.yaml", ".../x.yaml"),
        ("see https://pytorch.org/docs/a/b.html", "see https://pytorch.org/docs/a/b.html"),
        ("in outputs/trial/seed0: 3/4 of it", "in outputs/trial/seed0: 3/4 of it"),
        ("a is trained by process 12 on box.local; wait", "a is trained by another process; wait"),
        (f"{Path.home()}/x", "~/x"),
    ],
)
def test_an_error_is_told_without_its_places(text: str, shown: str) -> None:
    assert hide_places(text) == shown


def test_a_published_folder_tells_no_place_and_no_dashboard(
    tmp_path: Path, write_run: Write, load_script: Load
) -> None:
    """Error texts, overrides of the dashboard, weights that a run began from, and where it is published."""
    folder = tmp_path / "outputs/trial"
    own = ("logger=wandb", "logger.project=my-project", "logger.entity=my-team", "data.cache=/home/me/cache")
    write_run(folder, "step0_resnet", *own, "init_from=/home/me/weights/start.pt", top1=90.0)
    write_run(folder, "step1_stage_ratio", *own, top1=91.0)
    write_run(folder, "step2_patchify", *own, state="failed", error="DataError: /home/me/images/7.png is damaged")
    target = tmp_path / "elsewhere/of/mine"
    assert load_script("publish").main([str(folder), "--to", str(target)]) == 0
    texts = {path: path.read_text(errors="replace") for path in target.rglob("*") if path.is_file()}
    for path, text in texts.items():
        for private in ("/home/me", "my-project", "my-team", str(tmp_path)):
            assert private not in text, path
    assert ".../7.png is damaged" in texts[target / "runs.csv"]
    assert ".../7.png is damaged" in texts[target / "report.html"]
    assert "python scripts/plot_roadmap.py results/mine" in texts[target / "README.md"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, write_run: Write, load_script: Load) -> Path:
    """The table and the recipe of an experiment that was published."""
    folder = tmp_path_factory.mktemp("outputs") / "trial"
    write_run(folder, "step0_resnet", top1=90.0)
    runs = read_runs(folder)
    target = folder.parent / "results"
    target.mkdir()
    recipe = find_recipe(runs)
    write_run_table(add_own_settings(runs, recipe), target / "runs.csv")
    (target / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return target


@pytest.mark.parametrize("place", ["recipe", "escaped", "settings", "quoted", "group", "variant", "experiment"])
def test_nothing_that_is_read_back_is_resolved(
    tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """An interpolation in any file of a published folder stays text, and the report says why it has no recipe."""
    monkeypatch.setenv("CONVNET_TEST_TOKEN", TOKEN)
    target = Path(shutil.copytree(published, tmp_path / "trial"))
    (setup,) = [read_setup(run) for run in read_runs(target)]
    assert setup is not None
    assert setup.problem is None
    recipe = yaml.safe_load((target / "recipe.yaml").read_text())
    if place == "recipe":
        recipe["data"]["note"] = REFERENCE
    elif place == "escaped":
        recipe["data"]["note"] = "\\\\" + REFERENCE
    (target / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    cells: dict[str, str] = {
        "settings": shlex.join([f"data.note={REFERENCE}"]),
        "quoted": shlex.join(["data.note=" + json.dumps(REFERENCE).replace("$", "\\x24")]),
        "group": shlex.join([f"regime={REFERENCE}"]),
        "variant": "kernel_size=$\\{oc.env\\:CONVNET_TEST_TOKEN\\}",
        "experiment": REFERENCE,
    }
    column = {"quoted": "settings", "group": "settings"}.get(place, place)
    if place in cells:
        with (target / "runs.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row[column] = cells[place]
        with (target / "runs.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    (setup,) = [read_setup(run) for run in read_runs(target)]
    assert setup is not None
    assert "is an interpolation, which is not resolved" in str(setup.problem)
    assert TOKEN not in str(setup)


def test_a_runs_own_configuration_is_not_resolved_either(
    tmp_path: Path, write_run: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVNET_TEST_TOKEN", TOKEN)
    run = write_run(tmp_path / "trial", "step0_resnet")
    values: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text())
    values["recipe"]["lr"] = REFERENCE
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    (found,) = read_runs(tmp_path / "trial")
    assert TOKEN not in str(read_setup(found))
