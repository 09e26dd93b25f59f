"""A series ends by its deadline with all records, and the same command continues it."""

import json
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from roadmap.cli import series as command
from roadmap.cli.add_records import describe_ends
from roadmap.cli.series import count_networks
from roadmap.config.series import check_networks, read_series, read_series_state

ROOT = Path(__file__).parents[2]
SERIES = """\
name: dry
note: Drawn by a test.
jobs: 2
overrides: [data=digits, recipe=short, recipe.warmup_epochs=0, regime.width.resnet=8, regime.width.modern=8]
ends:
  minutes: 10
  first: step1_stage_ratio
  last: step12_downsample
  others: []
  stem_strides: [2, 1]
  rates: [0.004]
  overrides: [data.holdout=300, recipe.epochs=1]
steps:
  seeds: 1
  seeds_to_fit: 1
  least_epochs: 1
  most_epochs: 1
  overrides: []
"""
# Replaces train.py: starts a run, and until it is stopped, or forever, does what its file says.
TRAIN = """\
import json, signal, sys, time
from pathlib import Path
here = Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
output_dir = Path(next(word for word in sys.argv if word.startswith("output_dir=")).partition("=")[2])
done = (here / "plan").read_text()
for step in ("step1_stage_ratio", "step12_downsample") if done != "refuse" else ():
    for stride, top1 in ((2, 70.0), (1, 80.0)):
        run = output_dir / f"dry-ends-s{stride}-lr0.004" / step / "seed0"
        run.mkdir(parents=True, exist_ok=True)
        identity = {"step": step, "step_index": 1, "label": step, "variant": {}, "reference": None, "seed": 0}
        identity |= {"experiment": "dry", "regime": "micro", "data": "digits", "recipe": "short"}
        (run / "state.json").write_text(json.dumps({"state": "done", "error": None, "identity": identity}))
        if done == "finish":
            top1 += stride * (step == "step12_downsample")
            summary = identity | {"top1": top1, "best_top1": top1, "gmacs": 1, "parameters": 1}
            summary |= {"seconds": 1, "epochs": 1}
            (run / "summary.json").write_text(json.dumps(summary))
if done == "go on":
    signal.signal(signal.SIGTERM, lambda *_: ((here / "stopped").touch(), sys.exit(0)))
    time.sleep(60)
sys.exit(done == "refuse")
"""


@pytest.fixture
def series(tmp_path: Path) -> Path:
    (tmp_path / "series.yaml").write_text(SERIES)
    return tmp_path


