"""What the processes that train one network together decide and record as one: the first speaks for all."""

import signal
from collections.abc import Callable

from roadmap.errors import Interrupted, ResumableError, RoadmapError
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
    """Marks the run as failed, or as interrupted if the same command resumes it after such an error.

    Of a group the first process does, which the others tell their errors.

    Raises:
        RunError, ResumableError: in the first process, if another one's error is the cause.
        Interrupted: there too, where another process is gone without a word, as when it was killed.
    """
    if PLACE.size == 1:
        _record(folder, error, text)
        return
    from roadmap.training.group import join_group

    group = join_group()
    if not PLACE.is_first:
        if not group.is_broken(error):  # whose cause another one tells
            group.tell(text, error)
        return
    if not group.is_broken(error):
        _record(folder, error, text)
    elif cause := group.hear():
        _record(folder, cause, str(cause))
        raise cause from error
    else:
        interrupted = Interrupted(signal.SIGTERM)
        folder.interrupt("another process of the group is gone")
        raise interrupted from error


def _record(folder: RunFolder, error: Exception, text: str) -> None:
    if isinstance(error, ResumableError):
        folder.interrupt(text)
    else:
        folder.fail(text)
