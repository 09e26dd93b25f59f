"""Types of the fixtures in conftest.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[..., Any]  # runs a command
Write = Callable[..., Path]  # writes a run folder
