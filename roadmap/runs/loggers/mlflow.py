"""MLflow: an MLflow experiment per experiment, in which a run is named by its step and seed.

Without MLFLOW_TRACKING_URI, all runs write to `mlflow.db` in the output folder. A resumed run is found by its tag
and goes on as the same run; MLflow keeps every value of a metric, so epochs that it has are not sent again.
"""

import logging
import os
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read on import; else MLflow reports its use to a server

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME
from mlflow.utils.validation import MAX_PARAMS_TAGS_PER_BATCH
from sqlalchemy.engine import make_url

from roadmap.errors import RunError
from roadmap.runs.logger_spec import LoggerSpec
from roadmap.runs.loggers import SUMMARY_PREFIX, ResumingLogger, describe_error, numbers, run_parameters
from roadmap.runs.run_dir import RunDir
from roadmap.system.lock import Lock

ID_TAG = "roadmap.id"  # MLflow chooses the ids of its runs; this is ours


class Logger(ResumingLogger):
    """Curves by epoch, the configuration and the facts as parameters, and at the end the summary's numbers.

    Raises:
        Exception: whatever MLflow raises if its database or server cannot be used.
    """

    def __init__(self, spec: LoggerSpec, run: RunDir, facts: Mapping[str, Any]):
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # not a line for each table that it creates
        self._client = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or open_database(run))
        experiment = self._open_experiment(f"{spec.project}/{run.identity.experiment}")
        found = self._client.search_runs([experiment], f"tags.`{ID_TAG}` = '{run.dashboard_id()}'", max_results=1)
        if found:
            self.run = found[0]
            self._client.update_run(self.run.info.run_id, status=RunStatus.to_string(RunStatus.RUNNING))
        else:
            self.run = self._create(experiment, run, facts)
        super().__init__(run, logged=int(self.run.data.metrics.get("epoch", 0)))

    def log_epoch(self, metrics: Mapping[str, Any]) -> None:
        self._log(metrics, metrics["epoch"])

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        if summary is not None:
            self.log_rest()
            self._log({f"{SUMMARY_PREFIX}{name}": value for name, value in summary.items()}, summary["epochs"])
        status = RunStatus.FINISHED if summary is not None else RunStatus.FAILED
        self._client.set_terminated(self.run.info.run_id, RunStatus.to_string(status))

    def _open_experiment(self, name: str) -> str:
        """Return the id of the experiment, which another process may create at the same moment."""
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        return str(found.experiment_id)

    def _create(self, experiment: str, folder: RunDir, facts: Mapping[str, Any]) -> Any:
        identity = folder.identity
        tags = {ID_TAG: folder.dashboard_id(), MLFLOW_SOURCE_NAME: str(folder.path)}
        run = self._client.create_run(experiment, tags=tags, run_name=f"{identity.name}-seed{identity.seed}")
        params = [Param(name, str(value)) for name, value in run_parameters(folder, facts).items()]
        for start in range(0, len(params), MAX_PARAMS_TAGS_PER_BATCH):
            self._client.log_batch(run.info.run_id, params=params[start : start + MAX_PARAMS_TAGS_PER_BATCH])
        return run

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value in numbers(values).items()]
        self._client.log_batch(self.run.info.run_id, metrics=metrics)


def open_database(run: RunDir) -> str:
    """Return the URI of the database in the output folder, which is created if there is none.

    MLflow creates its tables in many steps, and a second process that starts in between leaves a database that no
    process can open. So one process creates it under another name, and it appears when it is complete.

    Raises:
        RunError: it cannot be created or opened; names its path.
    """
    database = Path(run.config["output_dir"]).resolve() / "mlflow.db"
    try:
        with closing(Lock(database.with_name(".mlflow.lock"))) as lock:
            lock.acquire(wait=True)
            if not database.exists():
                new = database.with_name(".mlflow.new.db")
                new.unlink(missing_ok=True)  # of a process that was killed
                _try(new)
                new.replace(database)
        return _try(database)
    except Exception as error:
        raise RunError(f"{database} can't be opened ({describe_error(error)})") from error


def _try(database: Path) -> str:
    """Open a database, which creates its tables if it has none, and return its URI."""
    uri = database_uri(database)
    MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    return uri


def database_uri(database: Path) -> str:
    """Return the URI of a path for SQLAlchemy; its versions before 2.1 take none with a question mark."""
    quoted = str(database).replace("%", "%25").replace("?", "%3F")
    uris = [f"sqlite:///{path}" for path in (database, quoted)]
    found = [uri for uri in uris if not (url := make_url(uri)).query and url.database == str(database)]
    if not found:
        raise ValueError("no URI of SQLAlchemy names this path: choose an output_dir without ? and %")
    return found[0]
