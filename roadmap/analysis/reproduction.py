"""Agreement of runs with tables 10 and 11: rank correlation on any data, accuracy for reproductions.

Accuracies are compared with the paper's only for runs on ImageNet, with the size and every setting of one of the
paper's rows. On other data only the order of the steps can be compared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from scipy.special import ndtri
from scipy.stats import kendalltau, spearmanr

from roadmap.analysis.results import Row, step_before
from roadmap.analysis.stats import ALPHA, Interval
from roadmap.analysis.transfer import paper_steps

TOLERANCE = 0.3  # points; the paper's standard deviation over three seeds is 0.02 to 0.18 (table 10)
FEWEST = 5  # pairs; a rank correlation of fewer has no interval

PaperSettings = Mapping[tuple[str, str], str]  # hash of the paper's settings, by regime and recipe


@dataclass(frozen=True)
class Correlation:
    """A rank correlation; its interval treats the changes as a sample and includes the noise of seeds.

    The accuracies of the steps have none: each is the sum of all changes before it, so they are no sample. Random
    changes in a row often correlate with the paper's by chance.
    """

    value: float
    interval: Interval | None


@dataclass(frozen=True)
class Agreement:
    """How closely the measured order of steps, or of changes, follows the paper's."""

    subject: str  # "steps" or "changes"
    n: int
    spearman: Correlation
    kendall: Correlation
    same_sign: int | None  # changes with the paper's sign; None for steps


@dataclass(frozen=True)
class RowCheck:
    """A row that claims to reproduce one of the paper's."""

    row: Row
    top1: float  # percent, mean over seeds
    paper_top1: float  # percent
    passed: bool


def is_called_paper(row: Row) -> bool:
    """Return True if data, size and recipe have the names of the paper's; the references have no recipe."""
    recipe = row.step if row.is_original else row.roadmap.recipe
    return row.on_imagenet and row.paper is not None and row.recipe == recipe


def claims_reproduction(row: Row, settings: PaperSettings) -> bool:
    """Return True if every run of a row has the paper's settings, by hash: not after `recipe.epochs=100`."""
    return is_called_paper(row) and row.setting_hashes == {settings.get((row.regime, row.recipe))}


def check_rows(
    rows: Sequence[Row], settings: PaperSettings, tolerance: float, best: bool = False
) -> list[RowCheck]:
    """Check each finished row that claims a reproduction; it passes within `tolerance` points, above or below."""
    checks = []
    for row in rows:
        values = row.accuracies(best)
        if values and row.paper is not None and claims_reproduction(row, settings):
            top1 = fmean(values)
            passed = abs(top1 - row.paper.top1) <= tolerance
            checks.append(RowCheck(row, top1, row.paper.top1, passed))
    return checks


def find_agreement(rows: Sequence[Row], best: bool = False) -> list[Agreement]:
    """Return the rank correlations of the steps' accuracies and of the changes with the paper's.

    Uses the steps only, without variants, references and the original recipe, in the setting with the most rows.
    Empty if too few of them ran.
    """
    steps = paper_steps(rows)
    levels = [(_mean(row, best), row.paper.top1) for row in steps if row.paper]
    pairs = [(row, step_before(row, steps)) for row in steps]
    changes = [
        (_mean(row, best) - _mean(before, best), row.paper.top1 - before.paper.top1)
        for row, before in pairs
        if before is not None and before.paper and row.paper
    ]
    same_sign = sum(ours * papers > 0 for ours, papers in changes)
    found = [_correlate("changes", changes, same_sign)]
    if (steps_found := _correlate("steps", levels)) is not None:
        spearman, kendall = (replace(one, interval=None) for one in (steps_found.spearman, steps_found.kendall))
        found.insert(0, replace(steps_found, spearman=spearman, kendall=kendall))
    return [one for one in found if one is not None]


def _mean(row: Row, best: bool) -> float:
    return fmean(row.accuracies(best))


def _correlate(
    subject: str, pairs: Sequence[tuple[float, float]], same_sign: int | None = None
) -> Agreement | None:
    """Return None for fewer than three pairs, or if all values of one side are equal."""
    ours, papers = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if len(pairs) < 3 or len(set(ours)) == 1 or len(set(papers)) == 1:
        return None
    n, rho, tau = len(pairs), float(spearmanr(ours, papers).statistic), float(kendalltau(ours, papers).statistic)
    # Variances of atanh: Bonett and Wright 2000 for rho; Fieller, Hartley and Pearson 1957 for tau.
    return Agreement(
        subject,
        n,
        Correlation(rho, _interval(rho, n, (1 + rho**2 / 2) / (n - 3) if n >= FEWEST else 0.0)),
        Correlation(tau, _interval(tau, n, 0.437 / (n - 4) if n >= FEWEST else 0.0)),
        same_sign,
    )


def _interval(value: float, n: int, variance: float) -> Interval | None:
    """Return Fisher's interval; None for few pairs, and for perfect order, whose interval would have no width."""
    if n < FEWEST or abs(value) > 1 - 1e-12:
        return None
    reach = float(ndtri(1 - ALPHA / 2)) * math.sqrt(variance)
    return Interval(math.tanh(math.atanh(value) - reach), math.tanh(math.atanh(value) + reach))


def agreement_text(agreement: Agreement) -> str:
    """Return `Order of 12 changes against the paper's: Spearman 0.61 (0.05 to 0.88), Kendall 0.45 (0.05 to 0.72)`.

    For changes, `; 9 of 12 have the paper's sign` follows.
    """
    signs = agreement.same_sign
    return (
        f"Order of {agreement.n} {agreement.subject} against the paper's: "
        f"Spearman {_value_text(agreement.spearman)}, Kendall {_value_text(agreement.kendall)}"
        + ("" if signs is None else f"; {signs} of {agreement.n} have the paper's sign")
    )


def _value_text(correlation: Correlation) -> str:
    interval = correlation.interval
    return f"{correlation.value:.2f}" + (f" ({interval.low:.2f} to {interval.high:.2f})" if interval else "")
