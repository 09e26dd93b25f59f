"""Graphs without a GPU: a capture notes each torch operation with its tensors and takes its effects back.

A replay runs these operations again on these tensors. So a number, a draw or a memory address that belongs to one
update only shows as other bits in the next.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from roadmap.training import graphs
from roadmap.training.spec import HardwareSpec

# A network in inference mode calls `item` as it is written, one in training what that consists of.
WAITING = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.item.default)


class Recorder(TorchDispatchMode):
    """Notes each operation, and the contents of the tensors that were there before."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # by storage: a tensor and a copy
        self.made: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in WAITING:
            raise RuntimeError("operation not permitted when stream is capturing")
        given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        for tensor in given:
            place = tensor.untyped_storage().data_ptr()
            if place not in self.made and place not in self.before:
                self.before[place] = (tensor, _whole(tensor).clone())
        result = function(*args, **(kwargs or {}))
        made = [value for value in tree_flatten(result)[0] if isinstance(value, Tensor)]
        self.made |= {tensor.untyped_storage().data_ptr() for tensor in made} - self.before.keys()
        self.operations.append((function, args, kwargs or {}, made))
        return result


def _whole(tensor: Tensor) -> Tensor:
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())


class RecordedBackend:
    """Graphs of the CPU. `replays` counts those of each capture, in the order of their first replay."""

    def __init__(self) -> None:
        self.order: list[int] = []  # captures, as replayed

    def warm_up(self, work: Callable[[], Any]) -> Any:
        return work()

    def capture(self, work: Callable[[], object]) -> graphs.Replay:
        recorder, state, number = Recorder(), torch.get_rng_state(), len(set(self.order))
        try:
            with recorder:
                work()
        finally:
            torch.set_rng_state(state)
            for tensor, copy in recorder.before.values():
                _whole(tensor).copy_(copy)

        def replay() -> None:
            self.order.append(number)
            with torch.no_grad():
                for function, args, kwargs, made in recorder.operations:
                    again = tree_flatten(function(*args, **kwargs))[0]
                    for old, new in zip(made, (one for one in again if isinstance(one, Tensor)), strict=True):
                        if old.data_ptr() != new.data_ptr():
                            old.copy_(new)

        return replay


def open_recorded(network: nn.Module, hardware: HardwareSpec, *_: Any) -> RecordedBackend | None:
    return RecordedBackend() if hardware.graphs else None
