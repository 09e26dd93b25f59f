"""MLflow and Trackio show a run from their local databases: each epoch once, however often it was stopped."""

import importlib
import re
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from roadmap.errors import RunError
from roadmap.runs.logger_spec import LoggerSpec, WandbMode
from roadmap.runs.run_dir import RunDir

pytestmark = [
    pytest.mark.system,  # MLflow takes seconds to import, and to create its tables
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLAlchemy's, of MLflow
]
OpenRun = Callable[..., RunDir]
FACTS = {"gmacs": 0.5, "paper_top1": None}
SUMMARY = {"step": "step0_resnet", "epochs": 4, "top1": 70.0, "paper_top1": None}


class Shown(NamedTuple):
    """A run as a dashboard's own library reads it."""

    names: list[str]  # of all runs
    status: str
    top1: list[tuple[int, float]]  # epoch and value
    results: dict[str, float]
    config: dict[str, Any]


def read_mlflow(folder: Path) -> Shown:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("roadmap/micro-digits")
    runs = client.search_runs([experiment.experiment_id])
    (run,) = runs
    return Shown(
        [run.info.run_name for run in runs],
        run.info.status,
        [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "top1")],
        {name: value for name, value in run.data.metrics.items() if name.startswith("summary/")},
        run.data.params,
    )


def read_trackio(folder: Path) -> Shown:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    runs = trackio.Api().runs("roadmap")
    logs = SQLiteStorage.get_logs("roadmap", runs[0].name, run_id=runs[0].id)
    results = {name: value for log in logs for name, value in log.items() if name.startswith("summary/")}
    top1 = [(log["step"], log["top1"]) for log in logs if "top1" in log]
    assert runs[0].config["_Group"] == "micro-digits"
    return Shown([run.name.rpartition("-")[0] for run in runs], "FINISHED", top1, results, runs[0].config)


@pytest.mark.parametrize(("name", "read"), [("mlflow", read_mlflow), ("trackio", read_trackio)])
def test_resumed_run_keeps_its_database_entry(
    name: str,
    read: Callable[[Path], Shown],
    open_run: OpenRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    for module in [loaded for loaded in sys.modules if loaded.startswith("trackio")]:
        monkeypatch.delitem(sys.modules, module)  # which reads TRACKIO_DIR once
    open_logger = importlib.import_module(f"roadmap.runs.loggers.{name}").Logger
    spec = LoggerSpec(name, WandbMode.offline, "roadmap", None)
    run = open_run("recipe.epochs=4", "recipe.lr=0.5")
    run.claim()

    def log_epoch(epoch: int) -> None:
        metrics = {"epoch": epoch, "top1": 10.0 * epoch}
        run.log(metrics)
        logger.log(metrics)

    logger = open_logger(spec, run, FACTS)
    log_epoch(1)
    log_epoch(2)
    logger.finish(None)
    run.restore_metrics([{"epoch": 1, "top1": 10.0}])  # of the checkpoint
    logger = open_logger(spec, run, FACTS)
    log_epoch(2)
    run.log({"epoch": 3, "top1": 30.0})  # in a process without a dashboard
    log_epoch(4)
    logger.finish(SUMMARY)

    shown = read(tmp_path)
    assert (shown.names, shown.status) == (["step0_resnet-seed0"], "FINISHED")
    assert shown.top1 == [(1, 10.0), (2, 20.0), (3, 30.0), (4, 40.0)]
    assert shown.results == {"summary/top1": 70.0, "summary/epochs": 4}
    assert (float(shown.config["recipe.lr"]), float(shown.config["gmacs"])) == (0.5, 0.5)
    assert shown.config["step"] == "step0_resnet"
    assert capfd.readouterr().out == ""


def test_mlflow_takes_an_output_folder_of_any_name(
    open_run: OpenRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its database has a URI, in which some characters of a path have a meaning; an error names the path."""
    from roadmap.runs.loggers import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "o?x=1&y%41 100%#ö"
    folder.mkdir()
    run = open_run()
    run.config["output_dir"] = str(folder)
    mlflow.Logger(LoggerSpec("mlflow", WandbMode.offline, "roadmap", None), run, FACTS).finish(SUMMARY)
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        assert database.execute("SELECT name, status FROM runs").fetchall() == [("step0_resnet-seed0", "FINISHED")]
    assert not list(tmp_path.rglob("o/mlflow.db"))
    for plain in (tmp_path / "outputs/mlflow.db", Path("/a b/mlflow.db")):
        assert mlflow.database_uri(plain) == f"sqlite:///{plain}"
    (folder / "mlflow.db").write_text("damaged, and no database")
    with pytest.raises(RunError, match=rf"{re.escape(str(folder))}/mlflow\.db can't be opened \(.*not a database"):
        mlflow.open_database(run)
