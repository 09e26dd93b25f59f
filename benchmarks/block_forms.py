"""Which form of the block is faster on this device: 1x1 convolutions, or linear layers on (N, H, W, C).

    python benchmarks/block_forms.py [--repeats 9] [OVERRIDE ...]

Times one update of each form in alternation, and prints the median ratio (convolution / linear: above 1, the
linear form is faster) with its quartiles.
"""

import argparse
import statistics
import time

import torch

import roadmap
from roadmap.config import read_config
from roadmap.model.build import build
from roadmap.training.hardware import pick_device
from roadmap.training.trainer import build_learner
from roadmap.training.update import Learner, train_update

STEPS = ("step0_resnet", "step5_inverted", "step7_kernel", "step12_downsample")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("overrides", nargs="*", help="such as regime=resnet50 data=imagenet data.image_size=64")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, n = {arguments.repeats}")
    for step in STEPS:
        ratios, times = compare(step, arguments.overrides, arguments.repeats)
        low, median, high = statistics.quantiles(ratios, n=4)
        print(
            f"{step:18} linear {1e3 * statistics.median(times):8.1f} ms  ratio {median:.2f} [{low:.2f}, {high:.2f}]"
        )


def compare(step: str, overrides: list[str], repeats: int) -> tuple[list[float], list[float]]:
    """Ratios convolution / linear, pair by pair, and the seconds of the linear form."""
    pairs = [make(step, [*overrides, f"model.form={form}"]) for form in ("conv", "linear")]
    seconds = [[time_update(*pair) for pair in pairs] for _ in range(repeats + 2)][2:]
    return [conv / linear for conv, linear in seconds], [linear for _, linear in seconds]


def make(step: str, overrides: list[str]) -> tuple[Learner, tuple[torch.Tensor, torch.Tensor]]:
    config = read_config(roadmap.compose(f"+roadmap={step}", *overrides))
    device = pick_device(config.hardware)
    size, batch = config.data.image_size, min(config.recipe.total_batch, config.hardware.per_device_batch)
    model = build(config.model, config.regime, config.reference, size)
    learner = build_learner(model, config.data, config.recipe, config.hardware, device, batch)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    return learner, learner.place(images, torch.randint(config.data.num_classes, (batch,)))


def time_update(learner: Learner, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
    started = time.perf_counter()
    train_update(learner, [batch], 1e-4).item()  # waits for the device
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
