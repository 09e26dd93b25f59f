"""Process group: communication between the ranks that train one network."""

import gc
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import uuid4

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # before a group exists, which its default arguments would reference
from torch import Tensor, nn

from roadmap.errors import ResumableError, RoadmapError, RunError, TrainingError
from roadmap.system.rank import DistInfo, get_dist_info

TIMEOUT = timedelta(minutes=30)  # rank 0 may decode the data while the others wait
ENDS = {"error": RunError, "interruption": ResumableError}  # error class by key in the store
ATTEMPT = "convnet-roadmap"  # prefix of keys in torchrun's store
POLL_S = 0.02
PORTS = (20_000, 40_000)  # range of the port, which is derived from the SLURM job's number


class ProcessGroup:
    """Process group of a training. All ranks must call its collective methods in the same order."""

    def __init__(
        self, dist_info: DistInfo, control: dist.ProcessGroup | None = None, store: dist.Store | None = None
    ):
        self.dist_info = dist_info
        self._control = control  # on the CPU, so that control messages do not wait for a GPU
        self._store = store

    def all_reduce_mean(self, values: Tensor) -> Tensor:
        """Return the elementwise mean over the ranks."""
        return self.all_reduce_sum(values) / self.dist_info.world_size

    def all_reduce_sum(self, values: Tensor) -> Tensor:
        """Return the elementwise sum over the ranks."""
        if self._control is None:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def any_rank(self, flags: Sequence[bool]) -> list[bool]:
        """Return for each flag whether it is set in any rank."""
        if self._control is None:
            return list(flags)
        return [bool(vote) for vote in self.all_reduce_max(torch.tensor(flags, dtype=torch.uint8))]

    def all_reduce_max(self, values: Tensor) -> Tensor:
        """Return the elementwise maximum over the ranks, for values on the CPU."""
        highest = values.clone()
        if self._control is not None:
            dist.all_reduce(highest, dist.ReduceOp.MAX, group=self._control)
        return highest

    def broadcast_buffers(self, network: nn.Module) -> None:
        """Broadcast rank 0's buffers, such as BatchNorm's running statistics."""
        if self._control is not None:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value in all ranks."""
        if self._control is None:
            return value
        box = [value if self.dist_info.is_main_process else None]
        dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]

    def report_error(self, text: str, error: Exception) -> None:
        """Store the error that ends this rank, for rank 0 to read."""
        end = "interruption" if isinstance(error, ResumableError) else "error"
        if self._store is not None:
            with suppress(RuntimeError):  # rank 0, which hosts the store, has died too
                self._store.set(f"{end}/{self.dist_info.rank}", f"process {self.dist_info.rank}: {text}")

    def peer_error(self) -> RoadmapError | None:
        """Return the error that another rank stored; None if there is none."""
        if self._store is not None:
            for end, kind in ENDS.items():
                for key in (f"{end}/{rank}" for rank in range(self.dist_info.world_size)):
                    if self._store.check([key]):
                        return kind(self._store.get(key).decode())
        return None

    @staticmethod
    def is_peer_failure(error: Exception) -> bool:
        """Return True if a peer rank died. Gloo has no error class for it, so the message is matched."""
        messages = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket closed")
        return isinstance(error, dist.DistError) or any(text in str(error) for text in messages)


SINGLE_PROCESS = ProcessGroup(DistInfo())


@cache
def join_group() -> ProcessGroup:
    """Return the process group that the launcher set up for this process, created at the first call."""
    dist_info = get_dist_info()
    if dist_info.world_size == 1:
        return SINGLE_PROCESS
    _set_master_address()
    if dist_info.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(dist_info.local_rank)
    # One backend per device, since hardware.device may be the CPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store = _open_store(dist_info)
    dist.init_process_group(
        backend, store=store, rank=dist_info.rank, world_size=dist_info.world_size, timeout=TIMEOUT
    )
    control = dist.new_group(backend="gloo")
    assert isinstance(control, dist.ProcessGroup)
    return ProcessGroup(dist_info, control, store)


def leave_group() -> None:
    """Destroy the group before the process ends, after the trainer is freed.

    A group that is still referenced keeps its threads, and a thread that frees a tensor while Python exits aborts
    the process (pytorch/pytorch#190489).
    """
    join_group.cache_clear()
    if dist.is_initialized():
        dist.destroy_process_group()
    gc.collect()


def _open_store(dist_info: DistInfo) -> dist.Store:
    """Open the store of the ranks' addresses, under a prefix that is unique to this start.

    torchrun keeps its store over a restart, and a rank that reads a dead process's address waits forever.
    """
    store, _, _ = next(dist.rendezvous("env://", dist_info.rank, dist_info.world_size, timeout=TIMEOUT))
    return dist.PrefixStore(agree_on_attempt(store, dist_info), store)


def agree_on_attempt(store: dist.Store, dist_info: DistInfo) -> str:
    """Agree on a name for this start of the group, equal in all ranks and different from earlier starts'.

    torchrun's count of restarts differs between nodes (pytorch/pytorch#135712). So rank 0 publishes a name, the
    other ranks answer with it and a random key each, and continue once rank 0 has confirmed their key. Entries of
    earlier starts have other names and keys.

    Raises:
        TrainingError: a rank did not answer within TIMEOUT.
    """
    key = uuid4().hex
    deadline = time.monotonic() + TIMEOUT.total_seconds()

    def read(entry: str) -> str:
        return store.get(entry).decode() if store.check([entry]) else ""

    if dist_info.is_main_process:
        store.set(ATTEMPT, key)
    while time.monotonic() < deadline:
        if dist_info.is_main_process:
            answers = [read(f"{ATTEMPT}/{rank}") for rank in range(1, dist_info.world_size)]
            if all(answer.startswith(key) for answer in answers):
                store.set(f"{ATTEMPT}/{key}", " ".join(answers))
                return key
        elif name := read(ATTEMPT):
            store.set(f"{ATTEMPT}/{dist_info.rank}", name + key)
            if key in read(f"{ATTEMPT}/{name}"):
                return name
        time.sleep(POLL_S)
    raise TrainingError(f"rank {dist_info.rank} of {dist_info.world_size} waited {TIMEOUT} for the others")


def _set_master_address() -> None:
    """Set MASTER_ADDR and MASTER_PORT under SLURM, which does not; rank 0 is on the first node."""
    if "MASTER_ADDR" not in os.environ:
        job = int(os.environ["SLURM_JOB_ID"])
        os.environ["MASTER_ADDR"] = os.environ["SLURM_LAUNCH_NODE_IPADDR"]
        os.environ["MASTER_PORT"] = str(PORTS[0] + job % (PORTS[1] - PORTS[0]))
