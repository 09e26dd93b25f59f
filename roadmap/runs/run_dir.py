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
from dataclasses import replace
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
from roadmap.runs.read_files import LARGEST_LINES, read_json, read_text, read_yaml
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

LOCK, DAMAGED_CHECKPOINT, EVALUATIONS = ".lock", "checkpoint.damaged.pt", "evaluations.jsonl"
FILES = (CONFIG, OVERRIDES, STATE, METRICS, SUMMARY, CHECKPOINT, PREVIOUS_CHECKPOINT, DAMAGED_CHECKPOINT)
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

    def state(self) -> Run | None:
        """Return the run in the folder, which may be damaged or of another configuration; None if there is none."""
        return read_run(self.path)

    def summary(self) -> dict[str, Any]:
        """Return the content of summary.json; empty until the run is done."""
        return read_json(self.path / SUMMARY) or {}

    def is_done(self) -> bool:
        """Return True if this run is finished and its files intact; `claim` restores what its checkpoint can.

        Raises:
            RunError: the folder belongs to another configuration; names the keys that differ.
        """
        return self._is_done(self._own_run())

    def _is_done(self, run: Run | None) -> bool:
        if run is None or run.state is not State.done or CONFIG in run.missing:
            return False
        return METRICS not in run.missing or CHECKPOINT in run.missing

    def reason_to_skip(self, retries: bool) -> str | None:
        """Return why this run must not be trained: it is done, or it failed and is not to be retried.

        Raises:
            RunError: as is_done.
        """
        run = self._own_run()
        if run is not None and self._is_done(run):
            lost = f" ({' and '.join(run.missing)} {'is' if len(run.missing) == 1 else 'are'} gone)"
            return "done already" + (lost if run.missing else "") + self._describe_place()
        if retries or run is None or run.config_hash != self.config_hash or run.state is not State.failed:
            return None
        return f"failed before and left alone; retry_failed=true trains it again ({run.error})"

    def trained_root(self) -> str | None:
        """Return the data.root of the run in the folder; None if its configuration has none or is unreadable."""
        try:
            root: str | None = read_yaml(self.path / CONFIG)["data"]["root"]
        except (RunError, KeyError, TypeError):
            return None
        return root

    def _describe_place(self) -> str:
        """Return `, with data.root=OLD` if the finished run read images from another folder, which is allowed."""
        old = self.trained_root()
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
        self._own_run()
        make_folder(self.path)
        with explain_writing(self._lock.path, 0):
            is_free = self._lock.acquire()
        if not is_free:
            raise RunError(f"{self.path} is being trained by {self._find_holder()}; wait for it, or stop it")
        self._check_kinds()
        run = self._own_run()
        if self._is_done(run) or (run is not None and self._mend(run)):  # by the process that had it a moment ago
            return
        if run is None or run.config_hash != self.config_hash:  # one of another configuration that came to nothing
            for name in (METRICS, SUMMARY, CHECKPOINT, PREVIOUS_CHECKPOINT, DAMAGED_CHECKPOINT):
                with explain_writing(self.path / name, 0):
                    (self.path / name).unlink(missing_ok=True)
        self._write_config()
        self._write_state(State.running)

    def _check_kinds(self) -> None:
        """Raise RunError for a folder in the place of a file, which could not be replaced."""
        for path in (self.path / name for name in FILES):
            if path.is_dir() and not path.is_symlink():
                raise RunError(f"{path} is a folder, where a file of the run belongs: remove it")

    def _mend(self, run: Run) -> bool:
        """Write the configuration and the state of a finished run anew if its results are intact.

        Return False if they are not: then training goes on from the checkpoint, which has them.
        """
        is_finished = run.state in (State.done, State.damaged)
        if not is_finished or (self.checkpoint.exists() and not (self.path / METRICS).exists()):
            return False
        with contextlib.suppress(DamagedError):
            summary = read_summary(self.path)
            if summary and summary.config_hash in (None, self.config_hash) and self._is_named_like(summary):
                self._write_config()
                if not self._is_done(self.state()):
                    self._write_state(State.done)
                return True
        return False

    def _is_named_like(self, run: Run) -> bool:
        return replace(identity_of(run), label=self.identity.label) == self.identity

    def _write_config(self) -> None:
        replace_file(self.path / CONFIG, OmegaConf.to_yaml(OmegaConf.create(_plain(self.config))).encode())
        write_overrides(self.path, self.overrides)

    def _find_holder(self) -> str:
        """The process that trains the run. One that took the folder a moment ago says so a moment later."""
        for _ in range(TRIES):
            with contextlib.suppress(DamagedError):
                run = read_state(self.path)
                if run and run.state is State.running and run.pid and not is_gone(run):
                    return f"process {run.pid} on {run.host}"
            time.sleep(TRY_EVERY_S)
        return "another process"

    def settle(self, state: State, reason: str) -> bool:
        """Records how a run ended whose process is gone and left it as running; False if there was no such run."""
        with contextlib.suppress(RunError, OSError):
            if not self._lock.acquire():
                return False
            try:
                run = read_state(self.path)
                if run and run.state is State.running and is_gone(run):
                    self._write_state(state, reason)
                    return True
            finally:
                self._lock.close()
        return False

    def close(self) -> None:
        """Release the folder."""
        self._lock.close()

    def _own_run(self) -> Run | None:
        """Return the run in the folder, which may be another's that came to nothing; else raise RunError.

        Another `data.name` means other images, though it is not part of a configuration.
        """
        run = self.state()
        if run is None or (run.config_hash == self.config_hash and run.data in ("", self.identity.data)):
            return run
        if run.config_hash is None and run.state is State.damaged:
            raise DamagedError(f"{run.error}. Whose it is cannot be read: remove {self.path} to train it anew")
        is_empty = not (self.checkpoint.exists() or self.previous_checkpoint.exists())
        if run.state is State.pending or (run.state is State.failed and is_empty):
            return run
        differences = ["(config.yaml is gone)"]
        if (self.path / CONFIG).exists():
            differences = describe_differences(read_yaml(self.path / CONFIG), _plain(self.config))
        if run.data != self.identity.data:
            differences.append(f"data.name: {run.data} -> {self.identity.data}")
        raise RunError(
            f"{self.path} holds a run ({run.state}) of another configuration:\n  "
            + "\n  ".join(differences or [run.error or "(config.yaml was edited)"])
            + "\nGive this one a place of its own, as in experiment=NAME, or remove the folder"
        )

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

    def count_evaluations(self) -> int:
        """Return the number of lines in evaluations.jsonl; 0 for none, or one that cannot be read."""
        try:
            return len(read_text(self.evaluations, LARGEST_LINES, errors="replace").splitlines())
        except (OSError, DamagedError):
            return 0

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
        known = None
        with contextlib.suppress(DamagedError):
            run = read_state(self.path)
            known = run.dashboard_id if run and run.config_hash == self.config_hash else None
        return known or uuid.uuid4().hex[:8]


def identity_values(identity: Identity) -> dict[str, Any]:
    """Return the fields of an identity for JSON."""
    return dict(vars(identity))


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Convert enums and tuples, which YAML would tag, to plain values."""
    return json.loads(json.dumps(config))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
