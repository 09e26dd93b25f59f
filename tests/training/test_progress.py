"""The live line of a single run."""

import re
from io import StringIO

import pytest
import torch

from roadmap.system.console import Console
from roadmap.training.progress import ProgressDisplay


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (80, ["epoch 5/300", "top-1 81.20", "left"]),
        (120, ["epoch 5/300", "loss 2.125", "top-1 81.20", "left"]),
        (160, ["epoch 5/300", "loss 2.125", "lr 4.0e-03", "top-1 81.20", "12,345 images/s", "left"]),
    ],
)
def test_progress_bar_keeps_seed_and_time_left(width: int, shown: list[str]) -> None:
    console = Console(file=StringIO(), width=width, force_terminal=True)
    display = ProgressDisplay("step12_downsample seed 0", 300, 100, console)
    display.epoch({"epoch": 4, "top1": 81.2, "images_per_s": 12345.0, "train_loss": 2.0, "lr": 0.004})
    display._shown_at = -1e9
    display.update(401, torch.tensor(2.125), 0.004)
    assert isinstance(console.file, StringIO)
    console.print(display.bar.get_renderable())
    line = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue()).rstrip()
    assert "\n" not in line
    assert len(line) <= width
    assert re.fullmatch(rf"step12_downsample seed 0 \S* {'.*'.join(map(re.escape, shown))} (-|\d)[\d:-]+", line), (
        line
    )
    assert "━" in line
