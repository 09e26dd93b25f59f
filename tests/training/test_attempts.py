"""Ranks that start together find each other, whatever an earlier start left in torchrun's store."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch.distributed as dist

from roadmap.errors import TrainingError
from roadmap.system.rank import DistInfo
from roadmap.training import distributed as group

SIZE = 4


@pytest.fixture
def store() -> dist.Store:
    return dist.HashStore()


def start_all(store: dist.Store, generator: random.Random) -> set[str]:
    """Return the names that the ranks agree on, when started one after the other in random order."""

    def start(rank: int, delay: float) -> str:
        time.sleep(delay)
        return group.agree_on_attempt(store, DistInfo(rank, SIZE))

    delays = [generator.uniform(0, 0.1) for _ in range(SIZE)]
    with ThreadPoolExecutor(SIZE) as threads:
        return set(threads.map(start, range(SIZE), delays))


def test_each_start_has_a_unique_name_in_all_ranks(store: dist.Store) -> None:
    generator = random.Random(0)
    found = [start_all(store, generator) for _ in range(10)]
    assert all(len(names) == 1 for names in found)
    assert len(set.union(*found)) == 10


def test_interrupted_start_does_not_affect_the_next(store: dist.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 and one of the others had started, and died."""
    with monkeypatch.context() as patch, ThreadPoolExecutor(2) as threads:
        patch.setattr(group, "TIMEOUT", timedelta(seconds=0.2))
        cut = [threads.submit(group.agree_on_attempt, store, DistInfo(rank, SIZE)) for rank in (0, 2)]
        for one in cut:
            with pytest.raises(TrainingError, match="of 4 waited"):
                one.result()
    left = store.get(group.ATTEMPT).decode()
    (name,) = start_all(store, random.Random(1))
    assert name != left
