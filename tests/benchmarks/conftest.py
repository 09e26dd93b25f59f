"""Fixtures that load the benchmarks as modules; they import `pairs` from their own folder, like scripts."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def load_benchmark() -> Iterator[Callable[[str], ModuleType]]:
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="session")
def pairs(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("pairs")


@pytest.fixture
def make_pair(pairs: ModuleType) -> Callable[..., Any]:
    """Return a function that makes a pair of 10 images of `mine` and `theirs`."""

    def make(ours: Any, peer: Any, images: int = 10) -> Any:
        return pairs.Pair("mine", "theirs", images, ours, peer, bound=1e6, tolerance=0.01)

    return make
