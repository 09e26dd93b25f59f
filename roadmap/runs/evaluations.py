"""Evaluations without training: evaluations.jsonl beside a step's runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roadmap.errors import DamagedError
from roadmap.runs.atomic import append_line, make_folder
from roadmap.runs.commit import find_commit
from roadmap.runs.read_files import MAX_LINES_BYTES, read_text
from roadmap.runs.run_dir import RunDir

EVALUATIONS = "evaluations.jsonl"


def record_evaluation(run: RunDir, results: Mapping[str, Any]) -> None:
    step = run.path.parent
    make_folder(step)
    append_line(step / EVALUATIONS, json.dumps({**asdict(run.identity), **results, "commit": find_commit()}))


def count_evaluations(runs: Sequence[RunDir]) -> int:
    """Return the number of evaluations recorded so far in the runs' steps."""
    return sum(map(_count, {run.path.parent for run in runs}))


def _count(step: Path) -> int:
    try:
        return len(read_text(step / EVALUATIONS, MAX_LINES_BYTES, errors="replace").splitlines())
    except (OSError, DamagedError):
        return 0
