"""Flags of `train.py`, which are Hydra's: those that exclude each other, and those that only ask for an answer."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from roadmap.cli.exit_status import ended_by_reader
from roadmap.cli.train_help import help_lines
from roadmap.config import compose, prepare_overrides
from roadmap.config.hydra_errors import explain_hydra_error
from roadmap.config.search_path import parse_word, register
from roadmap.errors import ConfigError

ANSWERS = ("help", "hydra_help", "cfg", "info", "shell_completion")  # train nothing
RAISES = "HYDRA_FULL_ERROR"  # makes Hydra raise its errors instead of printing a traceback


def check_flags(arguments: Namespace) -> None:
    """Raise ConfigError for an unsupported flag of Hydra's, or two that exclude each other."""
    if arguments.config_path is not None:
        raise ConfigError(
            "--config-path replaces this project's configs, on which all others build: --config-dir "
            f"{arguments.config_path} adds a folder of your own"
        )
    if arguments.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun: a run goes on by its command, not from a file of Hydra's")
    if arguments.resolve and not (arguments.cfg or arguments.help):
        raise ConfigError("--resolve goes with --cfg, as in --cfg job --resolve")
    flags = ("run", "multirun", "cfg", "info", "shell_completion")
    given = [f"--{name.replace('_', '-')}" for name in flags if getattr(arguments, name)]
    if len(given) > 1:
        raise ConfigError(f"{' '.join(given)}: only one of them can be given")


def wants_answer(arguments: Namespace) -> bool:
    """Return True if a command only asks for an answer, such as --help."""
    return any(getattr(arguments, name) for name in ANSWERS)


def answer(arguments: Namespace, hydra_app: Callable[[], Any]) -> int:
    """Answer --help, let Hydra answer the other flags, and return the exit status."""
    register()
    sys.argv[1:] = prepare_overrides(sys.argv[1:])
    wants_traces = os.environ.get(RAISES)
    os.environ[RAISES] = "1"
    try:
        with ended_by_reader():  # for `train.py --help | head`
            if arguments.help:
                words = prepare_overrides(arguments.overrides)
                common = [word for word in words if not parse_word(word).is_sweep_override()]
                print("\n".join(help_lines(compose(*common))))
            else:
                hydra_app()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if wants_traces == "1":
            raise
        raise ConfigError(explain_hydra_error(error, get_args_parser().parse_args().overrides)) from None
    finally:
        del os.environ[RAISES]
        if wants_traces is not None:
            os.environ[RAISES] = wants_traces
    return 0


def flags_of(arguments: Namespace) -> list[str]:
    """Return the flags that locate configs, for printed commands."""
    named = {"--config-dir": arguments.config_dir, "--config-name": arguments.config_name}
    return [word for flag, value in named.items() if value is not None for word in (flag, value)]
