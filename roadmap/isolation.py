"""Runs of a sweep in processes of their own: a crash ends one run alone, and what stops the sweep stops all."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType

from roadmap.config import CONF_DIR
from roadmap.lock import Lock
from roadmap.machine import SHARING
from roadmap.runs.folder import RunFolder, State
from roadmap.training.stop import StopSignals

LAUNCHER = "processes"  # the choice of hydra/launcher that asks for it
IN_SWEEP = "CONVNET_ROADMAP_IN_SWEEP"  # set in a sweep's processes: what concerns all runs was said before
SWEEP = "CONVNET_ROADMAP_SWEEP"  # the process of the sweep's command
STOP = "CONVNET_ROADMAP_STOP"  # a file that is there once the sweep is to stop
PROGRAM = CONF_DIR.parent / "train.py"
SET_PARENT_DEATH_SIGNAL = 1  # Linux's prctl
LOOK_EVERY_S = 1
LOOKS_IN_GRACE = 5
ENDED_BY = 128  # plus the number of a signal: the exit status of a process that it ended


def run_isolated(words: Sequence[str], folder: RunFolder) -> str | None:
    """Trains the run that `words` name; says how its process ended, if it was a signal that it did not survive."""
    with deal_gpu() as gpu:
        command = [sys.executable, str(PROGRAM), *words]
        environment = {**os.environ, **gpu, IN_SWEEP: "1"}
        with subprocess.Popen(command, env=environment, preexec_fn=_end_with_parent) as process:
            status = process.wait()
    if status >= 0:
        return None  # it has told by itself what there was to tell
    number = signal.Signals(-status)
    hint = " (often the system's answer to a lack of memory)" if number is signal.SIGKILL else ""
    error = f"its process was ended by {number.name}{hint}"
    if folder.state().get("state") == State.running:
        if is_stopping():
            folder.interrupt(error)
        else:
            folder.fail(error)
    return error


@contextmanager
def stop_side_by_side() -> Iterator[list[signal.Signals]]:
    """In a sweep's own process: a signal has what trains save, in whatever process it does, and nothing new start.

    The signal is noted in the list. A second Ctrl-C ends the launcher, which kills its processes.
    """
    noted: list[signal.Signals] = []
    folder = tempfile.mkdtemp(prefix="convnet-roadmap-")
    os.environ[SWEEP], os.environ[STOP] = str(os.getpid()), f"{folder}/stop"

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT in noted:
            raise KeyboardInterrupt
        noted.append(signal.Signals(number))
        Path(os.environ[STOP]).touch()

    asking = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heeded = [number for number in asking if signal.getsignal(number) is not signal.SIG_IGN]
    outer = {number: signal.signal(number, note) for number in heeded}
    try:
        yield noted
    finally:
        for number, handler in outer.items():
            signal.signal(number, handler)
        shutil.rmtree(folder)
        del os.environ[SWEEP], os.environ[STOP]


def is_stopping() -> bool:
    """Whether the sweep of this process was asked to stop, or is gone: nothing new is to start."""
    parent, stop = _watch_sweep(), os.environ.get(STOP)
    return (stop is not None and Path(stop).exists()) or parent not in (None, os.getppid())


def is_launchers() -> bool:
    """Whether this is one of several processes that a launcher has for a sweep's runs."""
    return _watch_sweep() is not None


@cache
def _watch_sweep() -> int | None:
    """The sweep's process, if it is the parent of this one; a cluster's jobs outlive the command that sent them.

    Once that is asked to stop, or is gone, what trains in its processes saves and ends. Without it, joblib's would
    train on, each what it had taken from the queue.
    """
    sweep = os.environ.get(SWEEP)
    if sweep is None or sweep == str(os.getpid()):
        return None
    parent = os.getppid() if sweep == str(os.getppid()) else None
    for number in (signal.SIGINT, signal.SIGHUP):  # of a terminal, which sends them to the sweep's process too
        signal.signal(number, signal.SIG_IGN)
    if parent is not None:  # as `timeout` does; where it is not the parent, SIGTERM tells that the parent has died
        signal.signal(signal.SIGTERM, _leave_to_sweep)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    return parent


def _leave_to_sweep(number: int, frame: FrameType | None) -> None:
    """Between trainings, which are asked to stop by the sweep's file. Ignored, the signal would not reach them."""


def _end_with(parent: int | None) -> None:
    """Asks the training under way to stop once the sweep is to, and ends the process some time after its parent."""
    idle = 0
    while idle < LOOKS_IN_GRACE:
        time.sleep(LOOK_EVERY_S)
        training = StopSignals.active
        is_gone = parent is not None and os.getppid() != parent
        if training is not None and training.received is None and (is_gone or Path(os.environ[STOP]).exists()):
            os.kill(os.getpid(), signal.SIGTERM)
        idle = idle + 1 if is_gone and training is None else 0  # it may be writing how its run ended
    os._exit(ENDED_BY + signal.SIGTERM)


@contextmanager
def deal_gpu() -> Iterator[Mapping[str, str]]:
    """Environment variables that give a process the GPU with the fewest runs and a part of the cores, for a while.

    Each GPU has numbered places, held by locks, so that several sweeps of one user share a machine.
    """
    gpus = find_gpus()
    place = 0
    while gpus:
        lock = Lock(_folder() / f"place{place}.lock")
        if lock.acquire():
            break
        place += 1
    try:
        yield {"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)], SHARING: str(len(gpus))} if gpus else {}
    finally:
        if gpus:
            lock.close()


def find_gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, by number or name."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in visible.split(",") if name not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    names = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]  # not the parts of one
    return [str(number) for number in range(len(names))] if listed.returncode == 0 else []


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"convnet-roadmap-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    return folder


def _end_with_parent() -> None:
    """Asks the new process to stop, which it does after saving, when the sweep is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
