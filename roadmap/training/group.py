"""What processes that train one network together tell each other."""

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
import torch.distributed.nn.functional  # before there is a group, which its functions' defaults would keep
from torch import Tensor, nn

from roadmap.errors import ResumableError, RoadmapError, RunError, TrainingError
from roadmap.training.processes import Place, find_place

TIMEOUT = timedelta(minutes=30)  # the first process may decode the data while the others wait
ENDS = {"error": RunError, "interruption": ResumableError}  # keys of what ended a process, and what it becomes
ATTEMPT = "convnet-roadmap"  # keys in torchrun's store
ASK_EVERY_S = 0.02
PORTS = (20_000, 40_000)  # one is derived from a SLURM job's number


class Group:
    """The processes of a training. Each of them has to call each method, in the same order."""

    def __init__(self, place: Place, control: dist.ProcessGroup | None = None, store: dist.Store | None = None):
        self.place = place
        self._control = control  # on the CPU, so that talking does not wait for a GPU
        self._store = store

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, element by element."""
        return self.sum(values) / self.place.size

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, element by element."""
        if self._control is None:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total

    def any(self, flags: Sequence[bool]) -> list[bool]:
        """Each flag, true where it is in any process."""
        if self._control is None:
            return list(flags)
        return [bool(vote) for vote in self.highest(torch.tensor(flags, dtype=torch.uint8))]

    def highest(self, values: Tensor) -> Tensor:
        """The highest of the processes, element by element, of values on the CPU."""
        highest = values.clone()
        if self._control is not None:
            dist.all_reduce(highest, dist.ReduceOp.MAX, group=self._control)
        return highest

    def share_buffers(self, network: nn.Module) -> None:
        """Gives all processes the first one's buffers, such as BatchNorm's running statistics."""
        if self._control is not None:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)

    def first(self, value: Any) -> Any:
        """The first process's value, in all of them."""
        if self._control is None:
            return value
        box = [value if self.place.is_first else None]
        dist.broadcast_object_list(box, src=0, group=self._control)
        return box[0]

    def tell(self, text: str, error: Exception) -> None:
        """Leaves word of the error that ends this process, for the first one."""
        end = "interruption" if isinstance(error, ResumableError) else "error"
        if self._store is not None:
            with suppress(RuntimeError):  # the first is gone too
                self._store.set(f"{end}/{self.place.rank}", f"process {self.place.rank}: {text}")

    def hear(self) -> RoadmapError | None:
        """What ended another process, if one has told."""
        if self._store is not None:
            for end, kind in ENDS.items():
                for key in (f"{end}/{rank}" for rank in range(self.place.size)):
                    if self._store.check([key]):
                        return kind(self._store.get(key).decode())
        return None

    @staticmethod
    def is_broken(error: Exception) -> bool:
        """Whether an error is that another process is gone. Gloo's has no class of its own."""
        lost = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket closed")
        return isinstance(error, dist.DistError) or any(text in str(error) for text in lost)


ALONE = Group(Place())


@cache
def join_group() -> Group:
    """The group that the launcher started this process in; made once a process."""
    place = find_place()
    if place.size == 1:
        return ALONE
    _name_meeting_point()
    if place.local_rank < torch.cuda.device_count():
        torch.cuda.set_device(place.local_rank)
    # By where what is sent lies: hardware.device may be the CPU.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store = _open_store(place)
    dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.size, timeout=TIMEOUT)
    control = dist.new_group(backend="gloo")
    assert isinstance(control, dist.ProcessGroup)
    return Group(place, control, store)


def leave_group() -> None:
    """Before the process ends, when nothing that trained is in use any more.

    A group that something still refers to keeps its threads, and one that lets go of a tensor while Python ends
    aborts the process (pytorch/pytorch#190489).
    """
    join_group.cache_clear()
    if dist.is_initialized():
        dist.destroy_process_group()
    gc.collect()


def _open_store(place: Place) -> dist.Store:
    """Where the processes leave their addresses, apart from those of processes that torchrun has started before.

    torchrun keeps its store over a restart, and who reads the address of a process that is dead waits in vain.
    """
    store, _, _ = next(dist.rendezvous("env://", place.rank, place.size, timeout=TIMEOUT))
    return dist.PrefixStore(agree_on_attempt(store, place), store)


def agree_on_attempt(store: dist.Store, place: Place) -> str:
    """A name for this start of the group, the same in all of its processes and in none that ended before.

    torchrun's own count of restarts differs between nodes (pytorch/pytorch#135712). So the first process gives a
    name, each of the others answers to it with a word of its own, and goes on once it sees that word confirmed:
    what an earlier start left in the store has other names and other words.

    Raises:
        TrainingError: a process did not come in TIMEOUT.
    """
    own = uuid4().hex
    last = time.monotonic() + TIMEOUT.total_seconds()

    def read(key: str) -> str:
        return store.get(key).decode() if store.check([key]) else ""

    if place.is_first:
        store.set(ATTEMPT, own)
    while time.monotonic() < last:
        if place.is_first:
            answers = [read(f"{ATTEMPT}/{rank}") for rank in range(1, place.size)]
            if all(answer.startswith(own) for answer in answers):
                store.set(f"{ATTEMPT}/{own}", " ".join(answers))
                return own
        elif name := read(ATTEMPT):
            store.set(f"{ATTEMPT}/{place.rank}", name + own)
            if own in read(f"{ATTEMPT}/{name}"):
                return name
        time.sleep(ASK_EVERY_S)
    raise TrainingError(f"process {place.rank} of {place.size} waited {TIMEOUT} for the others")


def _name_meeting_point() -> None:
    """SLURM names no address and port; the step was started on the first node."""
    if "MASTER_ADDR" not in os.environ:
        job = int(os.environ["SLURM_JOB_ID"])
        os.environ["MASTER_ADDR"] = os.environ["SLURM_LAUNCH_NODE_IPADDR"]
        os.environ["MASTER_PORT"] = str(PORTS[0] + job % (PORTS[1] - PORTS[0]))
