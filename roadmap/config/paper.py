"""Tables 10 and 11 of "A ConvNet for the 2020s" (arXiv 2201.03545), as data.

`paper.csv` holds the printed figures. Its column `gmacs` holds the multiply-accumulates computed from the steps'
definitions at 224x224 with 1000 classes (convolutions and linear layers only, without biases).
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

KERNEL_VARIANT = " + kernel_size="
PAPER_REGIMES = ("resnet50", "resnet200")
SWIN_REGIMES = {"swin_tiny": "resnet50", "swin_base": "resnet200"}


@dataclass(frozen=True)
class PaperRow:
    """One row of figure 2: a step, or a kernel size that was tried and not adopted."""

    regime: str  # resnet50 (table 10) or resnet200 (table 11)
    step: int | None  # 0 to 12; None for the original recipe and for Swin
    config: str  # name of the file in conf/roadmap, or "reference"
    kernel_size: int | None  # of a variant that was tried but not adopted
    label: str
    top1: float  # percent, ImageNet-1K validation set
    top1_std: float | None  # percent, standard deviation over 3 seeds; None if the paper ran one
    gflops: float  # as printed; the paper counts a multiply-accumulate as one FLOP
    gmacs: float | None  # computed from the definitions; None for Swin
    adopted: bool


@cache
def paper_rows() -> tuple[PaperRow, ...]:
    """Return every row of tables 10 and 11, in the order of the roadmap."""
    with Path(__file__).with_name("paper.csv").open(newline="") as file:
        return tuple(_read_row(line) for line in csv.DictReader(file))


def find_paper_row(regime: str, config: str, kernel_size: int | None = None) -> PaperRow | None:
    """Return the paper's row for a step (or for one of its kernel sizes), or None if the paper has none."""
    for row in paper_rows():
        if (row.regime, row.config, row.kernel_size) == (regime, config, kernel_size):
            return row
    return None


def match_paper_row(regime: str, step: str, variant: Mapping[str, str]) -> PaperRow | None:
    """Return the paper's row for a run by its step and variant; Swin's for `swin_tiny` and `swin_base`.

    A regime that the paper does not have, such as micro, is compared with table 10. Step 7 with kernel 3 is step 6.
    """
    if step in SWIN_REGIMES:
        return None if variant else find_paper_row(SWIN_REGIMES[step], "reference")
    table = regime if regime in PAPER_REGIMES else PAPER_REGIMES[0]
    if not variant:
        return find_paper_row(table, step)
    kernel_size = variant.get("kernel_size", "")
    if len(variant) > 1 or not kernel_size.isdecimal():
        return None
    if step == "step7_kernel" and kernel_size == "3":
        return find_paper_row(table, "step6_move_up")
    return find_paper_row(table, step, int(kernel_size))


def _read_row(line: dict[str, str]) -> PaperRow:
    config, _, kernel = line["config"].partition(KERNEL_VARIANT)
    return PaperRow(
        regime=line["regime"],
        step=int(line["step"]) if line["step"] else None,
        config=config,
        kernel_size=int(kernel) if kernel else None,
        label=line["label"],
        top1=float(line["paper_top1"]),
        top1_std=_number(line["paper_top1_std"]),
        gflops=float(line["paper_gflops"]),
        gmacs=_number(line["gmacs"]),
        adopted=line["adopted"] == "yes",
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
