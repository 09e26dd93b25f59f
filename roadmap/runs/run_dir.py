"""A run's folder: its configuration, state and results, in files that do not depend on any service.

outputs/EXPERIMENT/STEP[,variant]/seedN/
    config.yaml     the resolved configuration
    overrides.yaml  the words of `python train.py` that it was last started with
    state.json      pending, running, done, failed (with the error) or interrupted; commit, host and process
    metrics.jsonl   one line per epoch, appended during training
    summary.json    after the run is done
    checkpoint.pt   the state of training; checkpoint.previous.pt the one before, until the run is done;
                    checkpoint.damaged.pt an unusable one that was replaced by the one before
"""

import contextlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from roadmap.errors import DamagedError, RunError, StorageError
from roadmap.runs.atomic import (
    append_line,
    explain_writing,
    make_folder,
    read_yaml,
    replace_file,
    write_json,
)
from roadmap.runs.commit import find_commit
from roadmap.runs.config_hash import describe_differences, hash_config, hash_setting
from roadmap.runs.overrides import write_overrides
from roadmap.runs.process import describe_process, is_alive
from roadmap.runs.record import STATE, Identity, Record, State, read_object, read_record
from roadmap.system.lock import Lock

CONFIG, METRICS, SUMMARY, LOCK = "config.yaml", "metrics.jsonl", "summary.json", ".lock"
CHECKPOINT, PREVIOUS_CHECKPOINT = "checkpoint.pt", "checkpoint.previous.pt"
DAMAGED_CHECKPOINT = "checkpoint.damaged.pt"
EVALUATIONS = "evaluations.jsonl"
TRIES, TRY_EVERY_S = 40, 0.05  # in which a process that has just taken a folder writes its state


