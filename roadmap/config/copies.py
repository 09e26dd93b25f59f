"""Copies of composed configurations, faster than `copy.deepcopy`: a composition is copied for each run."""

import copy
import pickle
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def copier(value: Value) -> Callable[[], Value]:
    """Return a function that returns a copy of the value as it is now, six times as fast as a deepcopy."""
    try:
        content = pickle.dumps(value)
    except (pickle.PicklingError, AttributeError):  # in joblib's process Hydra has loaded its plugins twice
        original = copy.deepcopy(value)
        return lambda: copy.deepcopy(original)
    return lambda: pickle.loads(content)
