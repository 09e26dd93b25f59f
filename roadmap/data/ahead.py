"""The next item while the one before is used: the host's part of the work beside the device's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Ahead(Generic[Item]):
    """Items of an iterator, each made by a thread when the one before is taken, and the first right away.

    What is raised while an item is made is raised where it is taken. A thread is enough for numpy, which lets
    others run while it works on many numbers.
    """

    def __init__(self, items: Iterator[Item]):
        self._items = items
        self._thread = ThreadPoolExecutor(1, "ahead")
        self._next = self._thread.submit(next, items, None)

    def __iter__(self) -> Iterator[Item]:
        while (item := self._next.result()) is not None:
            self._next = self._thread.submit(next, self._items, None)
            yield item
        self._thread.shutdown()
