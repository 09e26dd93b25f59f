"""Names of networks in folders, tables and commands, and the folders of their runs."""

import re
from collections.abc import Mapping
from pathlib import Path

SEED_FOLDER = re.compile(r"seed[0-9]+")


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts step9 before step11."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def network_name(step: str, variant: Mapping[str, str]) -> str:
    """Return the step with its variant, such as step7_kernel,kernel_size=9."""
    return ",".join([step, *(f"{key}={value}" for key, value in variant.items())])


def seed_folders(experiment: Path) -> list[Path]:
    """Return the folders of an experiment's runs, STEP[,variant]/seedN, by path.

    Excludes copies such as seed0.bak, and hidden folders, which belong to launchers.
    """
    folders = (path for path in experiment.glob("*/seed*") if not path.parent.name.startswith("."))
    return sorted(path for path in folders if SEED_FOLDER.fullmatch(path.name) and path.is_dir())
