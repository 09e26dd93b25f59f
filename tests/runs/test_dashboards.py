"""Dashboards mirror runs and experiments: W&B works without a network, and none is needed without its library."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roadmap.runs.metrics import read_metrics

ROOT = Path(__file__).parents[2]
SHOWN = ("step", "step_index", "gmacs", "parameters", "top1", "best_top1", "top5", "images_per_s", "paper_top1")
WORDS = (
    "+roadmap=step7_kernel",
    "model/kernel_size=5",
    "regime.width.modern=8",
    "recipe.epochs=12",
    "recipe.warmup_epochs=0",
    "seed=3",
    "logger=wandb",
    "logger.project=trial",
)
IMPATIENT = """
import runpy
from roadmap.runs.loggers import wandb
wandb.SETTINGS["init_timeout"] /= 10
runpy.run_path("train.py", run_name="__main__")
"""


def run_python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def start_and_wait_for_epochs(count: int, output_dir: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a training, wait until its own files have this many epochs, and return it with its folder."""
    process = subprocess.Popen(
        [sys.executable, "train.py", *WORDS, f"output_dir={output_dir}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = output_dir / "micro-digits/step7_kernel,kernel_size=5/seed3"
    end = time.monotonic() + 300
    while not (folder / "metrics.jsonl").exists() or len(read_metrics(folder)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
    return process, folder


@pytest.fixture(scope="module")
def kernel_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run that W&B logged offline, and that was killed and resumed."""
    outputs = tmp_path_factory.mktemp("outputs")
    process, folder = start_and_wait_for_epochs(3, outputs)
    process.kill()
    process.communicate()
    assert run_python("train.py", *WORDS, f"output_dir={outputs}").stderr == ""
    return folder


@pytest.fixture(scope="module")
def shown(kernel_run: Path) -> dict[str, Any]:
    return inspect(kernel_run)


def inspect(folder: Path) -> dict[str, Any]:
    """Return state, configuration and summary of the single run logged offline into a folder, and its records."""
    (log,) = folder.glob("wandb/offline-run-*/*.wandb")
    leet = ("-m", "wandb", "leet", "inspect", "--json", str(log))
    records = [json.loads(line) for line in run_python(*leet).stdout.splitlines()]
    return {**json.loads(run_python(*leet, "--summary").stdout), "records": records}


def run_record(shown: dict[str, Any]) -> dict[str, Any]:
    (run,) = [record["run"] for record in shown["records"] if record["type"] == "run"]
    return run


@pytest.mark.system  # two starts with W&B's service: 40 s
def test_wandb_offline_shows_a_resumed_run_once(kernel_run: Path, shown: dict[str, Any]) -> None:
    summary = json.loads((kernel_run / "summary.json").read_text())
    assert {key: shown["summary"][key] for key in SHOWN} == pytest.approx({key: summary[key] for key in SHOWN})
    assert (summary["step"], summary["step_index"], summary["paper_top1"]) == ("step7_kernel", 7, 80.35)
    assert (shown["state"], shown["exit_code"]) == ("finished", 0)
    assert (shown["name"], shown["project"]) == ("step7_kernel,kernel_size=5-seed3", "trial")
    assert shown["tags"] == ["micro", "digits", "short"]
    assert shown["summary"]["epoch"] == 12
    assert shown["config"]["model"]["kernel_size"] == 5
    assert shown["config"]["recipe"]["epochs"] == 12
    assert sum(record["type"] == "history" for record in shown["records"]) == 12
    (log,) = kernel_run.glob("wandb/offline-run-*/*.wandb")
    assert log.stem == f"run-{json.loads((kernel_run / 'state.json').read_text())['dashboard_id']}"


def dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every dictionary in a nested value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from dictionaries(item)


def named_keys(pages: Any) -> Iterator[tuple[str, str]]:
    """Yield every run key in the specification of a workspace or report: its section and its name."""
    for node in dictionaries(pages):
        if node.keys() == {"section", "name"}:  # in a filter, a group or an order
            yield node["section"], node["name"]
        if "groupBy" in node:
            yield "config", node["groupBy"]
        yield from (("history", name) for name in node.get("metrics", ()))
        for field in ("xAxis", "yAxis", "columnOrder", "columnPinned", "columnVisible"):
            names = node.get(field, [])
            for name in [names] if isinstance(names, str) else names:
                section, _, key = name.rpartition(":")
                yield section or "history", key


def logged_keys(shown: dict[str, Any]) -> set[tuple[str, str]]:
    """Return every key that a run logged. W&B's app has a `value` between a configuration's key and its content."""
    config = {(key, *rest) for key, value in shown["config"].items() for rest in nested_keys(value)}
    history = {key for record in shown["records"] for key in record.get("history", {}).get("item", {})}
    return {
        *(("config", ".".join([key, "value", *rest])) for key, *rest in config),
        *(("history", key) for key in history),
        *(("summary", key) for key in shown["summary"]),
    }


def nested_keys(value: Any) -> Iterator[tuple[str, ...]]:
    if not isinstance(value, dict):
        yield ()
    else:
        yield from ((key, *rest) for key, item in value.items() for rest in nested_keys(item))


@pytest.mark.system  # of the run above: 3 s
def test_dashboard_keys_are_logged_by_runs(shown: dict[str, Any]) -> None:
    pages = json.loads(
        run_python("scripts/wandb_dashboard.py", "team/trial", "--experiment", "micro-digits", "--print").stdout
    )
    named = set(named_keys(pages))
    assert {section for section, _ in named} == {"config", "history", "run", "summary"}
    assert {key for key in named if key[0] != "run"} - logged_keys(shown) == set()
    assert {name for section, name in named if section == "run"} == {"jobType", "group", "state", "displayName"}
    # Each filter lets this run through.
    run = run_record(shown)
    values = {
        "jobType": run["job_type"],
        "group": run["run_group"],
        "state": shown["state"],
        "step": "step7_kernel",
    }
    filters = {(node["key"]["name"], node["value"]) for node in dictionaries(pages) if "op" in node}
    assert filters == set(values.items())


@pytest.mark.system  # draws figures and a report: 10 s
def test_experiment_is_logged_and_synced_with_its_runs(kernel_run: Path, tmp_path: Path) -> None:
    experiment = kernel_run.parents[1]
    said = run_python("scripts/wandb_experiment.py", str(experiment), WANDB_DATA_DIR=str(tmp_path)).stdout
    shown = inspect(experiment)
    assert (shown["state"], shown["project"], shown["name"]) == ("finished", "trial", "micro-digits-aggregate")
    run = run_record(shown)
    assert (run["job_type"], run["run_group"]) == ("aggregate", "micro-digits")

    (files,) = experiment.glob("wandb/offline-run-*/files")
    (table,) = [json.loads(path.read_text()) for path in files.glob("media/table/*.json")]
    row = dict(zip(table["columns"], *table["data"], strict=True))
    assert (row["step"], row["n"], row["top1_std"]) == ("step7_kernel,kernel_size=5", 1, None)
    assert row["top1_mean"] == json.loads((kernel_run / "summary.json").read_text())["top1"]
    for kind, name in (("html", "report.html"), ("images/figures", "roadmap.png")):
        (media,) = files.glob(f"media/{kind}/*")
        assert media.read_bytes() == (experiment / "figures" / name).read_bytes()
    artifacts = {
        record["artifact"]["name"]: record["artifact"] for record in shown["records"] if "artifact" in record
    }
    kept = {entry["path"] for entry in artifacts["roadmap-micro-digits"]["manifest"]["contents"]}
    assert kept == {path.name for path in (experiment / "figures").iterdir()}

    sync = f"{sys.executable} -m wandb sync --dry-run"
    command = said.splitlines()[-1].removeprefix("to send it and the runs: ").replace("wandb sync", sync)
    sent = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert {Path(line.split()[-1]) for line in sent.splitlines() if line.endswith(".wandb")} == {
        *kernel_run.glob("wandb/offline-run-*/*.wandb"),
        *experiment.glob("wandb/offline-run-*/*.wandb"),
    }


@pytest.mark.system  # 20 s
def test_failing_dashboard_warns_once(tmp_path: Path) -> None:
    process, folder = start_and_wait_for_epochs(2, tmp_path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (service,) = [int(pid) for pid in children if b"wandb-core" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(service, signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    assert errors.count("warning: logger=wandb is left out from here on: ") == len(errors.splitlines()) == 1
    assert len(read_metrics(folder)) == 12


@pytest.mark.system  # 20 s: it waits for the server
def test_unreachable_server_does_not_stop_training(tmp_path: Path) -> None:
    done = run_python(
        *("-c", IMPATIENT, *WORDS, "logger.mode=online", "recipe.epochs=1", f"output_dir={tmp_path}"),
        WANDB_BASE_URL="http://127.0.0.1:9",
        WANDB_API_KEY="0" * 40,
        WANDB_MODE="online",
    )
    assert done.stderr.count("warning: logger=wandb is left out from here on: ") == 1
    assert "step7_kernel,kernel_size=5 seed 3: top-1 " in done.stdout
