"""Tables of the commands on narrow terminals, and what a plan prints before it is done."""

from types import SimpleNamespace
from typing import Any

import pytest

from roadmap.analysis.factorial import MainEffect
from roadmap.analysis.network_gap import Gap, terminal_gaps
from roadmap.analysis.reproduction import RowCheck
from roadmap.analysis.stats import Difference, Interval
from roadmap.cli import attribute, check, plan, profile
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


DIFFERENCE = Difference(-12.34, True, (12, 12), Interval(-13.21, -11.47), p=0.001)
LEVEL = MainEffect("stage_ratio", NAME, 91.25, DIFFERENCE)
GAP = Gap(NAME, DIFFERENCE, NAME, DIFFERENCE, 0.001)
ROW: Any = SimpleNamespace(name="step12_downsample,norm=batchnorm,conv=dense", seeds=(0, 1, 2))


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    ("draw", "row", "kept"),
    [
        (plan.draw_rows, PLANNED, ("123 h", "33,333")),
        (profile.draw_rows, PROFILED, ("4.456", "432.1 ±0%")),
        (attribute.draw_levels, LEVEL, ("stage_ratio", "-12.34")),
        (terminal_gaps, GAP, ("-12.34",)),
        (check.draw_checks, RowCheck(ROW, 82.1, 82.0, True), ("+0.10", "pass")),
    ],
)
def test_a_row_is_one_line_and_columns_left_out_are_named(
    draw: Any, row: Any, kept: tuple[str, ...], width: int
) -> None:
    table, lines = draw([row], width)
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table)
    shown = capture.get().splitlines()
    assert len(shown) == 3
    assert max(map(len, shown)) <= width
    assert shown[2].startswith((NAME, "stage_ratio"))
    assert all(cell in shown[2] for cell in kept)
    left_out = {column.header for column in draw([row], 1000)[0].columns} - {
        column.header for column in table.columns
    }
    assert all(any("Not shown" in line and str(heading) in line for line in lines) for heading in left_out)


def test_a_plan_prints_a_line_per_network_with_a_rough_total() -> None:
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        plan.RoughPrinter(console, 13).print(RoughEstimate("step0_resnet", 0.0214, hours=0.5, total_hours=6.5))
    assert capture.get() == "1 of 13: step0_resnet 0.0214 s an update, 30 min, all: about 6.5 h\n"
