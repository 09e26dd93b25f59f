"""What is published tells nothing of the machine or the reader: no folders, no dashboard, no environment."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from fixture_types import Call, Write

from roadmap.analysis.configurations import read_setup
from roadmap.analysis.publish import hide_places, hide_words
from roadmap.analysis.read_runs import read_runs

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


def test_a_published_folder_tells_no_place_and_no_dashboard(tmp_path: Path, write_run: Write, call: Call) -> None:
    """Error texts, overrides of the dashboard, weights that a run began from, and where it is published."""
    folder = tmp_path / "outputs/trial"
    own = ("logger=wandb", "logger.project=my-project", "logger.entity=my-team", "data.cache=/home/me/cache")
    write_run(folder, "step0_resnet", *own, "init_from=/home/me/weights/start.pt", top1=90.0)
    write_run(folder, "step1_stage_ratio", *own, top1=91.0)
    write_run(folder, "step2_patchify", *own, state="failed", error="DataError: /home/me/images/7.png is damaged")
    target = tmp_path / "elsewhere/of/mine"
    call("publish", folder, "--to", target)
    texts = {path: path.read_text(errors="replace") for path in target.rglob("*") if path.is_file()}
    for path, text in texts.items():
        for private in ("/home/me", "my-project", "my-team", str(tmp_path)):
            assert private not in text, path
    assert ".../7.png is damaged" in texts[target / "runs.csv"]
    assert ".../7.png is damaged" in texts[target / "report.html"]
    assert "python scripts/plot_roadmap.py results/mine" in texts[target / "README.md"]


def test_nothing_that_is_read_back_is_resolved(
    tmp_path: Path, write_run: Write, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpolation in any file of a published folder stays text."""
    monkeypatch.setenv("CONVNET_TEST_TOKEN", TOKEN)
    write_run(tmp_path / "trial", "step0_resnet", "data.note=MARK", "init_from=MARK")
    target = tmp_path / "results"
    call("publish", tmp_path / "trial", "--to", target)
    places = ("recipe.yaml", "configs.jsonl", "runs.csv")
    for place in places:
        text = (target / place).read_text()
        assert "MARK" in text
        (target / place).write_text(text.replace("MARK", f"{REFERENCE}-{place}"))
    call("report", target)
    page = (target / "figures/report.html").read_text()
    assert all(f"{REFERENCE}-{place}" in page for place in places)
    assert TOKEN not in page


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["output_dir=/home/me/out", "data.root=/images", "++data.cache=/c", "seed=1"], ["seed=1"]),
        (["logger=wandb", "logger.entity=my-team", "+logger.x=1", "~logger"], []),
        (["--config-dir=/home/me/configs", "hydra.searchpath=[/a/b/own,'pkg://mine']"],
         ["--config-dir=.../configs", "hydra.searchpath=[.../own,'pkg://mine']"]),
        (["init_from=/home/me/start.pt", "init_from=~/x/start.pt"], ["init_from=.../start.pt"] * 2),
        (["init_from='outputs/a/step7_kernel,kernel_size=9/seed0/checkpoint.pt'", "model/norm=layernorm"], None),
    ],
)  # fmt: skip
def test_published_overrides_tell_no_place(words: list[str], shown: list[str] | None) -> None:
    assert hide_words(words) == (words if shown is None else shown)


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
