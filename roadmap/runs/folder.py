"""A run's folder: what it was asked, how it goes and what came out, in files that outlive every service.

outputs/EXPERIMENT/STEP[,variant]/seedN/
    config.yaml     the resolved configuration
    state.json      running, done, failed (with the error) or interrupted; commit, host and process
    metrics.jsonl   one line an epoch, written as it goes
    summary.json    once it is done
    checkpoint.pt   the last finished epoch
"""

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from roadmap.errors import RunError
from roadmap.runs.identity import describe_differences, hash_config

CONFIG, STATE, METRICS, SUMMARY, CHECKPOINT = (
    "config.yaml",
    "state.json",
    "metrics.jsonl",
    "summary.json",
    "checkpoint.pt",
)
EVALUATIONS = "evaluations.jsonl"


class State(StrEnum):
    running = "running"
    done = "done"
    failed = "failed"
    interrupted = "interrupted"


@dataclass(frozen=True)
class Identity:
    """What a run is called in tables and figures."""

    step: str
    step_index: int | None
    label: str
    variant: dict[str, str]  # what differs from the step, such as {"kernel_size": "9"}
    reference: str | None  # a timm model in place of the roadmap's network
    experiment: str
    seed: int
    regime: str
    data: str
    recipe: str

    @property
    def name(self) -> str:
        """The step with its variant, such as step7_kernel,kernel_size=9."""
        return ",".join([self.step, *(f"{key}={value}" for key, value in self.variant.items())])


class RunFolder:
    """One run on disk. `claim` comes first; then `log` an epoch, and at the end `finish` or `fail`."""

    def __init__(self, output_dir: Path, identity: Identity, config: Mapping[str, Any]):
        self.identity = identity
        self.config = config
        self.config_hash = hash_config(config)
        self.path = output_dir / identity.experiment / identity.name / f"seed{identity.seed}"
        self._started = _now()

    @property
    def checkpoint(self) -> Path:
        return self.path / CHECKPOINT

    @property
    def evaluations(self) -> Path:
        return self.path.parent / EVALUATIONS

    def state(self) -> dict[str, Any]:
        """The content of state.json; empty for a run that has not begun."""
        return _read_json(self.path / STATE)

    def summary(self) -> dict[str, Any]:
        """The content of summary.json; empty until the run is done."""
        return _read_json(self.path / SUMMARY)

    def is_done(self) -> bool:
        """True if this very run has been finished here.

        Raises:
            RunError: the folder belongs to another configuration; names the keys that differ.
        """
        self._check_configuration()
        return self.state().get("state") == State.done

    def claim(self) -> None:
        """Takes the folder for this process; what an unfinished run of this configuration left is kept.

        Raises:
            RunError: another configuration's run is here, or another process is at this one.
        """
        state = self.state()
        self._check_configuration()
        if state.get("state") == State.running and _is_alive(state):
            raise RunError(
                f"{self.path} is being trained by process {state['pid']} on {state['host']}; wait for it, or stop "
                f"it. If it is gone without a word, write interrupted for running in {self.path / STATE}"
            )
        make_folder(self.path)
        if state.get("config_hash") != self.config_hash:  # a failed run of another configuration
            for name in (METRICS, SUMMARY, CHECKPOINT):
                (self.path / name).unlink(missing_ok=True)
        OmegaConf.save(OmegaConf.create(_plain(self.config)), self.path / CONFIG)
        self._write_state(State.running)

    def _check_configuration(self) -> None:
        """A folder of another configuration is never overwritten, unless its run failed anyway."""
        state = self.state()
        if not state or state.get("config_hash") == self.config_hash or state.get("state") == State.failed:
            return
        differences = ["(config.yaml is gone)"]
        if (self.path / CONFIG).exists():
            old: Any = OmegaConf.to_container(OmegaConf.load(self.path / CONFIG))
            differences = describe_differences(old, _plain(self.config))
        raise RunError(
            f"{self.path} holds a run ({state['state']}) of another configuration:\n  "
            + "\n  ".join(differences)
            + "\nGive this one a place of its own, as in experiment=NAME, or remove the folder"
        )

    def keep_metrics(self, epochs: int) -> list[dict[str, Any]]:
        """The metrics of the first `epochs` epochs; later lines, of epochs to be trained again, are removed."""
        kept = [line for line in read_metrics(self.path) if line["epoch"] <= epochs]
        _write_atomically(self.path / METRICS, "".join(json.dumps(line) + "\n" for line in kept))
        return kept

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Appends one epoch's metrics."""
        with (self.path / METRICS).open("a") as file:
            file.write(json.dumps(metrics) + "\n")

    def finish(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the summary, identity and results side by side, and marks the run as done."""
        summary = {
            **identity_values(self.identity),
            **results,
            "commit": find_commit(),
            "config_hash": self.config_hash,
        }
        _write_json(self.path / SUMMARY, summary)
        self._write_state(State.done)
        return summary

    def record_evaluation(self, results: Mapping[str, Any]) -> None:
        """Appends an evaluation without training to evaluations.jsonl beside the step's runs."""
        make_folder(self.path.parent)
        with self.evaluations.open("a") as file:
            file.write(json.dumps({**identity_values(self.identity), **results, "commit": find_commit()}) + "\n")

    def fail(self, error: str) -> None:
        """Marks the run as failed, with the reason."""
        self._write_state(State.failed, error)

    def interrupt(self) -> None:
        """Marks the run as interrupted; the same command goes on from its last epoch."""
        self._write_state(State.interrupted)

    def _write_state(self, state: State, error: str | None = None) -> None:
        content = {
            "state": state,
            "error": error,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": self._started,
            "finished": None if state is State.running else _now(),
            "commit": find_commit(),
            "config_hash": self.config_hash,
            "identity": identity_values(self.identity),
        }
        self.path.mkdir(parents=True, exist_ok=True)
        _write_json(self.path / STATE, content)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, where they are missing.

    Raises:
        RunError: a file is in the way, or it may not be written there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} can't be made: {error.strerror}. Choose another output_dir=FOLDER") from error


def identity_values(identity: Identity) -> dict[str, Any]:
    """The fields of an identity, as JSON takes them."""
    return dict(vars(identity))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The epochs in a run's folder; a line that was cut off while it was written is left out."""
    try:
        lines = (path / METRICS).read_text().splitlines()
    except FileNotFoundError:
        return []
    metrics = []
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError):
            metrics.append(json.loads(line))
    return metrics


@cache
def find_commit() -> str | None:
    """The commit of the code, marked where files were changed since; None outside a git checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + ("-changed" if changes.strip() else "")


def _is_alive(state: Mapping[str, Any]) -> bool:
    """Whether the process that a state names still runs; one on another host is taken to be."""
    if state["host"] != socket.gethostname():
        return True
    if state["pid"] == os.getpid():
        return False
    try:
        os.kill(state["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without enums and tuples, which YAML would tag."""
    return json.loads(json.dumps(config))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:  # no JSON, or no UTF-8
        raise RunError(f"{path} is damaged ({error}); remove the run's folder to train it anew") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged (no object); remove the run's folder to train it anew")
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    _write_atomically(path, json.dumps(content, indent=2) + "\n")


def _write_atomically(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".new")
    beside.write_text(text)
    os.replace(beside, path)
