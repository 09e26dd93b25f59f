"""`convnet-roadmap COMMAND`: one line of help for each command, and its start."""

import importlib
import sys
from collections.abc import Sequence

from roadmap.cli.exit_status import run_script
from roadmap.config.convert import suggest
from roadmap.system.commands import CONSOLE

COMMANDS = {
    "train": "train a step, or with -m a sweep; `train --help` lists groups, steps and keys",
    "plan": "estimate hours, memory, money and energy of a train command before it runs",
    "profile": "measure cost, speed and memory of every step on this device",
    "status": "show state, epoch, top-1 and time left of an experiment's runs",
    "plot": "draw an experiment's figures and print its table",
    "report": "write an experiment's results into one HTML file",
    "attribute": "print the effect of each choice, and interactions of axes",
    "compare": "compare experiments: the settings that differ, and each step under them",
    "check": "check an experiment against the paper's results",
    "publish": "write an experiment's results, without checkpoints, into a folder",
    "show": "print the layers of a step, or what differs between two; draw their blocks",
    "shrink": "shrink an image folder once, for faster reading",
    "series": "train the roadmap's ends and then all steps on one device until a deadline",
    "add-records": "add the records of a series to a folder of results",
    "wandb-dashboard": "save workspaces and a report on Weights & Biases",
    "wandb-experiment": "log an experiment's table, figures and report on Weights & Biases",
}
HELP = ("-h", "--help", "help")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command that the first word names; the others are its own."""
    words = sys.argv[1:] if words is None else list(words)
    if not words or words[0] in HELP:
        print("\n".join(help_lines()))
        return 0 if words else 2
    if words[0] == "--version":
        from roadmap import __version__

        print(f"{CONSOLE} {__version__}")
        return 0
    name, *own = words
    if name not in COMMANDS:
        print(
            f"error: there is no command {name}.{suggest(name, [*COMMANDS])} Allowed: {', '.join(COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    sys.argv = [f"{CONSOLE} {name}", *own]  # argparse's and Hydra's name of the program
    module = importlib.import_module(f"roadmap.cli.{name.replace('-', '_')}")
    if name == "train":  # it handles signals by itself
        return int(module.main())
    run_script(module.main)


def help_lines() -> list[str]:
    width = max(map(len, COMMANDS))
    lines = [f"{name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return [f"usage: {CONSOLE} COMMAND ...", f"{CONSOLE} COMMAND --help explains a command", "", *lines]
