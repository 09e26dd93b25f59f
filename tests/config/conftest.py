"""Composed configurations, cached, since one takes a fifth of a second."""

from collections.abc import Callable
from functools import cache

import pytest

from roadmap.config import Config, compose, read_config


@pytest.fixture(scope="session")
def read() -> Callable[..., Config]:
    """Return the configuration of `python train.py WORDS...`."""
    return cache(lambda *overrides: read_config(compose(*overrides)))
