"""Our training step compared with torchvision's and timm's networks, with the same weights.

    python benchmarks/training_step.py [--cases step0,step12] [--batch N] [--json FILE] [KEY=VALUE ...]
    python benchmarks/training_step.py --cases step0,step12 --batch 256 data.image_size=224 \\
        hardware.precision=bf16 hardware.compile=true hardware.deterministic=false [--eager-peer]

One update of a batch that lies on the device: mixing, forward pass, loss, backward pass and fused AdamW, by the
project's own `train_step` for both networks, so that the ratio is that of the networks alone. Both are in
channels_last and in the same precision, on the same images; stochastic depth is off, since torchvision's network
has none. Before the clock starts, the logits of both must agree, and in the first round their losses, which are the
checksum.

Limits on one H100 for step 12 of resnet50 at 224 px: 29,500 images/s by its arithmetic (26.8 GFLOP per image at
790 TFLOP/s in bf16), 9,300 to 15,700 by the memory traffic of its activations (190 to 320 MB per image at 3 TB/s).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

import timm
import torch
import torchvision
from pairs import Pair, Report, make_parser, run_benchmark
from torch import nn

import roadmap
from roadmap.cli.arguments import positive
from roadmap.config import Config, read_config
from roadmap.errors import ConfigError
from roadmap.model.build import build
from roadmap.model.cost import measure_cost
from roadmap.model.weights import import_weights
from roadmap.training.build_state import build_train_state
from roadmap.training.device import pick_device, seed_everything
from roadmap.training.measure.check_work import CountedBatches, Work, compute_bound
from roadmap.training.spec import HardwareSpec, Precision
from roadmap.training.step import train_step

CLASSES = 1000
TOLERANCE = 1e-4  # of logits, relative to the largest
LOSS_TOLERANCE = {True: 1e-3, False: 0.03}  # relative, in fp32 and below it
LR = 1e-4
ATTO = ("regime.name=atto", "regime.depths.modern=[2,2,6,2]", "regime.width.modern=40")  # timm's convnext_atto


@dataclass(frozen=True)
class Case:
    peer_name: str
    build_peer: Callable[[], nn.Module]
    words: tuple[str, ...]  # overrides of our network
    batch: int  # images, by default


RESNET = ("+roadmap=step0_resnet", "regime=resnet50", "model.layer_scale_init=null", "data.image_size=64")
CONVNEXT = ("+roadmap=step12_downsample", "regime=resnet50", "model.layer_scale_init=1e-6")
make_tiny, make_atto = (partial(timm.create_model, name) for name in ("convnext_tiny", "convnext_atto"))
CASES = {
    "step0": Case("torchvision resnet50", torchvision.models.resnet50, RESNET, 16),
    "step12": Case("timm convnext_tiny", make_tiny, (*CONVNEXT, "data.image_size=64"), 16),
    "atto-32": Case("timm convnext_atto", make_atto, (*CONVNEXT, *ATTO, "data.image_size=32"), 64),
    "atto-64": Case("timm convnext_atto", make_atto, (*CONVNEXT, *ATTO, "data.image_size=64"), 64),
}


def make_pairs(arguments: argparse.Namespace) -> Sequence[Callable[[], Pair]]:
    names = arguments.cases.split(",")
    if unknown := [name for name in names if name not in CASES]:
        raise ConfigError(f"--cases {','.join(unknown)}: there is no such case. Allowed: {', '.join(CASES)}")
    return [partial(make_pair, name, arguments.batch, arguments.overrides, arguments.eager_peer) for name in names]


def make_pair(name: str, batch: int | None, overrides: Sequence[str], eager_peer: bool) -> Pair:
    """Return the updates of both networks on the same images."""
    case = CASES[name]
    batch = batch or case.batch
    config = read_case(case, batch, overrides)
    ours, peer = build_both(case, config)
    images, labels = make_batch(batch, config.data.image_size)
    check_logits(ours, peer, images[:2])
    peer_hardware = replace(config.hardware, compile=False) if eager_peer else config.hardware
    size = config.data.image_size
    return Pair(
        f"{name}, {size} px, batch {batch}, {config.hardware.precision}",
        case.peer_name + (" eager" if eager_peer else ""),
        batch,
        make_update(ours, config, config.hardware, images, labels),
        make_update(peer, config, peer_hardware, images, labels),
        bound=find_update_bound(config, batch),
        tolerance=LOSS_TOLERANCE[config.hardware.precision is Precision.fp32],
    )


def find_update_bound(config: Config, batch: int) -> float:
    """Return images/s that no machine exceeds in updates of our network."""
    size = config.data.image_size
    cost = measure_cost(partial(build, config.model, config.regime, config.reference, size), size)
    device, precision = pick_device(config.hardware), config.hardware.precision
    return compute_bound(1e9 * cost.gmacs, batch, device, precision, updates=True)


def read_case(case: Case, batch: int, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration of our side: the paper's recipe, without stochastic depth."""
    sizes = (f"recipe.total_batch={batch}", f"hardware.per_device_batch={batch}")
    words = ("data=imagenet", "recipe=paper", "model.drop_path=0", *sizes, *case.words)
    return read_config(roadmap.compose(*words, *overrides))


def build_both(case: Case, config: Config) -> tuple[nn.Module, nn.Module]:
    """Build our network and the peer, with the peer's weights; LayerScale is 1, since at 1e-6 no block counts."""
    seed_everything(0)
    peer = case.build_peer()
    for name, parameter in peer.named_parameters():
        if name.endswith(".gamma"):
            nn.init.ones_(parameter)
    ours = build(config.model, config.regime, None, config.data.image_size)
    import_weights(ours, peer.state_dict(), case.peer_name)
    return ours, peer


def make_batch(batch: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, size, size, generator=generator)
    return images, torch.randint(CLASSES, (batch,), generator=generator)


@torch.no_grad()
def check_logits(ours: nn.Module, peer: nn.Module, images: torch.Tensor) -> None:
    """Raise ConfigError if the networks' logits differ, since timing different computations is pointless."""
    logits, expected = (network.eval()(images) for network in (ours, peer))
    error = ((logits - expected).abs().max() / expected.abs().max()).item()
    if not error <= TOLERANCE:
        raise ConfigError(f"the two networks are not the same: their logits differ by {error:.1e} of the largest")


def make_update(
    network: nn.Module, config: Config, hardware: HardwareSpec, images: torch.Tensor, labels: torch.Tensor
) -> Callable[[], Report]:
    """Return one update as a call; the n-th call of both sides mixes alike."""
    device = pick_device(hardware)
    network.train()
    train_state = build_train_state(network, config.data, config.recipe, hardware, device, len(labels))
    batch, seeds = train_state.to_device(images, labels), count()

    def update() -> Report:
        batches = CountedBatches([batch._replace(seed=next(seeds))])
        loss = train_step(train_state, batches, LR).item()  # item() waits for the device
        return lambda: Work(batches.images, loss)

    return update


def make_options() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    parser.add_argument(
        "--cases", default=",".join(CASES), help=f"with commas between them; default: all of {', '.join(CASES)}"
    )
    parser.add_argument("--batch", type=positive, metavar="N", help="images; default: 16, for atto 64")
    parser.add_argument("--eager-peer", action="store_true", help="hardware.compile=true is for ours alone")
    return parser


if __name__ == "__main__":
    sys.exit(run_benchmark(make_options(), make_pairs))
