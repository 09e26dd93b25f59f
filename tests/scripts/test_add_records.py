"""An archive that cannot be added to the results is refused with the reason."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from roadmap.runs.archive import write_records

Load = Callable[[str], ModuleType]


@pytest.fixture
def add(tmp_path: Path, load_script: Load, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def add(*words: str) -> tuple[int, str]:
        (tmp_path / "outputs").mkdir(exist_ok=True)
        write_records(tmp_path / "outputs", tmp_path / "records.tgz")
        status = load_script("add_records").main(
            [str(tmp_path / "records.tgz"), "--to", str(tmp_path / "to"), *words]
        )
        return status, capsys.readouterr().err

    return add


def test_what_an_archive_lacks_is_named(
    tmp_path: Path, add: Callable[..., tuple[int, str]], write_run: Callable[..., Any]
) -> None:
    status, said = add()
    assert (status, "records.tgz: holds 0 files *-series.json" in said) == (1, True)
    (tmp_path / "outputs/dry-series.json").write_text(json.dumps({"jobs": 2, "cores": 2, "note": "", "sweeps": {}}))
    write_run(tmp_path / "outputs/dry-steps", "step0_resnet", state="interrupted")
    status, said = add()
    assert (status, "no run of dry-ends or dry-steps is done" in said) == (1, True)
    write_run(tmp_path / "outputs/dry-steps", "step1_stage_ratio")
    status, said = add()
    assert (status, "its runs record no commit; name it by --commit" in said) == (1, True)
    assert not (tmp_path / "to").exists()
