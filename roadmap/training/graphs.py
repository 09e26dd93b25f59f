"""CUDA graphs of updates and evaluations, with results equal bit for bit to those without graphs.

A graph replays kernels on fixed memory. So each augmented and mixed micro-batch is copied into a static buffer, and
the learning rate is a tensor. An update replays the forward and backward pass for each micro-batch (the first
creates the gradients, the others add to them), and then clipping, optimizer and moving average. Stochastic depth
draws from the device's generator, whose seed and offset a replay reads.

The first calls of each part run without a graph and do the same work: they select algorithms, compile kernels and
create the optimizer's state. So a capture never has to be undone, and a run can resume at any update.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from roadmap.errors import first_line
from roadmap.model.network import Network
from roadmap.training.distributed import ProcessGroup
from roadmap.training.spec import HardwareSpec
from roadmap.training.step import Execution, MicroStep, TrainState

WARM_UP = 1  # calls of a part before its capture; measurements warm up twice, so they time only replays
UPDATE = "update"

Replay = Callable[[], None]


class Backend(Protocol):
    """Captures and replays work."""

    def warm_up(self, work: Callable[[], Any]) -> Any:
        """Do the work on the stream that will capture it, and return its result."""

    def capture(self, work: Callable[[], object]) -> Replay:
        """Record the work's kernels, without running them.

        Raises:
            RuntimeError: the work can't be captured.
        """


class CudaBackend:
    """torch's CUDA graphs on one side stream, with one memory pool, since no two of them run at the same time."""

    def __init__(self, device: torch.device):
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()
        # The first graph allocates the generator state that all graphs share. In an evaluation it would be an
        # inference tensor, which training could not change.
        self._first = self.capture(partial(torch.zeros, 1, device=device))

    def warm_up(self, work: Callable[[], Any]) -> Any:
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = work()
        current.wait_stream(self.stream)
        return result

    def capture(self, work: Callable[[], object]) -> Replay:
        graph = torch.cuda.CUDAGraph()
        generator = torch.cuda.default_generators[self.device.index or 0]
        current, state = torch.cuda.current_stream(self.device), generator.get_state()
        try:
            # thread_local: other threads, such as the one that pins memory, may call CUDA meanwhile.
            with torch.cuda.graph(graph, self.pool, self.stream, capture_error_mode="thread_local"):
                work()
        except BaseException:
            # A failed capture leaves its stream current and the generator unusable.
            torch.cuda.set_stream(current)
            fresh = torch.Generator(self.device)
            fresh.set_state(state)
            generator.graphsafe_set_state(fresh)
            raise
        return graph.replay


def open_backend(
    network: nn.Module, hardware: HardwareSpec, device: torch.device, group: ProcessGroup
) -> Backend | None:
    """Return the backend if `hardware.graphs` is set; None, with a warning, if this run cannot use graphs."""
    if not hardware.graphs:
        return None
    if device.type != "cuda":
        obstacle = f"CUDA graphs need an NVIDIA GPU, and this run uses {device.type}"
    elif group.dist_info.world_size > 1:
        obstacle = "the gradient all-reduce of several ranks is not captured"
    elif not isinstance(network, Network):
        obstacle = "a reference network may have operations that a graph cannot capture"
    else:
        return CudaBackend(device)
    warnings.warn(f"hardware.graphs=true has no effect: {obstacle}", stacklevel=2)
    return None


@dataclass(frozen=True)
class Captured:
    """A captured part with its static input and output buffers."""

    inputs: tuple[Tensor, ...]
    output: Any  # a static tensor, which the next replay overwrites
    replay: Replay

    def __call__(self, *inputs: Tensor) -> Any:
        for static, tensor in zip(self.inputs, inputs, strict=True):
            static.copy_(tensor)
        self.replay()
        return self.output


class Mode(Enum):
    direct = auto()  # without a graph
    warm_up = auto()  # without a graph, on the capturing stream
    replay = auto()


