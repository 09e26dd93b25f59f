"""Updates and evaluations as graphs give the bits of those without, whatever is drawn, resumed or refused.

Without a GPU the graphs are recorded ones (recorded_graphs.py).
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from recorded_graphs import RecordedBackend, open_recorded
from torch import Tensor, nn

import roadmap
from roadmap.cli import run as jobs
from roadmap.cli.run_folders import open_run_dir
from roadmap.config import Config, plan_run, read_config
from roadmap.data.sampler import Batch
from roadmap.model.network import Network, build_network
from roadmap.system.rank import DistInfo
from roadmap.training.build_state import build_train_state
from roadmap.training.distributed import ProcessGroup
from roadmap.training.graphs import GraphExecution, open_backend
from roadmap.training.resume import METRICS, Progress, check_content, collect, restore
from roadmap.training.step import Evaluation, Execution, TrainState, evaluate, train_step

UPDATES = 50
SIZE, CLASSES = 16, 10
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")


@pytest.fixture(params=["recorded", pytest.param("cuda", marks=needs_gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The device on which `hardware.graphs=true` gives graphs."""
    if request.param == "cuda":
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        yield torch.device("cuda:0")
        torch.use_deterministic_algorithms(False)
        return
    monkeypatch.setattr("roadmap.training.build_state.open_backend", open_recorded)
    yield torch.device("cpu")


@cache
def read(*words: str) -> Config:
    return read_config(roadmap.compose(*words))


def build(device: torch.device, *words: str, has_graphs: bool = True) -> TrainState:
    """With the optimizer that graphs need, also without graphs."""
    small = ["regime.depths.modern=[1,1,1,1]", "regime.depths.resnet=[1,1,1,1]", "regime.width.modern=8"]
    precision = "bf16" if device.type == "cuda" else "fp32"
    config = read(f"hardware.precision={precision}", "hardware.graphs=true", *words, *small)
    torch.manual_seed(0)
    model = build_network(config.model, config.regime)
    train_state = build_train_state(model, config.data, config.recipe, config.hardware, device, 8)
    if not has_graphs:
        train_state.execution = Execution()
    return train_state


SETTINGS = {
    "step 0, SGD": ("+roadmap=step0_resnet", "recipe.optimizer=sgd", "recipe.momentum=0.9"),
    "step 12, all that is drawn": (
        "+roadmap=step12_downsample",
        "recipe.mixup=0.8",
        "recipe.cutmix=1.0",
        "recipe.drop_path=0.5",
        "recipe.clip_grad=0.5",
        "recipe.ema_decay=0.9",
    ),
}
Bits = dict[str, bytes]


def make_update(number: int, total: int = 1, n: int = 8) -> list[Batch]:
    """The micro-batches of an update."""
    rng = torch.Generator().manual_seed(number)
    return [
        Batch(
            torch.randn(n, 3, SIZE, SIZE, generator=rng).contiguous(memory_format=torch.channels_last),
            torch.randint(CLASSES, (n,), generator=rng),
            100 * number + part,
        )
        for part in range(total)
    ]


def train(train_state: TrainState, numbers: range, total: int = 1) -> list[float]:
    """Train with other batches, draws and learning rates in each update; return the losses."""
    return [train_step(train_state, make_update(number, total), 1e-2 / (1 + number)).item() for number in numbers]


def read_bits(train_state: TrainState) -> Bits:
    """Everything that an update changes, with the generator of the device."""
    optimizer = train_state.optimizer.state_dict()["state"]
    values = {
        **train_state.model.state_dict(),
        **{f"{number}.{name}": value for number, state in optimizer.items() for name, value in state.items()},
        **({} if train_state.ema is None else {f"ema.{k}": v for k, v in train_state.ema.state_dict().items()}),
        "generator": torch.get_rng_state(),
    }
    if train_state.device.type == "cuda":
        values["cuda generator"] = torch.cuda.get_rng_state(train_state.device)
    return {name: value.cpu().numpy().tobytes() for name, value in values.items() if value is not None}


def count_updates(device: torch.device) -> int:
    return UPDATES if device.type == "cuda" else 4  # a recorded number or address is another's in each of them


@pytest.mark.parametrize(("setting", "total"), [("step 0, SGD", 1), *((setting, 3) for setting in SETTINGS)])
def test_graph_updates_equal_direct_updates(setting: str, total: int, device: torch.device) -> None:
    found = []
    for has_graphs in (True, False):
        train_state = build(device, *SETTINGS[setting], has_graphs=has_graphs)
        losses = train(train_state, range(count_updates(device)), total)
        found.append((losses, read_bits(train_state)))
    assert len(set(found[0][0])) == count_updates(device)
    assert found[0] == found[1]


