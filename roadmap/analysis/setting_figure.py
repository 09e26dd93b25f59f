"""Top-1 of each step against one setting of the recipe, such as the learning rate."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from matplotlib import rc_context
from matplotlib.figure import Figure

from roadmap.analysis import style
from roadmap.analysis.comparison import Candidate, find_steps
from roadmap.analysis.figures import WIDTH, save
from roadmap.analysis.layout import LAST_EPOCH
from roadmap.analysis.results import deviation

HEIGHT = 3.2  # inches
LOG_FROM = 3.0  # the largest value over the smallest


def draw_setting(candidates: Sequence[Candidate], key: str, path_stem: Path) -> list[Path]:
    """A line a step, with the deviation over seeds; `candidates` differ in `key` alone.

    Returns the files written: `path_stem` with .png, .svg and .pdf.
    """
    values = [float(one.settings[key]) for one in candidates]
    with rc_context(style.RC):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=style.GRID, lw=0.5)
        for number, step in enumerate(find_steps(candidates)):
            points = [
                (value, one.top1[step]) for value, one in zip(values, candidates, strict=True) if step in one.top1
            ]
            means = [fmean(top1) for _, top1 in points]
            spreads = [deviation(top1) or 0.0 for _, top1 in points]
            marks = style.line_style(number)
            axes.errorbar([value for value, _ in points], means, yerr=spreads, capsize=2, label=step, **marks)
        if min(values) > 0 and max(values) / min(values) >= LOG_FROM:
            axes.set_xscale("log")
        axes.set_xticks(values, [candidate.settings[key] for candidate in candidates])
        axes.minorticks_off()
        axes.set_xlabel(key)
        axes.set_ylabel(LAST_EPOCH)
        figure.legend(loc="outside right upper", frameon=False)
        return save(figure, path_stem)