class GraphExecution(Execution):
    """Runs the parts of updates and evaluations as graphs after a warm-up.

    Updates of one shape have graphs, and evaluations of one shape per network; other shapes run without, with one
    warning. If a capture fails, everything runs without graphs from then on. Between replays no parameter has a
    gradient, since gradients are in the graphs' memory.
    """

    def __init__(self, backend: Backend):
        self.backend = backend
        self.is_off = False
        self._parts: dict[Hashable, Captured] = {}
        self._calls: Counter[Hashable] = Counter()
        self._shapes: dict[Hashable, Hashable] = {}  # captured shapes by kind
        self._update = Mode.direct  # of the current update
        self._gradients: list[tuple[nn.Parameter, Tensor]] = []  # static buffers
        self._has_warned = False

    def forward_backward(self, train_state: TrainState, images: Tensor, targets: Tensor, step: MicroStep) -> Tensor:
        shapes = (step.total, _describe(images), _describe(targets))
        if step.number == 0:
            self._update = self._choose(UPDATE, shapes)
        work = partial(super().forward_backward, train_state, step=step)
        if self._update is Mode.replay and shapes != self._shapes[UPDATE]:
            self._warn_of_shape()
            self._attach_gradients()  # the update's static ones, to add to
            loss: Tensor = work(images, targets)
            self._detach_gradients()
        else:
            key = (UPDATE, "first" if step.number == 0 else "further")
            loss = self._run(self._update, key, train_state, work, images, targets)
        return loss

    def apply_gradients(self, train_state: TrainState) -> None:
        self._run(self._update, (UPDATE, "end"), train_state, partial(super().apply_gradients, train_state))
        self._update = Mode.direct

    def score(self, train_state: TrainState, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        work = partial(super().score, train_state, model)
        mode = self._choose(model, (_describe(images), _describe(labels)))
        sums: Tensor = self._run(mode, model, train_state, work, images, labels)
        return sums

    def _choose(self, kind: Hashable, shapes: Hashable) -> Mode:
        """Return how to run work of these shapes; the first shapes that finish their warm-up get graphs."""
        if self.is_off:
            return Mode.direct
        if kind not in self._shapes:
            self._calls[kind, shapes] += 1
            if self._calls[kind, shapes] <= WARM_UP:
                return Mode.warm_up
            self._shapes[kind] = shapes
        if self._shapes[kind] == shapes:
            return Mode.replay
        self._warn_of_shape()
        return Mode.direct

    def _run(
        self, mode: Mode, key: Hashable, train_state: TrainState, work: Callable[..., Any], *inputs: Tensor
    ) -> Any:
        if mode is Mode.warm_up:
            return self.backend.warm_up(partial(work, *inputs))
        part = self._find(key, train_state, work, inputs) if mode is Mode.replay else work
        return part(*inputs)

    def _find(
        self, key: Hashable, train_state: TrainState, work: Callable[..., Any], inputs: tuple[Tensor, ...]
    ) -> Callable[..., Any]:
        """Return a part's graph, captured at the first call; the work itself if that fails."""
        if key not in self._parts and not self.is_off:
            self._attach_gradients()
            try:
                self._parts[key] = self._capture(work, inputs)
            except RuntimeError as error:
                self._turn_off(train_state, error)
            else:
                self._gradients = self._gradients or _list_gradients(train_state)
                self._detach_gradients()
        return self._parts.get(key, work)

    def _capture(self, work: Callable[..., Any], inputs: tuple[Tensor, ...]) -> Captured:
        static = tuple(torch.empty_like(tensor).copy_(tensor) for tensor in inputs)
        outputs: list[Any] = []
        replay = self.backend.capture(lambda: outputs.append(work(*static)))
        return Captured(static, outputs[0], replay)

    def _turn_off(self, train_state: TrainState, error: RuntimeError) -> None:
        """Continue without graphs; in the middle of an update, keep its gradients so far."""
        train_state.optimizer.zero_grad(set_to_none=True)
        if self._update is Mode.replay:
            self._attach_gradients()
        if train_state.scaler.is_enabled():  # the capture changed its internal state
            scaler = torch.amp.GradScaler(train_state.device.type)
            scaler.load_state_dict(train_state.scaler.state_dict())
            train_state.scaler = scaler
        self.is_off = True
        self._parts.clear()
        warnings.warn(
            f"hardware.graphs=true: a part of this run can't be captured ({first_line(error)}), so it "
            "continues without CUDA graphs, with the same results",
            stacklevel=2,
        )

    def _attach_gradients(self) -> None:
        for parameter, gradient in self._gradients:
            parameter.grad = gradient

    def _detach_gradients(self) -> None:
        for parameter, _ in self._gradients:
            parameter.grad = None

    def _warn_of_shape(self) -> None:
        if not self._has_warned:
            warnings.warn(
                "hardware.graphs=true: batches of another shape, such as a small last one, run without CUDA graphs",
                stacklevel=2,
            )
        self._has_warned = True


def _describe(tensor: Tensor) -> Hashable:
    return tensor.shape, tensor.dtype, tensor.stride()


def _list_gradients(train_state: TrainState) -> list[tuple[nn.Parameter, Tensor]]:
    parameters = [parameter for group in train_state.optimizer.param_groups for parameter in group["params"]]
    return [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