@pytest.mark.parametrize("words", SETTINGS.values(), ids=SETTINGS)
def test_graph_evaluation_equals_direct_evaluation(words: tuple[str, ...], device: torch.device) -> None:
    """Between updates, its average too, and with fewer images in the last batch."""
    val = [*make_update(1000), *make_update(1001), *make_update(1002), *make_update(1003, n=5)]
    found = []
    for has_graphs in (True, False):
        train_state = build(device, *words, has_graphs=has_graphs)
        models = [model for model in (train_state.model, train_state.ema) if model is not None]
        evaluations: list[Evaluation] = []
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "hardware.graphs=true: batches of another shape")
            for number in range(3):
                evaluations += [evaluate(model, val, train_state) for model in models]
                train(train_state, range(number, number + 1))
        found.append((evaluations, read_bits(train_state)))
    assert found[0] == found[1]
    assert len({evaluation.loss for evaluation in found[0][0]}) > 2


def test_each_micro_batch_and_each_optimizer_step_is_a_replay(device: torch.device) -> None:
    if device.type == "cuda":
        pytest.skip("CUDA does not report its replays")
    train_state = build(device, *SETTINGS["step 12, all that is drawn"])
    train(train_state, range(3), total=4)
    execution = train_state.execution
    assert isinstance(execution, GraphExecution)
    assert isinstance(execution.backend, RecordedBackend)
    assert execution.backend.order == 2 * [0, 1, 1, 1, 2]  # none in the first update


def test_an_update_copies_its_batch_into_the_same_memory(device: torch.device) -> None:
    train_state = build(device, *SETTINGS["step 0, SGD"])
    execution = train_state.execution
    assert isinstance(execution, GraphExecution)
    places = []
    for number in range(4):
        train(train_state, range(number, number + 1))
        places.append([tensor.data_ptr() for part in execution._parts.values() for tensor in part.inputs])
        assert all(parameter.grad is None for parameter in train_state.model.parameters())
    assert places[0] == []
    assert len(places[1]) == 2
    assert places[1] == places[2] == places[3]


def test_other_batch_shapes_run_without_graphs_and_warn_once(device: torch.device) -> None:
    """Whole updates, and micro-batches within one."""
    found = []
    for has_graphs in (True, False):
        train_state = build(device, *SETTINGS["step 12, all that is drawn"], has_graphs=has_graphs)
        losses = train(train_state, range(3), total=2)
        odd = [
            make_update(3, total=2, n=6),
            [*make_update(4), *make_update(5, n=6)],
            make_update(6, total=3),
            [*make_update(7, n=6), *make_update(8)],
        ]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for update in odd:
                losses.append(train_step(train_state, update, 1e-3).item())
                losses += train(train_state, range(9, 11), total=2)
        found.append((losses, read_bits(train_state)))
        texts = [str(warning.message) for warning in caught]
        assert len(texts) == has_graphs
        assert all("batches of another shape" in text for text in texts)
    assert found[0] == found[1]


@pytest.mark.parametrize("place", ["first micro-batch", "later micro-batch", "optimizer", "average", "evaluation"])
def test_failed_capture_turns_graphs_off(place: str, device: torch.device) -> None:
    """With the same bits, whatever was replayed already, and one warning."""
    found = []
    for has_graphs in (True, False):
        train_state = build(device, *SETTINGS["step 12, all that is drawn"], has_graphs=has_graphs)
        with warnings.catch_warnings(record=True) as caught, pytest.MonkeyPatch.context() as patch:
            warnings.simplefilter("always")
            spoil(train_state, place, patch)
            losses = train(train_state, range(2), total=2)
            evaluations = [evaluate(train_state.model, make_update(1000), train_state) for _ in range(2)]
            losses += train(train_state, range(2, 4), total=2)
        found.append((losses, evaluations, read_bits(train_state)))
        texts = [str(warning.message) for warning in caught]
        assert len(texts) == has_graphs, texts
        assert all("can't be captured" in text and "the same results" in text for text in texts)
    assert found[0] == found[1]


