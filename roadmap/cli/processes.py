"""Runs of a sweep in separate processes: a crash ends only one run, and a stop of the sweep stops all."""

import ctypes
import errno
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import FrameType

from omegaconf import OmegaConf

from roadmap.config import Config, PlannedRun
from roadmap.errors import RunError
from roadmap.model.layer_plan import needs_several_images
from roadmap.runs.atomic import replace_file
from roadmap.runs.read_run import State
from roadmap.runs.run_dir import RunDir
from roadmap.system.commands import started
from roadmap.system.lock import Lock
from roadmap.system.machine import CRASHES, SHARING, MemoryKills, name_signal
from roadmap.training.signals import StopSignals
from roadmap.training.spec import BatchRule, find_batch_rule, list_micro_batches, plan_accumulation

LAUNCHER = "processes"  # the choice of hydra/launcher that enables it
HANDED = "CONVNET_ROADMAP_RUN"  # the run for which a process is started, as JSON
SWEEP = "CONVNET_ROADMAP_SWEEP"  # process ID of the sweep's command
STOP = "CONVNET_ROADMAP_STOP"  # a file that exists once the sweep must stop
KILLED_FOR_MEMORY = "its process was ended by the system for lack of memory"
LESS_MEMORY = (
    "A smaller hardware.per_device_batch, fewer hardware.workers or fewer runs at once (hydra.launcher.n_jobs) "
    "need less"
)
SET_PARENT_DEATH_SIGNAL = 1  # constant of Linux's prctl
LOOK_EVERY_S = 0.5
LOOKS_IN_GRACE = 10
ENDED_BY = 128  # plus the signal's number: the exit status of a process that a signal ended


def run_in_subprocess(planned: PlannedRun, folder: RunDir, warn: Callable[[str], None]) -> str | None:
    """Train a run as it was planned in a process of its own; return how that ended, unless it recorded so itself.

    If the kernel ended it for lack of memory, train on once with half the micro-batch.
    """
    kills = MemoryKills()
    status = _run_process(planned)
    if status == -signal.SIGKILL and kills.happened() and not is_stopping():
        config = planned.config
        is_own = config.reference is None
        single = not is_own or needs_several_images(config.model, config.regime, config.data.image_size)
        rule = find_batch_rule(config.recipe, not_one=single)
        most, _ = plan_accumulation(config.recipe.total_batch, config.hardware.per_device_batch, rule=rule)
        if smaller := halve_micro_batch(config, most, rule):
            less = smaller.hardware.per_device_batch
            warn(f"{folder.path}: {KILLED_FOR_MEMORY} with {most} images at once; going on with {less}")
            kills = MemoryKills()
            status = _run_process(replace(planned, config=smaller))
    state, error = explain_end(status, kills.happened())
    if is_stopping():
        folder.mark_ended(State.interrupted, describe_stop(error))
        return None
    is_left = folder.mark_ended(state, error)
    return error if is_left or status < 0 else None  # else it has reported by itself


def explain_end(status: int, is_memory_short: bool | None) -> tuple[State, str]:
    """The state and the reason of a run whose process ended with a status and had not recorded its end.

    Args:
        status: below 0 the number of a signal, as `subprocess` has it.
        is_memory_short: whether the kernel ended a process for lack of memory meanwhile; None if nobody knows.
    """
    if status >= 0:
        return State.interrupted, f"its process ended with status {status} and gave no reason"
    if status == -signal.SIGKILL and is_memory_short:
        return State.failed, f"{KILLED_FOR_MEMORY}. {LESS_MEMORY}"
    error = f"its process was ended by {name_signal(-status)}"
    if -status in CRASHES:
        return State.failed, error
    hint = " (often the system's answer to a lack of memory)" if is_memory_short is None else ""
    hint = hint if status == -signal.SIGKILL else ""
    return State.interrupted, f"{error}, from outside{hint}; the same command resumes it"


