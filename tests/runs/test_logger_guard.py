"""A failing dashboard is dropped with one warning, and the training continues."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from roadmap.errors import ConfigError
from roadmap.runs.logger_spec import LoggerSpec, WandbMode
from roadmap.runs.loggers import GuardedLogger, open_logger


class Dashboard:
    def __init__(self, calls: list[str], fails_in: str):
        self.calls = calls
        self.fails_in = fails_in
        self._act("open")

    def _act(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fails_in:
            raise ConnectionError("no route to host\nand a long trace")

    def log(self, metrics: Mapping[str, Any]) -> None:
        self._act("log")

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        self._act("finish")


@pytest.mark.parametrize(
    ("fails_in", "expected"),
    [
        ("", ["open", "log", "log", "finish"]),
        ("open", ["open"]),
        ("log", ["open", "log"]),
        ("finish", ["open", "log", "log", "finish"]),
    ],
)
def test_failing_logger_warns_once_and_is_not_called_again(fails_in: str, expected: list[str]) -> None:
    warnings: list[str] = []
    calls: list[str] = []
    logger = GuardedLogger(lambda: Dashboard(calls, fails_in), "wandb", warnings.append)
    logger.log({})
    logger.log({})
    logger.finish({})
    assert calls == expected
    told = "logger=wandb is left out from here on: ConnectionError: no route to host. The metrics stay in the run's"
    assert [warning.startswith(told) for warning in warnings] == [True] * bool(fails_in)


@pytest.mark.parametrize("name", ["wandb", "tensorboard", "mlflow", "trackio"])
def test_missing_library_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [loaded for loaded in sys.modules if loaded.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, module)  # which also imports the library
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"roadmap.runs.loggers.{name}", raising=False)
    spec = LoggerSpec(name, WandbMode.offline, "roadmap", None)
    with pytest.raises(ConfigError, match=f"logger={name} needs the package {name}: pip install --upgrade {name}"):
        open_logger(spec, None, {}, print)  # type: ignore[arg-type]


def test_outdated_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [loaded for loaded in sys.modules if loaded.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(importlib.import_module("tensorboard"), "__version__", "1.14")
    monkeypatch.delitem(sys.modules, "roadmap.runs.loggers.tensorboard", raising=False)
    spec = LoggerSpec("tensorboard", WandbMode.offline, "roadmap", None)
    with pytest.raises(ConfigError, match=r"pip install --upgrade tensorboard .*1\.15 or above"):
        open_logger(spec, None, {}, print)  # type: ignore[arg-type]