def spoil(train_state: TrainState, place: str, patch: pytest.MonkeyPatch) -> None:
    """Make one part wait for a value."""
    weights = next(train_state.model.parameters())

    def wait_after(function: Callable[..., Any], when: Callable[[], bool] = lambda: True) -> Callable[..., Any]:
        def waits(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if when():
                weights.detach().sum().item()
            return result

        return waits

    if place == "first micro-batch":
        patch.setattr(train_state, "loss", wait_after(train_state.loss))
    elif place == "later micro-batch":
        patch.setattr(train_state, "loss", wait_after(train_state.loss, lambda: weights.grad is not None))
    elif place == "optimizer":
        patch.setattr(train_state.optimizer, "step", wait_after(train_state.optimizer.step))
    elif place == "average":
        assert train_state.ema is not None
        patch.setattr(train_state.ema, "update", wait_after(train_state.ema.update))
    else:
        patch.setattr(F, "cross_entropy", wait_after(F.cross_entropy, lambda: not train_state.model.training))


def run(output_dir: Path, *words: str) -> tuple[Path, dict[str, Any]]:
    """Train a run in output_dir, from its checkpoint if there is one; return its folder and results."""
    small = ["regime.depths.modern=[1,1,1,1]", "regime.width.modern=8", "recipe.epochs=2", "recipe.warmup_epochs=0"]
    drawn = ["recipe.mixup=0.8", "recipe.cutmix=1.0", "recipe.drop_path=0.5", "recipe.ema_decay=0.9"]
    batch = ["recipe.total_batch=160", "hardware.per_device_batch=80"]
    planned = plan_run(
        roadmap.compose("+roadmap=step12_downsample", *small, *drawn, *batch, f"output_dir={output_dir}", *words)
    )
    folder = open_run_dir(planned)
    folder.claim()
    return folder.path, jobs.train(planned.config, folder, jobs.Console(quiet=True), print)


@pytest.mark.system
@pytest.mark.filterwarnings("ignore:hardware.graphs=true. batches of another shape")
def test_resume_with_graphs_is_exact(
    device: torch.device,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    read_results: Callable[[Path], tuple[Any, ...]],
) -> None:
    """In its second epoch, and twice: so the graphs are captured anew in the middle of an epoch."""
    words = [f"hardware.device={device.type}", "hardware.graphs=true"]
    whole, _ = run(tmp_path / "whole", *words)

    def stop_after(updates: int) -> Callable[..., Tensor]:
        left = iter(range(updates))

        def step(train_state: TrainState, *arguments: Any) -> Tensor:
            assert isinstance(train_state.execution, GraphExecution)
            if next(left, None) is None:
                raise KeyboardInterrupt
            return train_step(train_state, *arguments)

        return step

    for updates in (10, 3):
        monkeypatch.setattr("roadmap.training.trainer.train_step", stop_after(updates))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "broken", *words, "hardware.checkpoint_minutes=0")
    monkeypatch.setattr("roadmap.training.trainer.train_step", train_step)
    broken, _ = run(tmp_path / "broken", *words)
    assert read_results(whole) == read_results(broken)
    monkeypatch.setattr("roadmap.training.build_state.GraphExecution", lambda backend: Execution())
    direct, _ = run(tmp_path / "direct", *words)
    assert read_results(whole) == read_results(direct)


@pytest.mark.parametrize(("first", "optimizer"), [(True, "adamw"), (False, "sgd")])
def test_checkpoint_is_independent_of_graphs(first: bool, optimizer: str, device: torch.device) -> None:
    words = ("+roadmap=step12_downsample", f"recipe.optimizer={optimizer}")
    saved, resumed = (build(device, *words, f"hardware.graphs={has}") for has in (first, not first))
    train(saved, range(2))
    progress = Progress([dict.fromkeys(METRICS, 1.0)], torch.zeros(5, device=device))
    content = collect(progress, torch.ones(3), saved.model, saved)
    check_content(content, progress, 2, resumed.model, resumed)
    restore(content, progress, resumed.model, resumed)
    assert read_bits(saved) == read_bits(resumed)
    assert isinstance(resumed.optimizer.param_groups[0]["lr"], Tensor) != first
    assert resumed.optimizer.param_groups[0].get("capturable", not first) != first
    assert float(resumed.optimizer.param_groups[0]["lr"]) == pytest.approx(5e-3)


@pytest.mark.parametrize(
    ("network", "kind", "world_size", "text"),
    [
        (Network, "cpu", 1, "need an NVIDIA GPU, and this run uses cpu"),
        (Network, "cuda", 2, "the gradient all-reduce of several ranks"),
        (nn.Module, "cuda", 1, "a reference network"),
    ],
)
def test_run_that_cannot_use_graphs_warns(network: type[nn.Module], kind: str, world_size: int, text: str) -> None:
    hardware = read("hardware.graphs=true").hardware
    group = ProcessGroup(DistInfo(0, world_size, 0))
    with pytest.warns(UserWarning, match=f"hardware.graphs=true has no effect: .*{text}"):
        assert open_backend(network.__new__(network), hardware, torch.device(kind), group) is None
    assert open_backend(nn.Identity(), replace(hardware, graphs=False), torch.device(kind), group) is None
