"""End of a command: its exit status, its errors in one line, and a reader that closes the pipe."""

import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import NoReturn, ParamSpec

from roadmap.cli.printing import print_anything
from roadmap.errors import RoadmapError

P = ParamSpec("P")


def run_script(main: Callable[[], int]) -> NoReturn:
    """Exit with the status of `main`; without a traceback on Ctrl-C, or if a reader such as head closes the pipe.

    A `main` that writes to other processes or to a network restores SIGPIPE: there a broken pipe is an error.
    """
    print_anything()
    logging.basicConfig(format="%(levelname)s: %(message)s")
    with ended_by_reader():
        try:
            status = main()
        except KeyboardInterrupt:
            status = 128 + signal.SIGINT
    sys.exit(status)


@contextmanager
def ended_by_reader() -> Iterator[None]:
    """In this context, a reader such as head that closes the pipe ends this process without a traceback."""
    has_pipes = hasattr(signal, "SIGPIPE")  # Windows has none
    outer = signal.signal(signal.SIGPIPE, signal.SIG_DFL) if has_pipes else None
    try:
        yield
    finally:
        sys.stdout.flush()  # while a closed pipe still ends the process
        if has_pipes:
            signal.signal(signal.SIGPIPE, outer)


def report_errors(status: int = 1) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Let a command print an error that the user can fix in one line, and return `status`."""

    def wrap(main: Callable[P, int]) -> Callable[P, int]:
        @wraps(main)
        def run(*args: P.args, **kwargs: P.kwargs) -> int:
            try:
                return main(*args, **kwargs)
            except RoadmapError as error:
                print(f"error: {error}", file=sys.stderr)
            except OSError as error:
                place = "" if error.filename is None else f"{error.filename}: "
                print(f"error: {place}{error.strerror or error}", file=sys.stderr)
            return status

        return run

    return wrap
