"""An archive that cannot be added to the results is refused with the reason."""

import json
from pathlib import Path

from fixture_types import Call, Write

from roadmap.runs.archive import write_records


def test_what_an_archive_lacks_is_named(tmp_path: Path, call: Call, write_run: Write) -> None:
    def add() -> str:
        states = [path.name for path in (tmp_path / "outputs").glob("*.json")]
        write_records(tmp_path / "outputs", tmp_path / "records.tgz", ["dry-steps"], states)
        return call("add_records", tmp_path / "records.tgz", "--to", tmp_path / "to", status=1).err

    (tmp_path / "outputs").mkdir()
    assert "records.tgz: holds 0 files *-series.json" in add()
    for damage in ("", "3", '{"jobs": 2}', '{"jobs": 2, "cores": 2, "note": "", "choice": 3}'):
        (tmp_path / "outputs/dry-series.json").write_text(damage)
        assert "dry-series.json is damaged" in add()
    (tmp_path / "outputs/dry-series.json").write_text(json.dumps({"jobs": 2, "cores": 2, "note": "", "sweeps": {}}))
    write_run(tmp_path / "outputs/dry-steps", "step0_resnet", state="interrupted")
    assert "no run of dry-ends or dry-steps is done" in add()
    write_run(tmp_path / "outputs/dry-steps", "step1_stage_ratio")
    assert "its runs record no commit; name it by --commit" in add()
    (tmp_path / "outputs/wet-series.json").write_text("{}")
    assert "holds 2 files *-series.json, where a series' records have one. The series' command writes" in add()
    assert not (tmp_path / "to").exists()
