"""Prefetch by one item: a thread prepares the next item while the current one is used."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetcher(Generic[Item]):
    """Iterator that prepares each item in a thread once the item before is taken, and the first item at once.

    An exception raised in the thread is raised again when the item is taken. A thread suffices for numpy, which
    releases the GIL in operations on many numbers.
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
