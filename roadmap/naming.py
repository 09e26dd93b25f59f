"""What a network is called in folders, tables and commands, and where its runs lie."""

import re
from collections.abc import Mapping
from pathlib import Path

SEED_FOLDER = re.compile(r"seed[0-9]+")


def network_name(step: str, variant: Mapping[str, str]) -> str:
    """The step, and what differs from it: step7_kernel,kernel_size=9."""
    return ",".join([step, *(f"{key}={value}" for key, value in variant.items())])


def seed_folders(experiment: Path) -> list[Path]:
    """The folders of an experiment's runs, STEP[,variant]/seedN, by path.

    A copy beside a run, as seed0.bak, is none; a hidden folder belongs to a launcher, not to a step.
    """
    folders = (path for path in experiment.glob("*/seed*") if not path.parent.name.startswith("."))
    return sorted(path for path in folders if SEED_FOLDER.fullmatch(path.name) and path.is_dir())
