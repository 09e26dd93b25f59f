"""Tables of plan and profile on narrow terminals, and what a plan prints before it is done."""

from io import StringIO
from typing import Any

import pytest

from roadmap.cli import plan, profile
from roadmap.cli.estimate import RoughEstimate
from roadmap.system.console import Console

NAME = "step12_downsample,norm=batchnorm"
PLANNED = {
    "run": NAME, "runs": 3, "epochs": 900, "update_s": 0.123, "update_spread": 0.02, "images_per_s": 33_333.0,
    "evaluation_s": 12.3, "start_s": 45.0, "hours": 123.0, "peak_memory_bytes": 2**35, "largest_batch": 1024,
}  # fmt: skip
PROFILED = {
    "step": NAME, "gmacs": 4.456, "paper_gflops": 4.49, "parameters": 28.6e6, "activations": 22.5e6,
    "forward_images_per_s": 1234.0, "forward_q1": 1230.0, "forward_q3": 1240.0,
    "update_images_per_s": 432.1, "update_q1": 430.0, "update_q3": 434.0, "peak_memory_bytes": 2**35, "error": "",
}  # fmt: skip


@pytest.mark.parametrize(("width", "is_cut"), [(80, True), (120, False)])
@pytest.mark.parametrize(
    ("draw", "row", "kept"),
    [(plan.draw_rows, PLANNED, ("123 h", "33,333")), (profile.draw_rows, PROFILED, ("4.456", "432.1 ±0%"))],
)
def test_a_row_is_one_line_and_columns_left_out_are_named(
    draw: Any, row: dict[str, Any], kept: tuple[str, ...], width: int, is_cut: bool
) -> None:
    table, left_out = draw([row], width)
    console = Console(file=StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= width
    assert lines[2].startswith(NAME)
    assert all(cell in lines[2] for cell in kept)
    assert bool(left_out) == is_cut


def test_a_plan_prints_a_line_per_network_with_a_rough_total() -> None:
    console = Console(file=StringIO(), width=80)
    plan.RoughPrinter(console, count=13).print(RoughEstimate("step0_resnet", 0.0214, hours=0.5, total_hours=6.5))
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == "1 of 13: step0_resnet 0.0214 s an update, 30 min, all: about 6.5 h\n"
