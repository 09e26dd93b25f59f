"""Prefetching of one item in a thread while the current one is used."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetcher(Generic[Item]):
    """Iterator that computes the next item in a thread while the current one is used.

    An exception in the thread is raised again when its item is requested. A thread suffices for numpy, which
    releases the GIL in operations on large arrays.
    """

    def __init__(self, items: Iterator[Item]):
        self._items = items
        self._thread = ThreadPoolExecutor(1, "prefetch")
        self._next = self._thread.submit(next, items, None)

    def __iter__(self) -> Iterator[Item]:
        while (item := self._next.result()) is not None:
            self._next = self._thread.submit(next, self._items, None)
            yield item
        self._thread.shutdown()
