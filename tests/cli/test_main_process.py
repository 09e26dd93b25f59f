"""Rank 0 records why another rank ended, also if a launcher stops it meanwhile."""

import os
import signal
from types import FrameType, SimpleNamespace

import pytest

from roadmap.cli import main_process
from roadmap.errors import DataError, RoadmapError
from roadmap.system.rank import DistInfo
from roadmap.training import distributed


@pytest.mark.parametrize("reported", [True, False])
def test_a_launchers_signal_does_not_keep_rank_0_from_recording(
    reported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun sends SIGTERM as soon as one process has ended."""
    recorded: list[str] = []
    received: list[int] = []

    def record(text: str) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        recorded.append(text)

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    group = SimpleNamespace(
        is_peer_failure=lambda _: True, peer_error=lambda: DataError("7.png can't be read") if reported else None
    )
    monkeypatch.setattr(main_process, "DIST_INFO", DistInfo(rank=0, world_size=2))
    monkeypatch.setattr(distributed, "join_group", lambda: group)
    outer = signal.signal(signal.SIGTERM, note)
    try:
        with pytest.raises((RoadmapError, KeyboardInterrupt)):
            main_process.record_failure(
                SimpleNamespace(fail=record, interrupt=record),  # type: ignore[arg-type]
                RuntimeError("Connection closed by peer"),
                "",
            )
        assert recorded == ["7.png can't be read" if reported else "another process of the group is gone"]
        assert received == []
        os.kill(os.getpid(), signal.SIGTERM)  # obeyed again
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, outer)
