"""A run's folder: its configuration, state and results, in plain files.

outputs/EXPERIMENT/STEP[,variant]/seedN/
    config.yaml     the resolved configuration
    overrides.yaml  the overrides that it was last started with
    state.json      pending, running, done, failed (with the error) or interrupted; commit, host and process
    metrics.jsonl   one line per epoch, appended during training
    summary.json    after the run is done
    checkpoint.pt   the state of training; checkpoint.previous.pt is the one before, until the run is done;
                    checkpoint.damaged.pt is an unusable one that the previous one replaced
"""

import contextlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from roadmap.errors import DamagedError, RunError, StorageError
from roadmap.runs.atomic import append_line, explain_writing, make_folder, replace_file, write_json
from roadmap.runs.commit import find_commit
from roadmap.runs.config_hash import describe_differences, hash_config, hash_setting
from roadmap.runs.overrides import OVERRIDES, write_overrides
from roadmap.runs.process import describe_process
from roadmap.runs.read_files import read_json, read_yaml
from roadmap.runs.read_run import (
    CHECKPOINT,
    CONFIG,
    METRICS,
    PREVIOUS_CHECKPOINT,
    STATE,
    SUMMARY,
    Identity,
    Run,
    State,
    identity_of,
    is_gone,
    read_run,
    read_state,
    read_summary,
)
from roadmap.system.lock import Lock

