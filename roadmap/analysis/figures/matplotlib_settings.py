"""The settings that figures are drawn with. Modules that draw import this one before matplotlib."""

import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from roadmap.analysis.figures import style

SCREEN_DPI = 110
MISSING_GLYPH = re.compile(r"Glyph (\d+) .* missing from")


def _import_matplotlib() -> Any:
    """Import matplotlib, even if the user's MPLBACKEND or matplotlibrc would make the import fail.

    One such backend is a notebook's that is not installed. Figures need neither.
    """
    with _without("MPLBACKEND") as backend:
        try:
            import matplotlib
        except Exception:  # a matplotlibrc that can't be read
            for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
                del sys.modules[name]  # what was imported of it until then
            with _without("MATPLOTLIBRC"):
                import matplotlib
    if backend is not None:  # it is for what the user draws in this process
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
    return matplotlib


@contextmanager
def _without(name: str) -> Iterator[str | None]:
    """Remove an environment variable temporarily; yields its value."""
    value = os.environ.pop(name, None)
    try:
        yield value
    finally:
        if value is not None:
            os.environ[name] = value


matplotlib = _import_matplotlib()
log = logging.getLogger(__name__)

from matplotlib.figure import Figure  # noqa: E402 - after the import that no setting can fail


class ShownFigure(Figure):
    """A figure that a notebook shows as PNG, also if pyplot was never imported."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=SCREEN_DPI)
        return file.getvalue()


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """Draw with matplotlib's defaults and RC instead of the user's rc file, which is restored afterwards.

    Characters that the font lacks are logged once for the figure `name`, not once per glyph and file.
    """
    with matplotlib.rc_context(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style.RC)
        yield
    lacking: dict[str, None] = {}
    for warning in caught:
        if match := MISSING_GLYPH.match(str(warning.message)):
            lacking[chr(int(match[1]))] = None
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if lacking:
        log.warning(
            "%s: the font lacks %s, which PNG and PDF show as boxes; the SVG has the text", name, "".join(lacking)
        )
