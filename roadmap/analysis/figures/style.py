"""Style of the marks in a figure, as keyword arguments of matplotlib."""

from typing import Any

INK, FAINT, GRAY, GRID = "#222222", "#6b6b6b", "#8d8d8d", "#e4e4e4"

# matplotlib's type for this has every name as a literal, which no plain dictionary satisfies.
RC: Any = {
    "font.family": "sans-serif",
    "font.size": 7.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": FAINT,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",  # text stays text, which can be searched, and edited for a paper
    "pdf.fonttype": 42,  # as above: TrueType, while matplotlib's default draws the letters
    "svg.hashsalt": "roadmap",  # otherwise the ids of clip paths are random
    "text.parse_math": False,  # a name with dollar signs in it is a name
}
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c8c8c")  # Okabe and Ito's
MARKERS = "osD^v<>"
SEED_DOT: dict[str, Any] = {"marker": "o", "ms": 2.3, "mfc": "white", "mec": INK, "mew": 0.5, "ls": "none"}
PAPER_MARK: dict[str, Any] = {"marker": "D", "ms": 3.4, "mfc": "none", "mec": "black", "mew": 0.9, "ls": "none"}
PAPER_CURVE = PAPER_MARK | {"color": INK, "lw": 0.9, "ls": "--"}
ERROR_BAR: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 0.9, "capsize": 1.7, "capthick": 0.9}
NUMBER: dict[str, Any] = {"va": "center_baseline", "fontsize": 7}
HEADING: dict[str, Any] = {"va": "bottom", "ha": "center", "fontsize": 7, "fontweight": "bold", "color": INK}
SECTION: dict[str, Any] = {"va": "center", "fontsize": 7, "fontweight": "bold", "color": INK, "linespacing": 0.95}
REMARK: dict[str, Any] = {"va": "center", "fontsize": 6.5, "style": "italic", "color": FAINT}


def bar_style(color: str, adopted: bool) -> dict[str, Any]:
    """Return a filled bar for a step, and a pale, hatched one for a choice that was tried and not adopted."""
    if adopted:
        return {"color": color, "lw": 0}
    return {"facecolor": (color, 0.3), "edgecolor": color, "hatch": "/////", "lw": 0.6}


def reference_line(number: int) -> dict[str, Any]:
    """Return the line of the first, second or third reference network."""
    return {"color": "#555555", "lw": 1.0, "ls": ("--", ":", "-.")[number % 3], "zorder": 2.5}


def line_style(number: int) -> dict[str, Any]:
    """Return colour and marker of the first, second, ... of several lines; they differ without colour too."""
    turn, place = divmod(number, len(LINE_COLORS))
    return {
        "color": LINE_COLORS[place],
        "marker": MARKERS[place],
        "ls": ("-", "--", ":")[turn % 3],
        "lw": 1.2,
        "ms": 4,
    }
