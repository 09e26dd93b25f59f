"""Items that a thread makes one ahead."""

from collections.abc import Iterator
from threading import Event

import pytest

from roadmap.data.prefetch import Prefetcher


def test_next_item_is_computed_while_the_current_is_used() -> None:
    made = [Event() for _ in range(4)]

    def make() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    items = Prefetcher(make())
    assert made[0].wait(10)  # before it is requested
    taken = []
    for number in items:
        assert all(event.wait(10) for event in made[: number + 2])
        assert not any(event.is_set() for event in made[number + 2 :])
        taken.append(number)
    assert taken == [0, 1, 2, 3]
    assert list(items) == []


def test_error_is_raised_when_its_item_is_requested() -> None:
    def make() -> Iterator[int]:
        yield 0
        raise ValueError("the second")

    items = iter(Prefetcher(make()))
    assert next(items) == 0
    with pytest.raises(ValueError, match="the second"):
        next(items)
