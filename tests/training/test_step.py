"""An update compared with plain torch, accumulation with a whole batch, a resumed run with an unbroken one."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn.parallel import DistributedDataParallel

import roadmap
from roadmap.config import read_config
from roadmap.data.sampler import Batch
from roadmap.errors import TrainingError
from roadmap.training.build_state import build_train_state
from roadmap.training.step import TrainState, evaluate, train_step

CPU = torch.device("cpu")
WORDS = (
    "+roadmap=step12_downsample",
    "recipe.epochs=2",
    "recipe.warmup_epochs=0",
    "recipe.total_batch=256",
    "regime.width.modern=8",
    "regime.depths.modern=[1,1,1,1]",
)


def make_learner(*overrides: str) -> TrainState:
    config = read_config(roadmap.compose("+roadmap=step12_downsample", *overrides))
    torch.manual_seed(0)
    model = roadmap.build_model(roadmap.compose("+roadmap=step12_downsample", *overrides))
    return build_train_state(model, config.data, config.recipe, config.hardware, CPU, 16)


def make_batch(seed: int = 0, n: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, 16, 16, generator=generator), torch.randint(10, (n,), generator=generator)


def test_train_step_equals_plain_torch() -> None:
    train_state, other = make_learner(), make_learner()
    images, labels = make_batch()
    optimizer = other.optimizer
    for lr in (1e-3, 5e-4):
        loss = train_step(train_state, [(images, labels)], lr)
        for group in optimizer.param_groups:
            group["lr"] = lr
        expected = F.cross_entropy(other.model(images), labels, label_smoothing=0.1)
        expected.backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.testing.assert_close(loss, expected.detach())
    for a, b in zip(train_state.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Grad strides do not match")  # as _share_gradients ignores them
def test_gradients_are_reduced_after_the_last_micro_batch() -> None:
    """Otherwise each micro-batch of an update would cost the communication of a whole update."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        train_state = make_learner()
        train_state.model = DistributedDataParallel(train_state.model)
        backwards, shared = [], []

        def share(_: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
            shared.append(len(backwards))
            future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
            future.set_result(bucket.buffer())
            return future

        train_state.model.register_comm_hook(None, share)
        loss = train_state.loss
        train_state.loss = lambda logits, targets: backwards.append(1) or loss(logits, targets)
        train_step(train_state, [make_batch(seed) for seed in range(3)], 1e-3)
        assert set(shared) == {3}
    finally:
        dist.destroy_process_group()


@pytest.mark.system  # compiles: 15 s
def test_each_network_of_a_sweep_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler stops after some variants of a function (eight, unless timm raises it); a step needs three."""
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 5)
    counter = CompileCounter()
    compile_by = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda network: compile_by(network, backend=counter))
    for step in ("step3_depthwise", "step12_downsample"):
        before = counter.frame_count
        train_state = make_learner(f"roadmap={step}", "regime.depths.modern=[1,1,1,1]", "hardware.compile=true")
        train_step(train_state, [make_batch()], 1e-3)
        evaluate(train_state.model, [Batch(*make_batch()), Batch(*make_batch(n=5))], train_state)
        assert counter.frame_count - before == 3, step  # as a whole: parts would be compiled one by one


def test_accumulation_equals_the_whole_batch() -> None:
    """For networks without BatchNorm, whose statistics are per micro-batch."""
    whole, parts = make_learner(), make_learner()
    images, labels = make_batch()
    micro_batches = [(images[i : i + 4], labels[i : i + 4]) for i in range(0, 16, 4)]
    torch.testing.assert_close(
        train_step(whole, [(images, labels)], 1e-3), train_step(parts, micro_batches, 1e-3), rtol=1e-5, atol=1e-6
    )
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=2e-4)  # Adam divides small differences by small numbers


def test_loss_is_computed_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's autocast would compute log_softmax in the precision of the logits."""
    train_state = make_learner("hardware.precision=bf16")
    loss, seen = train_state.loss, []
    monkeypatch.setattr(train_state, "loss", lambda *pair: seen.append(pair[0].dtype) or loss(*pair))
    train_step(train_state, [make_batch()], 1e-3)
    assert seen == [torch.float32]
    with train_state.autocast():
        assert train_state.model(make_batch()[0]).dtype == torch.bfloat16


def test_the_moving_average_is_compiled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda network: compiled.append(network))
    train_state = make_learner("hardware.compile=true", "recipe.ema_decay=0.9")
    assert train_state.ema is not None
    assert compiled == [train_state.model, train_state.ema.module]


