"""What the processes that train one network together decide and record as one: the first speaks for all."""

import signal
from collections.abc import Callable

from roadmap.errors import Interrupted, RoadmapError, RunError
from roadmap.runs.folder import RunFolder
from roadmap.training.processes import find_place

PLACE = find_place()


def decide_together(decide: Callable[[], str | None]) -> str | None:
    """What the first process of a group decides, in all of them."""
    if PLACE.size == 1:
        return decide()
    from roadmap.training.group import join_group

    answer: str | RoadmapError | None = None
    if PLACE.is_first:
        try:
            answer = decide()
        except RoadmapError as error:
            answer = error
    answer = join_group().first(answer)
    if isinstance(answer, RoadmapError):
        raise answer
    return answer


def record_failure(folder: RunFolder, error: Exception, text: str) -> None:
    """Marks the run as failed. Of a group the first process does, which the others tell their errors.

    Raises:
        RunError: in the first process, where another one's error is the cause.
        Interrupted: there too, where another process is gone without a word, as when it was killed.
    """
    if PLACE.size == 1:
        folder.fail(text)
        return
    from roadmap.training.group import join_group

    group = join_group()
    if not PLACE.is_first:
        if not group.is_broken(error):  # whose cause another one tells
            group.tell(text)
        return
    if not group.is_broken(error):
        folder.fail(text)
    elif cause := group.hear():
        folder.fail(cause)
        raise RunError(cause) from error
    else:
        interrupted = Interrupted(signal.SIGTERM)
        folder.interrupt("another process of the group is gone")
        raise interrupted from error