class RunDir:
    """One run on disk. Call `claim` first, then `log` per epoch, and at the end `finish`, `fail` or `interrupt`."""

    def __init__(
        self,
        output_dir: Path,
        identity: Identity,
        config: Mapping[str, Any],
        config_folders: Sequence[str] = (),
        overrides: Sequence[str] | None = None,
    ):
        self.identity = identity
        self.config_folders = list(config_folders)  # of the user's own, from which it was composed
        self.overrides = overrides  # None: unknown
        self.config = config
        self.config_hash, self.setting_hash = hash_config(config), hash_setting(config)
        self.path = output_dir / identity.experiment / identity.name / f"seed{identity.seed}"
        self.checkpoint = self.path / CHECKPOINT
        self.previous_checkpoint = self.path / PREVIOUS_CHECKPOINT
        self.damaged_checkpoint = self.path / DAMAGED_CHECKPOINT
        self.evaluations = self.path.parent / EVALUATIONS
        self._lock = Lock(self.path / LOCK)
        self._started = _now()

    def state(self) -> Record | None:
        """The content of state.json, or what else is here says of it; None for a run that was never planned.

        Raises:
            DamagedError: it can't be read, or holds something else.
        """
        record = read_record(self.path)
        if record or not (self.path / CONFIG).exists():
            return record
        found = State.done if (self.path / SUMMARY).exists() else State.interrupted
        return Record(found, self.identity, config_hash=hash_config(read_yaml(self.path / CONFIG)))

    def summary(self) -> dict[str, Any]:
        """The content of summary.json; empty until the run is done."""
        return read_object(self.path / SUMMARY) or {}

    def is_done(self) -> bool:
        """Return True if this run is finished and its summary intact; its checkpoint can restore a damaged one.

        Raises:
            RunError: the folder belongs to another configuration; names the keys that differ.
        """
        self._check_configuration()
        record = self.state()
        if record is None or record.state is not State.done:
            return False
        try:
            return bool(self.summary())
        except RunError:
            return False

    def reason_to_skip(self, retries: bool) -> str | None:
        """Return why this run must not be trained: it is done, or it failed and is not to be retried.

        Raises:
            RunError: as is_done.
        """
        if self.is_done():
            return "done already" + self._describe_place()
        record = self.state()
        if retries or record is None or record.config_hash != self.config_hash or record.state is not State.failed:
            return None
        return f"failed before and left alone; retry_failed=true trains it again ({record.error})"

    def _describe_place(self) -> str:
        """Return `, with data.root=OLD` if the finished run read images from another folder, which is allowed."""
        try:
            old = read_yaml(self.path / CONFIG)["data"]["root"]
        except (RunError, KeyError, TypeError):
            return ""
        return "" if old == self.config["data"]["root"] else f", with data.root={old}"

    def plan(self) -> None:
        """Mark a run without a folder as pending, so that it is listed as missing."""
        if self.state():
            return
        make_folder(self.path)
        with explain_writing(self._lock.path, 0):
            is_free = self._lock.acquire()
        if is_free and not self.state():  # another process may just have started it
            self._write_state(State.pending)
        self._lock.close()

    def claim(self) -> None:
        """Acquire the folder for this process; the files of an unfinished run of this configuration are kept.

        Raises:
            RunError: it has another configuration's run, or another process is using it.
        """
        self._check_configuration()
        make_folder(self.path)
        with explain_writing(self._lock.path, 0):
            is_free = self._lock.acquire()
        if not is_free:
            raise RunError(f"{self.path} is being trained by {self._find_holder()}; wait for it, or stop it")
        record = self.state()
        if self.is_done():  # by the process that had it a moment ago
            return
        # A run of another configuration that came to nothing.
        if record is None or record.config_hash != self.config_hash:
            for name in (METRICS, SUMMARY, CHECKPOINT, PREVIOUS_CHECKPOINT, DAMAGED_CHECKPOINT):
                with explain_writing(self.path / name, 0):
                    (self.path / name).unlink(missing_ok=True)
        replace_file(self.path / CONFIG, OmegaConf.to_yaml(OmegaConf.create(_plain(self.config))).encode())
        write_overrides(self.path, self.overrides)
        self._write_state(State.running)

    def _find_holder(self) -> str:
        """The process that trains the run. One that took the folder a moment ago says so a moment later."""
        for _ in range(TRIES):
            with contextlib.suppress(DamagedError):
                record = read_record(self.path)
                if record and record.state is State.running and record.pid and not self._is_gone(record):
                    return f"process {record.pid} on {record.host}"
            time.sleep(TRY_EVERY_S)
        return "another process"

    @staticmethod
    def _is_gone(record: Record) -> bool:
        """Whether the process that a state names has ended on this host."""
        if record.host is None or record.pid is None:
            return False
        return is_alive(record.host, record.pid, record.process_start) is False

    def settle(self, state: State, reason: str) -> bool:
        """Records how a run ended whose process is gone and left it as running; False if there was no such run."""
        with contextlib.suppress(RunError, OSError):
            if not self._lock.acquire():
                return False
            try:
                record = read_record(self.path)
                if record and record.state is State.running and self._is_gone(record):
                    self._write_state(state, reason)
                    return True
            finally:
                self._lock.close()
        return False

    def close(self) -> None:
        """Release the folder."""
        self._lock.close()

    def _check_configuration(self) -> None:
        """A folder of another configuration is never overwritten, unless its run came to nothing."""
        record = self.state()
        is_empty = not (self.checkpoint.exists() or self.previous_checkpoint.exists())
        renamed = self._describe_other_data()
        if record is None or (record.config_hash == self.config_hash and not renamed):
            return
        if record.state is State.pending or (record.state is State.failed and is_empty):
            return
        differences = ["(config.yaml is gone)"]
        if (self.path / CONFIG).exists():
            differences = describe_differences(read_yaml(self.path / CONFIG), _plain(self.config)) + renamed
        raise RunError(
            f"{self.path} holds a run ({record.state}) of another configuration:\n  "
            + "\n  ".join(differences)
            + "\nGive this one a place of its own, as in experiment=NAME, or remove the folder"
        )

    def _describe_other_data(self) -> list[str]:
        """Detect another `data.name`, which means other images, though it is not part of a configuration."""
        try:
            old = read_yaml(self.path / CONFIG)["data"]["name"]
        except (RunError, KeyError, TypeError):
            return []
        new = self.config["data"]["name"]
        return [] if old == new else [f"data.name: {old} -> {new}"]

    def restore_metrics(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Reset the metrics to the epochs in a checkpoint."""
        self.check_held()
        lines = "".join(json.dumps(metrics) + "\n" for metrics in history)
        replace_file(self.path / METRICS, lines.encode())

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Append one epoch's metrics."""
        self.check_held()
        append_line(self.path / METRICS, json.dumps(metrics))

    def finish(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Write identity and results to the summary, and mark the run as done."""
        summary = {
            **identity_values(self.identity),
            **results,
            "commit": find_commit(),
            "config_hash": self.config_hash,
            "setting_hash": self.setting_hash,
        }
        self.check_held()
        write_json(self.path / SUMMARY, summary)
        self.previous_checkpoint.unlink(missing_ok=True)  # before the mark: a finished run is never opened again
        self._write_state(State.done)
        return summary

    def record_evaluation(self, results: Mapping[str, Any]) -> None:
        """Append an evaluation without training to evaluations.jsonl beside the step's runs."""
        make_folder(self.path.parent)
        content = {**identity_values(self.identity), **results, "commit": find_commit()}
        append_line(self.evaluations, json.dumps(content))

    def fail(self, error: str) -> None:
        """Mark the run as failed, with the reason; if nothing can be written, it stays marked as running."""
        with contextlib.suppress(RunError):
            self._write_state(State.failed, error)

    def interrupt(self, reason: str) -> None:
        """Mark the run as interrupted; the same command resumes it from its checkpoint."""
        with contextlib.suppress(RunError):
            self._write_state(State.interrupted, reason)

    def check_held(self) -> None:
        """Check that this process still holds the folder; call it before every write to a claimed folder.

        Raises:
            StorageError: the folder was removed since then, and may belong to another process.
        """
        if self._lock.is_lost():
            raise StorageError(
                f"{self.path} was removed while the run was under way; nothing more is written there. "
                "Run the same command again to train it anew"
            )

    def _write_state(self, state: State, error: str | None = None) -> None:
        self.check_held()
        content = {
            "state": state,
            "error": error,
            **describe_process(),
            "started": self._started,
            "finished": None if state in (State.pending, State.running) else _now(),
            "epochs": self.config["recipe"]["epochs"],
            "commit": find_commit(),
            "config_hash": self.config_hash,
            "setting_hash": self.setting_hash,
            "dashboard_id": self.dashboard_id(),
            "identity": identity_values(self.identity),
            "config_folders": self.config_folders,
        }
        write_json(self.path / STATE, content)

    def dashboard_id(self) -> str:
        """What a dashboard knows the run by, the same after each restart; a new one for another configuration."""
        record = self.state()
        known = record.dashboard_id if record and record.config_hash == self.config_hash else None
        return known or uuid.uuid4().hex[:8]


def identity_values(identity: Identity) -> dict[str, Any]:
    """Return the fields of an identity for JSON."""
    return dict(vars(identity))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the epochs in a run's folder, without a line that was cut off while it was written."""
    try:
        lines = (path / METRICS).read_text(errors="replace").splitlines()
    except OSError:
        return []
    metrics = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            metrics.append(json.loads(line))
    return [values for values in metrics if isinstance(values, dict)]


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Convert enums and tuples, which YAML would tag, to plain values."""
    return json.loads(json.dumps(config))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