@pytest.fixture
def run_series(series: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    (series / "train.py").write_text(TRAIN)
    check_networks(series / "series.yaml", read_series(series / "series.yaml"))  # cached, before seconds count
    for name, value in (
        ("started", lambda _, *words: [sys.executable, str(series / "train.py"), *words]),
        ("GRACE_S", 1.5),
        ("ARCHIVE_S", 0.5),
        ("RECORDS_EVERY_S", 0.2),
    ):
        monkeypatch.setattr(command, name, value)

    def run(plan: str, seconds: int, *overrides: str, device: str = "cpu") -> int:
        (series / "plan").write_text(plan)
        words = [str(series / "series.yaml"), *overrides, "--seconds", str(seconds), "--device", device]
        return command.main([*words, "--records", f"{series}/records.tgz", "--output-dir", f"{series}/outputs"])

    return run


def calls(series: Path) -> list[list[str]]:
    return [json.loads(line) for line in (series / "calls").read_text().splitlines()]


def records(series: Path) -> set[str]:
    with tarfile.open(series / "records.tgz") as archive:
        return set(archive.getnames())


def test_the_deadline_ends_a_phase_and_the_same_command_goes_on(
    series: Path, run_series: Callable[..., int]
) -> None:
    started = time.monotonic()
    assert run_series("go on", 4) == 0
    assert time.monotonic() - started < 15  # on a busy machine; the runs would take 60
    assert (series / "stopped").exists()
    assert "dry-ends-s2-lr0.004/step1_stage_ratio/seed0/state.json" in records(series)
    (first,) = calls(series)
    assert first[:2] == ["-m", "data.stem_stride=2,1"]
    assert first[-2:] == ["hydra/launcher=processes", "hydra.launcher.n_jobs=2"]
    assert {"hardware.device=cpu", "hardware.precision=fp32"} < set(first)

    assert run_series("finish", 60) == 0
    _, again, steps = calls(series)
    assert again == first
    assert steps[1:3] == ["seed=0", "+sweep=roadmap"]
    assert {"data.stem_stride=2", "recipe.lr=0.004", "recipe.epochs=1", "experiment=dry-steps"} < set(steps)
    state = json.loads((series / "outputs/dry-series.json").read_text())
    assert "(gap +2.00 points, the largest" in state["choice"]["reason"]
    assert {"dry-series.json", "dry-ends-s1-lr0.004/step12_downsample/seed0/summary.json"} < records(series)

    assert run_series("finish", 60) == 0
    assert calls(series)[3:] == [steps]


def test_a_damaged_state_is_named(
    series: Path, run_series: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (series / "outputs").mkdir()
    (series / "outputs/dry-series.json").write_text('{"jobs": 2, "cores": 2, "note": "", "choice": "first"}')
    assert run_series("finish", 60) == 1
    assert re.search(r"dry-series\.json is damaged \(choice=first: must be a group", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("old", "new", "overrides", "difference"),
    [
        ("rates: [0.004]", "rates: [0.01]", (), "ends.rates: [0.004] -> [0.01]"),
        ("least_epochs: 1", "least_epochs: 0x1", (), None),
        ("most_epochs: 1", "most_epochs: 5", (), "steps.most_epochs: 1 -> 5"),
        ("recipe=short", "recipe=cifar10", (), "overrides: ['data=digits', 'recipe=short', "),
        ("", "", ("recipe.label_smoothing=0",), "the command's overrides: [] -> ['recipe.label_smoothing=0']"),
        ("jobs: 2", "jobs: 1", ("hardware.graphs=false", "data.root=/images", "logger=wandb"), None),
        ("minutes: 10", "minutes: 9", (), None),
    ],
)
def test_a_series_goes_on_only_with_the_settings_that_it_was_begun_with(
    *,
    old: str,
    new: str,
    overrides: tuple[str, ...],
    difference: str | None,
    series: Path,
    run_series: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What results do not depend on, such as concurrent runs and the machine, may change."""
    assert run_series("finish", 60) == 0
    before = calls(series)
    (series / "series.yaml").write_text(SERIES.replace(old, new))
    capsys.readouterr()
    assert run_series("finish", 60, *overrides) == (difference is not None)
    error = capsys.readouterr().err
    if difference is None:
        assert "all steps at stem stride 2 and rate 0.004" in error
        return
    assert f"dry-series.json: the series dry was begun with other settings: {difference}" in error
    assert "under another name: in the file, or another --output-dir" in error
    assert calls(series) == before


def test_a_rehearsal_on_the_cpu_is_not_mixed_with_runs_of_a_gpu(
    run_series: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_series("finish", 60) == 0
    assert run_series("finish", 60, device="cuda") == 1
    assert "begun with other settings: the device: cpu -> of the machine. Go on with" in capsys.readouterr().err


def test_a_series_that_began_no_run_takes_a_corrected_file(series: Path, run_series: Callable[..., int]) -> None:
    (series / "series.yaml").write_text(SERIES.replace("recipe=short", "recipe=shrt"))
    assert run_series("refuse", 60) == 1
    (series / "series.yaml").write_text(SERIES)
    assert run_series("finish", 60) == 0


def test_an_end_whose_runs_have_another_name_is_refused_before_the_first_run(
    series: Path, run_series: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if an override of the command gives them that name. Its finished runs would not be found."""
    assert run_series("finish", 60, "model/norm=layernorm") == 1
    assert "ends.first=step1_stage_ratio: its runs have the name step1_stage_ratio,norm=layernorm: write" in (
        capsys.readouterr().err
    )
    assert not (series / "calls").exists()


def test_the_steps_of_another_roadmap_are_counted_and_named(series: Path) -> None:
    """A run's folder has the step's name alone."""
    text = SERIES.replace("step1_", "bag_of_tricks/step1_").replace(
        "step12_downsample", "bag_of_tricks/step6_mixup"
    )
    (series / "series.yaml").write_text(text.replace("stage_ratio", "resnet_b"))
    spec = read_series(series / "series.yaml")
    assert count_networks(spec.steps_overrides(2, 0.004, 1)) == 13
    steps = replace(spec.steps, overrides=("sweep.roadmap=bag_of_tricks",))
    assert count_networks(replace(spec, steps=steps).steps_overrides(2, 0.004, 1)) == 7
    assert spec.ends.names == ("step1_resnet_b", "step6_mixup")


def test_records_are_archived_while_runs_go_on(series: Path) -> None:
    """Even if the series is killed, the latest records are there."""
    (series / "train.py").write_text(TRAIN)
    (series / "plan").write_text("go on")
    program = (
        "import runpy, sys; main, train = runpy.run_path(sys.argv.pop(1))['main'], sys.argv.pop(1)\n"
        "start = lambda _, *words: [sys.executable, train, *words]\n"
        "main.__wrapped__.__globals__.update(started=start, RECORDS_EVERY_S=0.2)\n"
        "main()"
    )
    words = ["series.yaml", "--seconds", "60", "--records", "records.tgz", "--output-dir", "outputs"]
    command = [sys.executable, "-c", program, str(ROOT / "scripts/run_series.py"), str(series / "train.py"), *words]
    with subprocess.Popen(command, cwd=series, env=os.environ | {"PYTHONPATH": str(ROOT)}) as process:
        for _ in range(300):
            if (series / "records.tgz").exists() and len(records(series)) == 5:
                break
            time.sleep(0.1)
        process.terminate()
        assert process.wait(30) == 0
    assert (series / "stopped").exists()


def test_a_refused_command_is_an_error(run_series: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_series("refuse", 60) == 1
    error = capsys.readouterr().err
    assert "error: train.py began no run; its message is above" in error
    assert "train.py ended with status 1" in error


def test_nothing_is_chosen_from_a_command_that_was_refused(
    series: Path, run_series: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of ends that an earlier command began, the steps' setting would be that of the few that were done."""
    assert run_series("go on", 3) == 0
    assert run_series("refuse", 60) == 1
    assert "error: train.py began no run; its message is above" in capsys.readouterr().err
    assert json.loads((series / "outputs/dry-series.json").read_text())["choice"] is None


def test_the_records_name_the_overrides_that_reproduce_the_runs(
    series: Path, run_series: Callable[..., int]
) -> None:
    """The file's, the command's and the device's, without places of the machine."""
    own = ("recipe.label_smoothing=0", "init_from=/home/me/weights.pt", "data.root=/images", "data.cache=/fast")
    assert run_series("finish", 60, *own) == 0
    recorded = [
        "recipe.label_smoothing=0",
        "init_from=.../weights.pt",
        "hardware.device=cpu",
        "hardware.precision=fp32",
    ]
    state = read_series_state(series / "outputs/dry-series.json")
    assert state is not None
    for sweep in (state.sweeps.ends, state.sweeps.steps):
        assert list(sweep[-4:]) == recorded
    assert "/home/me" not in str(state)
    (series / "comparison.md").write_text("The table.")
    assert f" {' '.join(recorded)}\n```" in describe_ends(series, state, [])


@pytest.mark.system
def test_a_series_on_the_cpu_from_its_ends_to_a_page_of_results(series: Path) -> None:
    """The GPU's command, on digits and a roadmap of seven steps: stopped by its deadline, continued, published."""
    text = (series / "series.yaml").read_text()
    for old, new in (
        ("step1_stage_ratio", "bag_of_tricks/step0_original_resnet"),
        ("step12_downsample", "bag_of_tricks/step6_mixup"),
        ("  overrides: []", "  overrides: [sweep.roadmap=bag_of_tricks]"),
    ):
        text = text.replace(old, new)
    (series / "series.yaml").write_text(text)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def call(script: str, *words: str) -> str:
        command = [sys.executable, str(ROOT / "scripts" / script), *words]
        result = subprocess.run(command, cwd=series, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    words = ("series.yaml", "--records", "records.tgz", "--device", "cpu")
    started = time.monotonic()
    call("run_series.py", *words, "--seconds", "24")
    assert time.monotonic() - started < 60  # on a busy machine
    call("run_series.py", *words, "--seconds", "3600")  # on a busy machine; two minutes on an idle one
    names = records(series)
    assert sum(name.endswith("summary.json") for name in names) == 4 + 7
    assert not any("checkpoint" in name for name in names)
    printed = call("add_records.py", "records.tgz")
    assert printed.split() == ["results/dry-ends/README.md", "results/dry-steps/README.md"]
    ends, steps = (Path(series / page).read_text() for page in printed.split())
    assert "| dry-ends-s1-lr0.004 | 1 |" in ends
    for page in (ends, steps):
        assert "2 runs at a time" in page
        assert "Drawn by a test." in page
    assert "step3_resnet_d" in steps
    chosen = json.loads((series / "outputs/dry-series.json").read_text())["choice"]["reason"]
    assert "points, the largest over stem strides" in chosen
    assert (series / "results/dry-steps/figures/transfer.svg").exists()
    (series / "results/dry-steps/README.md").write_text(steps + "Mine.\n")
    call("add_records.py", "records.tgz")
    assert (series / "results/dry-steps/README.md").read_text() == steps + "Mine.\n"
