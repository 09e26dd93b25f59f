"""Warning of runs on other images under the same data.name, whose accuracies are not comparable."""

import logging
from collections import Counter
from collections.abc import Hashable, Iterable

from roadmap.runs.read_run import Run, State

log = logging.getLogger(__name__)


def warn_of_other_images(runs: Iterable[tuple[Hashable, Run]]) -> None:
    """Warn of finished runs with equal settings but other images than most.

    Args:
        runs: each with the settings that choose its images, such as data.holdout.
    """
    groups: dict[Hashable, list[Run]] = {}
    for setting, run in runs:
        if run.state is State.done and run.data_fingerprint:  # earlier versions did not record it
            groups.setdefault((run.data, setting), []).append(run)
    for group in groups.values():
        counts = Counter(run.data_fingerprint for run in group)
        ((usual, _),) = counts.most_common(1)
        others = [run for run in group if run.data_fingerprint != usual]
        if others:
            first = others[0]
            log.warning(
                "%d of %d runs on data=%s, such as %s/%s/seed%d, had other images than the rest (data_fingerprint "
                "in summary.json), so they are not comparable",
                *(len(others), len(group), first.data, first.experiment, first.name, first.seed),
            )