def halve_micro_batch(config: Config, micro_batch: int, rule: BatchRule) -> Config | None:
    """Return the configuration with the largest micro-batch of at most half the images; None if there is none."""
    smaller = [n for n in list_micro_batches(config.recipe.total_batch, rule) if n <= micro_batch // 2]
    return replace(config, hardware=replace(config.hardware, per_device_batch=smaller[-1])) if smaller else None


def _run_process(planned: PlannedRun) -> int:
    """Return the exit status of a `train.py`."""
    with assign_gpu() as gpu:
        seen = [planned.name, f"seed={planned.config.seed}"]  # shown in a list of processes
        command = started("train", *seen)
        environment = {**os.environ, **gpu, HANDED: json.dumps(planned.values())}
        with subprocess.Popen(command, env=environment, preexec_fn=_end_with_parent) as process:
            return process.wait()


@contextmanager
def forward_stop_signals(on_stop: Callable[[], None]) -> Iterator[list[signal.Signals]]:
    """Turn a signal to the sweep's process into a stop: trainings save, in any process, and nothing new starts.

    The signal is added to the list. A second Ctrl-C ends the launcher, which kills its processes.

    Args:
        on_stop: called at the first signal.
    """
    noted: list[signal.Signals] = []
    folder = tempfile.mkdtemp(prefix="convnet-roadmap-")
    os.environ[SWEEP], os.environ[STOP] = str(os.getpid()), f"{folder}/stop"

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT in noted:
            raise KeyboardInterrupt
        noted.append(signal.Signals(number))
        if len(noted) == 1:
            replace_file(Path(os.environ[STOP]), noted[0].name.encode())
            on_stop()

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
    """Return True if this process's sweep was asked to stop, or has died: nothing new may start."""
    parent, stop = _watch_sweep(), os.environ.get(STOP)
    return (stop is not None and Path(stop).exists()) or parent not in (None, os.getppid())


def describe_stop(otherwise: str) -> str:
    """Return why this process's sweep stops its runs; `otherwise` if the sweep was not asked to."""
    stop = os.environ.get(STOP)
    if stop is None or not Path(stop).exists():
        return otherwise
    name = Path(stop).read_text()
    return "interrupted by Ctrl-C" if name == "SIGINT" else f"stopped by {name}"


def is_launcher_worker() -> bool:
    """Return True if this is one of a launcher's processes for a sweep's runs."""
    return _watch_sweep() is not None


def is_watched() -> bool:
    """Return True if the sweep's command shows the progress of this process's run."""
    return SWEEP in os.environ


@cache
def _watch_sweep() -> int | None:
    """Return the sweep's process, if it is this one's parent; a cluster's jobs outlive the submitting command.

    Once it is asked to stop, or has died, trainings in its processes save and end. Otherwise joblib's processes
    would continue with the runs that they had taken from the queue.
    """
    sweep = os.environ.get(SWEEP)
    if sweep is None or sweep == str(os.getpid()):
        return None
    parent = os.getppid() if sweep == str(os.getppid()) else None
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to the sweep's process too
        signal.signal(number, signal.SIG_IGN)
    if parent is not None:  # sent by `timeout`; if it is not the parent, SIGTERM means that the parent has died
        signal.signal(signal.SIGTERM, _leave_to_sweep)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    return parent


def _leave_to_sweep(number: int, frame: FrameType | None) -> None:
    """Do nothing between trainings, which the sweep's file stops. If ignored, the signal would not reach them."""


def _end_with(parent: int | None) -> None:
    """Ask the current training to stop once the sweep must, and end this process some time after its parent."""
    idle = 0
    while idle < LOOKS_IN_GRACE:
        time.sleep(LOOK_EVERY_S)
        training = StopSignals.active
        is_gone = parent is not None and os.getppid() != parent
        if is_gone or Path(os.environ[STOP]).exists():
            if training is not None and training.received is None:
                os.kill(os.getpid(), signal.SIGTERM)
            elif training is None and not is_gone and multiprocessing.parent_process() is None:
                os._exit(ENDED_BY + signal.SIGTERM)  # a run's own process, which loads PyTorch: nothing to save
        idle = idle + 1 if is_gone and training is None else 0  # it may be recording how its run ended
    os._exit(ENDED_BY + signal.SIGTERM)


@contextmanager
def assign_gpu() -> Iterator[Mapping[str, str]]:
    """Yield environment variables that reserve the GPU with the fewest runs and a share of the cores.

    Each GPU has numbered slots, held by locks, so that several sweeps of one user can share a machine.
    """
    gpus = find_gpus()
    if not gpus:
        yield {}
        return
    folder = _find_folder()
    locks = (Lock(folder / f"place{place}.lock") for place in itertools.count())
    place, lock = next((place, lock) for place, lock in enumerate(locks) if lock.acquire())
    try:
        yield {"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)], SHARING: str(len(gpus))}
    finally:
        lock.close()


def find_gpus() -> list[str]:
    """Return the NVIDIA GPUs that this process may use, by index or name."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in visible.split(",") if name not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    names = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]  # without MIG partitions
    return [str(number) for number in range(len(names))] if listed.returncode == 0 else []


# Concurrent runs of hydra/launcher=processes; resolved only when a launcher is created.
OmegaConf.register_new_resolver("gpu_count", lambda: max(1, len(find_gpus())), replace=True)


def _find_folder() -> Path:
    """Where the places of all of this user's sweeps on this machine are.

    The folder for temporary files; if something else has the name there, as another user's folder or a file, the
    user's cache.

    Raises:
        RunError: neither can be used; names both.
    """
    tried = []
    for above in (Path(tempfile.gettempdir()), Path.home() / ".cache"):
        folder = above / f"convnet-roadmap-{os.getuid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                raise PermissionError(errno.EPERM, "is not this user's own")
            probe = Lock(folder / "probe.lock")
            probe.acquire()
            probe.close()
            return folder
        except OSError as error:
            tried.append(f"{folder} ({error.strerror})")
    raise RunError(f"GPUs can't be dealt to runs, since {' and '.join(tried)} can't be used. Set TMPDIR=FOLDER")


def _end_with_parent() -> None:
    """Make the new process receive SIGTERM if the sweep is killed, so that it saves and stops."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
