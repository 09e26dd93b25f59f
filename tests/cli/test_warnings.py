"""The recipe check's warnings go to stderr, once each, and name the steps of a sweep that they concern."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadmap.cli import sweep_report

Train = Callable[..., Any]  # see conftest.py
QUICK = ("recipe.epochs=1", "recipe.warmup_epochs=0")


@pytest.mark.system  # a sweep of three networks: 3 s
def test_a_warning_is_printed_once_and_names_its_steps(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_report, "report_sweep", lambda folders, notes: None)  # takes longer than the runs
    one_update = (
        "recipe.total_batch=1024",
        "recipe.lr=0.03",
        "regime.width.resnet=8",
        "regime.width.modern=8",
        *QUICK,
    )
    outcome = train(
        "-m", "+roadmap=step0_resnet,step12_downsample", "seed=0,1", *one_update, "recipe.ema_decay=0.999"
    )
    assert outcome.status == 0
    warnings = outcome.err.split("warning: ")[1:]
    assert len(warnings) == 2
    assert warnings[0].strip().endswith("or model/norm=layernorm (step0_resnet)")
    assert warnings[1].startswith("recipe.ema_decay=0.999 averages over 1,000 updates and the run has 1, so")


def test_a_warning_stops_no_run(train: Train, tmp_path: Path) -> None:
    outcome = train(*QUICK, "+roadmap=step0_resnet", "recipe.total_batch=128")
    assert outcome.status == 0
    assert outcome.err.startswith("warning: recipe.lr=0.004 is the short recipe's for recipe.total_batch=64")
    assert outcome.err.endswith("in proportion it is recipe.lr=0.008")


def test_a_run_leaves_logging_as_it_was(train: Train) -> None:
    logger = logging.getLogger("roadmap.analysis")
    before = (logging.getLogger().level, list(logging.getLogger().handlers), logger.disabled)
    assert train(*QUICK, "+roadmap=step0_resnet").status == 0
    assert (logging.getLogger().level, list(logging.getLogger().handlers), logger.disabled) == before
    assert logger.isEnabledFor(logging.WARNING)
