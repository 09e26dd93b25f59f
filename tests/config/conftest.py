"""Compositions, each made once: one takes a fifth of a second."""

from collections.abc import Callable
from functools import cache

import pytest

from roadmap.config import Config, compose, read_config


@pytest.fixture(scope="session")
def read() -> Callable[..., Config]:
    """The configuration of `python train.py WORDS...`."""
    return cache(lambda *words: read_config(compose(*words)))
