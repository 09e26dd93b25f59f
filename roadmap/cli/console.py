"""Terminal output of `train.py`. Only rank 0 prints."""

import errno
import multiprocessing
import os
import sys
import traceback
from typing import IO, Any, cast

from rich.text import Text

from roadmap.errors import RoadmapError
from roadmap.runs.run_dir import RunDir
from roadmap.system import console as system_console
from roadmap.system.console import Console, forget_warnings
from roadmap.system.rank import get_dist_info_or_default


class IgnoreBrokenPipe:
    """A file whose loss does not stop a training.

    It becomes silent once nobody reads it, as in `train.py ... | head` or after the terminal was closed. Lines that
    do not fit on a full disk are lost, and later ones are written if there is space again.
    """

    def __init__(self, file: IO[str]):
        self._file = file

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Discard Python's buffer of the file, which it would write again at exit."""
        number = self._file.fileno()
        nowhere, kept = os.open(os.devnull, os.O_WRONLY), os.dup(number)
        os.dup2(nowhere, number)
        self._file.flush()
        if error.errno not in (errno.EPIPE, errno.EIO):
            os.dup2(kept, number)
        os.close(nowhere)
        os.close(kept)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Terminal(Console):
    """A console that survives the loss of its reader."""

    @property
    def file(self) -> IO[str]:
        return cast(IO[str], IgnoreBrokenPipe(super().file))

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file


# A launcher's process shares the terminal with others, so it prints lines and no live display.
IS_MAIN = multiprocessing.current_process().name == "MainProcess"
QUIET = not get_dist_info_or_default().is_main_process
# A notebook gets the lines of a pipe: rich would make a block of HTML of each, and ipykernel asks for colours.
IS_NOTEBOOK = "ipykernel" in sys.modules
OUT = Terminal(force_terminal=None if IS_MAIN and not IS_NOTEBOOK else False, force_jupyter=False, quiet=QUIET)
ERR = Terminal(stderr=True, force_terminal=False if IS_NOTEBOOK else None, force_jupyter=False, quiet=QUIET)

LOADING = "loading PyTorch ..."  # which takes seconds
LIVE_TABLE = "CONVNET_ROADMAP_LIVE_TABLE"  # set if a sweep's table shows what its processes need not print

errors: list[str] = []  # printed by this process


def forget() -> None:
    """Reset the printed errors and warnings for a new command in this process."""
    errors.clear()
    forget_warnings()


def warn(text: str) -> None:
    """Print a warning, unless this process has already printed it."""
    system_console.warn(text, ERR)


def print_line(text: str) -> None:
    """Print a line verbatim: a name or path in it may contain brackets, which rich would parse as markup."""
    OUT.print(text, markup=False, highlight=False, soft_wrap=True)


def show_error(error: Exception) -> None:
    ERR.print(Text.assemble(("error:", "bold red"), f" {error}"), soft_wrap=True)
    errors.append(str(error))


def show_defect(error: Exception) -> str:
    """Print the traceback of an error that is no user error, and return it."""
    trace = "".join(traceback.format_exception(error))
    ERR.print(trace, markup=False, highlight=False, soft_wrap=True)
    errors.append(str(error))
    return trace


def show_summary(summary: dict[str, Any], folder: RunDir) -> None:
    """Print one line about a finished run, unless a live table shows it."""
    if LIVE_TABLE in os.environ:
        return
    print_line(
        f"{folder.identity.name} seed {folder.identity.seed}: top-1 {summary['top1']:.2f} "
        f"(best {summary['best_top1']:.2f} in epoch {summary['best_epoch']})  "
        f"{summary['parameters'] / 1e6:.2f} M parameters  {summary['gmacs']:.3f} GMACs  "
        f"{summary['images_per_s']:,.0f} images/s  {folder.path}"
    )


def is_done(folder: RunDir) -> bool:
    """Return True if a run is done; False if its folder holds something else."""
    try:
        return folder.is_done()
    except RoadmapError:  # reported when the run was refused
        return False
