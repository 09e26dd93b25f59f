"""Command lines of this project, to start and to print for a user to copy."""

import sys
from pathlib import Path

CONSOLE = "convnet-roadmap"  # the installed console script
CHECKOUT = Path(__file__).resolve().parents[2]
FILES = {  # of a checkout, by command
    "train": "train.py",
    "plan": "scripts/plan_roadmap.py",
    "profile": "scripts/profile_roadmap.py",
    "status": "scripts/status.py",
    "plot": "scripts/plot_roadmap.py",
    "report": "scripts/report.py",
    "attribute": "scripts/attribute.py",
    "compare": "scripts/compare.py",
    "check": "scripts/check_paper.py",
    "publish": "scripts/publish.py",
    "show": "scripts/show_step.py",
    "series": "scripts/run_series.py",
    "add-records": "scripts/add_records.py",
}


def is_checkout() -> bool:
    """Return False if the package is installed without the files around it, as from a wheel."""
    return (CHECKOUT / "pyproject.toml").is_file() and (CHECKOUT / FILES["train"]).is_file()


def printed(name: str, *arguments: str) -> list[str]:
    """Return a command to print: `python scripts/status.py`, or `convnet-roadmap status` if started that way."""
    is_console = Path(sys.argv[0]).name.startswith(CONSOLE)
    command = [CONSOLE, name] if is_console or not is_checkout() else ["python", FILES[name]]
    return [*command, *arguments]


def mentioned(name: str) -> str:
    """Return a command's name in a sentence: scripts/status.py, or convnet-roadmap status."""
    return " ".join(printed(name)).removeprefix("python ")


def started(name: str, *arguments: str) -> list[str]:
    """Return a command that starts a process, independent of the current folder and its files."""
    if is_checkout() and name in FILES:
        return [sys.executable, str(CHECKOUT / FILES[name]), *arguments]
    return [sys.executable, "-P", "-m", "roadmap.cli", name, *arguments]
