"""W&B never waits for input, sends no more than its own settings allow, and says what it refuses."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb

from roadmap.errors import RunError
from roadmap.runs.logger_spec import WandbMode
from roadmap.runs.loggers import GuardedLogger
from roadmap.runs.loggers.wandb import check_key, choose_mode, shorten_tags


@pytest.fixture
def _no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key in the environment, in a netrc file or in W&B's settings; a terminal that would be asked."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.setattr("wandb.sdk.lib.wbauth.prompt.term.can_use_terminput", lambda: True)

    def ask(*args: object, **options: object) -> str:
        raise AssertionError("it asked and waited")

    monkeypatch.setattr("wandb.util.prompt_choices", ask)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.mark.usefixtures("_no_account")
def test_no_prompt_without_an_api_key() -> None:
    with pytest.raises(RunError, match=r"no API key for https:.*`wandb login`.*WANDB_API_KEY.*mode=offline"):
        check_key()


@pytest.mark.system
@pytest.mark.usefixtures("_no_account")
def test_online_mode_with_an_api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    check_key()


@pytest.mark.parametrize(
    ("own", "asked", "mode"),
    [
        ("online", WandbMode.online, "online"),
        ("online", WandbMode.offline, "offline"),
        ("run", WandbMode.online, "online"),
        ("shared", WandbMode.online, "online"),
        ("offline", WandbMode.online, "offline"),
        ("dryrun", WandbMode.online, "offline"),
        ("disabled", WandbMode.online, "disabled"),
        ("disabled", WandbMode.offline, "disabled"),
    ],
)
def test_stricter_of_two_modes_wins(monkeypatch: pytest.MonkeyPatch, own: str, asked: WandbMode, mode: str) -> None:
    monkeypatch.setattr(wandb, "setup", lambda: SimpleNamespace(settings=SimpleNamespace(mode=own)))
    assert choose_mode(asked) == mode


@pytest.mark.usefixtures("_no_account")
def test_the_mode_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert choose_mode(WandbMode.online) == "offline"


def test_tags_have_the_length_that_wandb_takes() -> None:
    tags = shorten_tags(["micro", "x" * 64, "y" * 65])
    assert tags == ["micro", "x" * 64, "y" * 63 + "…"]
    settings = wandb.Settings(run_tags=tuple(tags))
    assert settings.run_tags == tuple(tags)


def test_all_lines_of_a_validation_error_are_shown() -> None:
    """Its first line only counts the errors."""
    warnings: list[str] = []

    def open_logger() -> Any:
        wandb.Settings(run_tags=("x" * 100,))

    GuardedLogger(open_logger, "wandb", warnings.append)
    (warning,) = warnings
    assert "\n" not in warning
    assert "is 100 characters. Tags must be between 1 and 64 characters" in warning
