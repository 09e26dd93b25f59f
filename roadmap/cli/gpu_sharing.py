"""NVIDIA's multi-process service: runs that share a GPU compute at the same time and not in turn."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roadmap.cli.processes import find_gpus

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
RUNNING = Path("/tmp/nvidia-mps/control")  # of a service that was started with the default folder
WANTED = "CONVNET_ROADMAP_MPS"  # environment variable: 0 starts none
PROBE = "import torch; torch.zeros(1, device='cuda').item()"
PATIENCE_S = 60


@contextmanager
def share_gpus(runs_at_once: int, warn: Callable[[str], None]) -> Iterator[bool]:
    """Run the service while more runs than GPUs train at once; yields whether it runs.

    A service that runs already is used and left alone. If none can be started, or a process can't compute by it,
    runs share the GPU in turn, as without it.
    """
    if PIPES in os.environ or RUNNING.exists():
        yield True
        return
    gpus = find_gpus()
    if not gpus or runs_at_once <= len(gpus) or os.environ.get(WANTED) == "0" or shutil.which(CONTROL) is None:
        yield False
        return
    folder = tempfile.mkdtemp(prefix="convnet-roadmap-mps-")
    names = {PIPES: folder, LOGS: folder}
    try:
        obstacle = _start(names)
        if obstacle:
            warn(f"runs share the GPU in turn, since {CONTROL} can't be used: {obstacle}. {WANTED}=0 starts none")
        else:
            os.environ.update(names)
        yield not obstacle
    finally:
        for name in names:
            os.environ.pop(name, None)
        _call([CONTROL], os.environ | names, "quit\n")
        shutil.rmtree(folder, ignore_errors=True)


def _start(names: dict[str, str]) -> str | None:
    """Start the service and compute by it; return what went wrong."""
    # It numbers the GPUs that it sees anew, so it sees all.
    every_gpu = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    return _call([CONTROL, "-d"], every_gpu | names) or _call([sys.executable, "-c", PROBE], os.environ | names)


def _call(command: list[str], environment: dict[str, str], text: str = "") -> str | None:
    """Run a command to its end, with `text` as its input; return what went wrong, in a line."""
    # A service keeps what it inherits open, so its output is no pipe.
    with tempfile.TemporaryFile("w+") as output:
        try:
            done = subprocess.run(
                command,
                input=text,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        output.seek(0)
        lines = output.read().strip().splitlines()
    return None if done.returncode == 0 else lines[-1] if lines else f"it ended with status {done.returncode}"