LOCK, DAMAGED_CHECKPOINT = ".lock", "checkpoint.damaged.pt"
FILES = (CONFIG, OVERRIDES, STATE, METRICS, SUMMARY, CHECKPOINT, PREVIOUS_CHECKPOINT, DAMAGED_CHECKPOINT)
TRIES, TRY_EVERY_S = 40, 0.05  # a process that has just claimed a folder writes its state within this time


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
        self._lock = Lock(self.path / LOCK)
        self._started = _now()

    def state(self) -> Run | None:
        """Return the run in the folder, which may be damaged or of another configuration; None if there is none."""
        return read_run(self.path)

    def summary(self) -> dict[str, Any]:
        """Return the content of summary.json; empty until the run is done."""
        return read_json(self.path / SUMMARY) or {}

    def is_done(self) -> bool:
        """Return True if this run is finished and its files are intact.

        Raises:
            RunError: the folder belongs to another configuration; names the keys that differ.
        """
        run = self._check_run()
        return run is not None and run.is_complete

    def skip_reason(self, retries: bool) -> str | None:
        """Return why to skip this run: it is done, or it failed and `retries` is False; None to train it.

        Raises:
            RunError: as is_done.
        """
        run = self._check_run()
        if run is not None and run.is_complete:
            missing = f" (without {' and '.join(run.missing)})" if run.missing else ""
            old = self.trained_root()  # another folder is allowed
            root = "" if old == self.config["data"]["root"] else f", with data.root={old}"
            return f"done already{missing}{root}"
        if retries or run is None or run.config_hash != self.config_hash or run.state is not State.failed:
            return None
        return f"failed before; retry_failed=true trains it again ({run.error})"

    def trained_root(self) -> str | None:
        """Return the data.root of the run in the folder; None if its configuration has none or is unreadable."""
        with contextlib.suppress(RunError, KeyError, TypeError):
            return read_yaml(self.path / CONFIG)["data"]["root"]
        return None

    def has_checkpoint(self) -> bool:
        """Return True if there is a checkpoint, which may be damaged or of another configuration."""
        return self.checkpoint.exists() or self.previous_checkpoint.exists()

    def plan(self) -> None:
        """Mark a new run as pending, so that `status` lists it."""
        if self.state():
            return
        if self._acquire() and not self.state():  # another process may just have started it
            self._write_state(State.pending)
        self._lock.close()

    def _acquire(self) -> bool:
        """Make and lock the folder; return False if another process holds the lock."""
        make_folder(self.path)
        with explain_writing(self._lock.path, 0):
            return self._lock.acquire()

    def claim(self) -> None:
        """Lock the folder for this process; keep the files of an unfinished run of this configuration.

        Raises:
            RunError: another configuration's run is there, or another process uses it.
        """
        self._check_run()
        if not self._acquire():
            raise RunError(f"{self.path} is being trained by {self._find_holder()}; wait for it, or stop it")
        for path in (self.path / name for name in FILES):
            if path.is_dir() and not path.is_symlink():
                raise RunError(f"{path} is a folder, but must be a file of the run: remove it")
        run = self._check_run()
        if run is not None and (run.is_complete or self._restore(run)):  # by a process that has just released it
            return
        if run is None or run.config_hash != self.config_hash:  # files of a failed run of another configuration
            for name in (METRICS, SUMMARY, CHECKPOINT, PREVIOUS_CHECKPOINT, DAMAGED_CHECKPOINT):
                with explain_writing(self.path / name, 0):
                    (self.path / name).unlink(missing_ok=True)
        self._write_config()
        self._write_state(State.running)

    def _restore(self, run: Run) -> bool:
        """Rewrite configuration and state of a finished run if its results are intact; return True if so.

        Otherwise training resumes from the checkpoint, which has the results.
        """
        is_finished = run.state in (State.done, State.damaged)
        if not is_finished or (self.checkpoint.exists() and not (self.path / METRICS).exists()):
            return False
        with contextlib.suppress(DamagedError):
            summary = read_summary(self.path)
            if summary is None or summary.config_hash not in (None, self.config_hash):
                return False
            if replace(identity_of(summary), label=self.identity.label) == self.identity:
                self._write_config()
                written = self.state()
                if written is None or not written.is_complete:
                    self._write_state(State.done)
                return True
        return False

    def _write_config(self) -> None:
        plain = json.loads(json.dumps(self.config))  # without enums and tuples, which YAML would tag
        replace_file(self.path / CONFIG, OmegaConf.to_yaml(OmegaConf.create(plain)).encode())
        write_overrides(self.path, self.overrides)

    def _find_holder(self) -> str:
        """Describe the process that trains the run; if it has just claimed the folder, wait for its state."""
        for _ in range(TRIES):
            with contextlib.suppress(DamagedError):
                run = read_state(self.path)
                if run and run.state is State.running and run.pid and not is_gone(run):
                    return f"process {run.pid} on {run.host}"
            time.sleep(TRY_EVERY_S)
        return "another process"

    def mark_ended(self, state: State, reason: str) -> bool:
        """Mark a running run whose process has died with `state` and `reason`; return True if there is one."""
        with contextlib.suppress(RunError, OSError), contextlib.closing(self._lock):
            run = read_state(self.path) if self._lock.acquire() else None
            if run and run.state is State.running and is_gone(run):
                self._write_state(state, reason)
                return True
        return False

    def close(self) -> None:
        self._lock.close()

    def _check_run(self) -> Run | None:
        """Return the run in the folder. Raise RunError if another configuration has saved something there.

        Another `data.name` means other images, although it is not part of the hash.
        """
        run = self.state()
        if run is None or (run.config_hash == self.config_hash and run.data in ("", self.identity.data)):
            return run
        if run.config_hash is None and run.state is State.damaged:
            raise DamagedError(f"{run.error}. Its configuration is unknown: remove {self.path} to train it again")
        if run.state is State.pending or (run.state is State.failed and not self.has_checkpoint()):
            return run
        differences = ["(config.yaml is missing)"]
        if (self.path / CONFIG).exists():
            differences = describe_differences(read_yaml(self.path / CONFIG), self.config)
        if run.data != self.identity.data:
            differences.append(f"data.name: {run.data} -> {self.identity.data}")
        raise RunError(
            f"{self.path} holds a run ({run.state}) of another configuration:\n  "
            + "\n  ".join(differences or [run.error or "(config.yaml was edited)"])
            + "\nGive this one another experiment=NAME, or remove the folder"
        )

    def restore_metrics(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Reset the metrics to the epochs in a checkpoint."""
        self.check_held()
        replace_file(self.path / METRICS, "".join(json.dumps(metrics) + "\n" for metrics in history).encode())

    def log(self, metrics: Mapping[str, Any]) -> None:
        self.check_held()
        append_line(self.path / METRICS, json.dumps(metrics))

    def finish(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Write identity and results to the summary, and mark the run as done."""
        summary = {
            **asdict(self.identity),
            **results,
            "commit": find_commit(),
            "config_hash": self.config_hash,
            "setting_hash": self.setting_hash,
            "roadmap": self._roadmap(),
        }
        self.check_held()
        write_json(self.path / SUMMARY, summary)
        self.previous_checkpoint.unlink(missing_ok=True)  # first, since a finished run is never opened again
        self._write_state(State.done)
        return summary

    def fail(self, error: str) -> None:
        """Mark the run as failed, with the reason; if nothing can be written, it stays marked as running."""
        with contextlib.suppress(RunError):
            self._write_state(State.failed, error)

    def interrupt(self, reason: str) -> None:
        """Mark the run as interrupted; the same command resumes it from its checkpoint."""
        with contextlib.suppress(RunError):
            self._write_state(State.interrupted, reason)

    def check_held(self) -> None:
        """Check that this process still holds the lock; call it before every write to a claimed folder.

        Raises:
            StorageError: the folder was removed, and may belong to another process.
        """
        if self._lock.is_removed():
            raise StorageError(
                f"{self.path} was removed while the run was active; nothing more is written there. "
                "Run the same command to train it again"
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
            "identity": asdict(self.identity),
            "config_folders": self.config_folders,
            "roadmap": self._roadmap(),
        }
        write_json(self.path / STATE, content)

    def _roadmap(self) -> str | None:
        return None if self.identity.reference else self.config["step"]["roadmap"]

    def dashboard_id(self) -> str:
        """Return the run's id on a dashboard, which a resume keeps; another configuration gets a new one."""
        with contextlib.suppress(DamagedError):
            run = read_state(self.path)
            if run and run.dashboard_id and run.config_hash == self.config_hash:
                return run.dashboard_id
        return uuid.uuid4().hex[:8]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