def test_clipping_bounds_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    train_state = make_learner("recipe.clip_grad=0.01")
    norms = []
    step = train_state.optimizer.step

    def measure() -> None:
        norms.append(torch.cat([p.grad.flatten() for p in train_state.model.parameters()]).norm().item())
        step()

    monkeypatch.setattr(train_state.optimizer, "step", measure)
    train_step(train_state, [make_batch()], 1e-3)
    assert norms == [pytest.approx(0.01, rel=1e-3)]


def test_evaluation_counts_each_image_once() -> None:
    train_state = make_learner()
    images, labels = make_batch(n=23)
    whole = evaluate(train_state.model, [(images, labels)], train_state)
    parts = evaluate(train_state.model, [(images[:16], labels[:16]), (images[16:], labels[16:])], train_state)
    train_state.model.eval()
    with torch.no_grad():
        logits = train_state.model(images)
    ranks = (logits > logits.gather(1, labels[:, None])).sum(1)
    assert whole.images == parts.images == 23
    assert whole.top1 == pytest.approx(100 * (ranks < 1).double().mean().item())
    assert whole.top5 == pytest.approx(100 * (ranks < 5).double().mean().item())
    assert parts.top1 == pytest.approx(whole.top1)
    assert parts.loss == pytest.approx(nn.CrossEntropyLoss()(logits, labels).item(), rel=1e-5)


def train(output_dir: Path, *overrides: str) -> dict[str, torch.Tensor]:
    """Train in output_dir, from its checkpoint if there is one, and return the final weights."""
    run = roadmap.train(*WORDS, *overrides, output_dir=output_dir, progress=False)
    return torch.load(run.path / "checkpoint.pt", weights_only=True)["model"]


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    first, other = train(tmp_path, "recipe.epochs=1"), train(tmp_path, "recipe.epochs=1", "seed=1")
    assert not torch.equal(first["stem.conv.weight"], other["stem.conv.weight"])


def test_resume_after_an_epoch_is_exact_by_a_dataloader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in the second epoch, as by a notebook's stop button: bit for bit the weights of an unbroken run."""
    words = ["hardware.resident=false"]
    undisturbed = train(tmp_path / "whole", *words)
    calls = []

    def stop(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 8:
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(*arguments)

    monkeypatch.setattr("roadmap.training.trainer.train_step", stop)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "broken", *words)
    monkeypatch.undo()
    experiment = tmp_path / "broken/micro-digits"
    assert roadmap.load_results(experiment).state.tolist() == ["interrupted"]
    resumed = train(tmp_path / "broken", *words)
    assert all(torch.equal(undisturbed[key], resumed[key]) for key in undisturbed)
    assert len(roadmap.load_epochs(experiment)) == 2


def test_non_finite_loss_names_epoch_and_update(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"epoch 1, update \d+, at learning rate"):
        train(tmp_path, "recipe.lr=1e20")


def test_the_last_step_learns(tmp_path: Path) -> None:
    """Two epochs of digits are far better than chance, 10%. So are step 0's, see tests/cli/test_training.py."""
    words = ("+roadmap=step12_downsample", "recipe.epochs=2")
    assert roadmap.train(*words, output_dir=tmp_path, progress=False).top1 > 50
