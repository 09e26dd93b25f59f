"""Choice of the setting for all steps, from the ends of the roadmap."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from roadmap.analysis.read_runs import read_runs
from roadmap.errors import RunError
from roadmap.runs.read_run import State

Setting = tuple[int, float]  # stem stride and learning rate


@dataclass(frozen=True)
class EndResult:
    """Both ends at one setting: top-1 in percent, and seconds per epoch, the mean of both."""

    first: float
    last: float
    epoch_seconds: float

    @property
    def gap(self) -> float:
        """Difference of the last step and the first end, in points."""
        return self.last - self.first

    @property
    def mean(self) -> float:
        return (self.first + self.last) / 2


def read_ends(experiments: Mapping[Setting, Path], first: str, last: str) -> dict[Setting, EndResult]:
    """Return the settings at which both networks have a finished run; the run with the lowest seed counts."""
    found = {}
    for setting, folder in experiments.items():
        try:
            done = {run.name: run for run in reversed(read_runs(folder)) if run.state is State.done}
        except RunError:  # not started
            continue
        ends = done.get(first), done.get(last)
        if ends[0] is None or ends[1] is None or ends[0].top1 is None or ends[1].top1 is None:
            continue
        seconds = [(one.seconds or 0.0) / (one.epochs or 1.0) for one in ends if one is not None]
        found[setting] = EndResult(ends[0].top1, ends[1].top1, sum(seconds) / 2)
    return found


def choose_setting(ends: Mapping[Setting, EndResult]) -> Setting:
    """Choose each stride's rate by the best mean of both ends, and then the stride with the largest gap.

    The largest gap over all rates would choose a rate that harms the first end.
    """
    best = {
        stride: max((one for one in ends if one[0] == stride), key=lambda one: ends[one].mean)
        for stride in dict.fromkeys(stride for stride, _ in ends)
    }
    return max(best.values(), key=lambda one: ends[one].gap)
