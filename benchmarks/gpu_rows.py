"""Everything that is to be measured on one GPU, until a deadline: the most valuable row first, a JSON file each.

    python benchmarks/gpu_rows.py OUT --seconds 840
    python benchmarks/gpu_rows.py OUT --seconds 840 --rows graphs-32,epoch-32
    python benchmarks/gpu_rows.py OUT --seconds 300 --rehearsal        # tiny sizes on a CPU, from any machine

The rows are in gpu_rows.yaml, each with its command, what it is expected to give, and the physical limit beside it.
A row's file is OUT/NAME.json, written when the row is done; one that is cut off has `status: cut off` and costs
itself only. A row that needs more than the seconds left is passed over for the next that fits. The same command
goes on with what is not done. Nothing is downloaded: every row makes its own images.

It needs torch, torchvision and timm, and of Hydra and its like the wheels that `scripts/run_series.py --help` names
(and pytest, pluggy and iniconfig for the row of tests), by PYTHONPATH; no W&B.
"""

import argparse
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
ROWS = Path(__file__).with_suffix(".yaml")
GRACE_S = 5  # before the deadline, to write what is left
TAIL = 40  # lines of output that a row keeps


@dataclass(frozen=True)
class Row:
    """A measurement of gpu_rows.yaml."""

    name: str  # of its file
    what: str
    expected: str  # the target of its number, unmeasured until the file is there
    limit: str  # the physical limit beside it
    needs_s: int  # passed over if fewer seconds are left
    command: str  # of Python, from the repository's root; {json} is the file that it writes, if any
    rehearsal: str  # the same on a CPU within seconds


def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    deadline = time.monotonic() + arguments.seconds - GRACE_S
    rows = read_rows(arguments.rows)
    if arguments.list:
        for row in rows:
            print(f"{row.name:<18} {row.what}: {row.expected}")
        return 0
    arguments.out.mkdir(parents=True, exist_ok=True)
    for row in rows:
        path = arguments.out / f"{row.name}.json"
        if path.exists() and json.loads(path.read_text(encoding="utf-8"))["status"] == "done":
            print(f"{row.name}: done before")
            continue
        left = deadline - time.monotonic()
        if left < (1 if arguments.rehearsal else row.needs_s):
            print(f"{row.name}: passed over, {max(left, 0):.0f} s are left")
            continue
        result = measure(row, left, arguments.rehearsal, path)
        write(path, result)
        print(f"{row.name}: {result['status']} after {result['seconds']:.0f} s", flush=True)
    return show(arguments.out, rows)


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the rows' files")
    parser.add_argument("--seconds", type=float, required=True, help="from now until all has ended")
    parser.add_argument("--rows", help="names with commas between; default: all, in their order")
    parser.add_argument("--rehearsal", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--list", action="store_true", help="print the rows and measure nothing")
    return parser.parse_args(words)


def read_rows(names: str | None) -> list[Row]:
    rows = [Row(**values) for values in yaml.safe_load(ROWS.read_text(encoding="utf-8"))]
    if names is None:
        return rows
    by_name = {row.name: row for row in rows}
    if unknown := [name for name in names.split(",") if name not in by_name]:
        sys.exit(f"error: --rows {','.join(unknown)}: there is no such row. Allowed: {', '.join(by_name)}")
    return [by_name[name] for name in names.split(",")]


def measure(row: Row, seconds: float, is_rehearsal: bool, path: Path) -> dict[str, Any]:
    """Run a row's command for at most `seconds`; return the content of its file."""
    made = path.with_suffix(".part")
    made.unlink(missing_ok=True)
    words = shlex.split((row.rehearsal if is_rehearsal else row.command).format(json=made))
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "WANDB_MODE": "disabled"}
    if is_rehearsal:
        environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    log = path.with_suffix(".log")
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            status = "done" if process.wait(seconds) == 0 else f"failed with status {process.returncode}"
        except subprocess.TimeoutExpired:
            status = "cut off"
        finally:
            end(process)
    result = {
        "name": row.name,
        "what": row.what,
        "expected": row.expected,
        "limit": row.limit,
        "status": status,
        "seconds": time.monotonic() - started,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *words]).replace(str(made), "FILE"),
        "is_rehearsal": is_rehearsal,
        "output": log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:],
        "result": json.loads(made.read_text(encoding="utf-8")) if made.exists() and made.stat().st_size else None,
    }
    made.unlink(missing_ok=True)
    log.unlink()
    return result


def end(process: subprocess.Popen[bytes]) -> None:
    """End a row's processes, all of them: one that goes on would slow the next row."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            continue


def write(path: Path, content: dict[str, Any]) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    beside.replace(path)


def show(folder: Path, rows: Sequence[Row]) -> int:
    """Print what each row gave; the exit status is 1 if one failed."""
    has_failed = False
    for row in rows:
        path = folder / f"{row.name}.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"status": "not begun"}
        has_failed |= found["status"].startswith("failed")
        print(f"{row.name:<18} {describe(found):<44} expected: {row.expected}; limit: {row.limit}")
    return int(has_failed)


def describe(found: dict[str, Any]) -> str:
    """Return a row's numbers in a few words, or how it ended."""
    result = found.get("result") or {}
    if found["status"] != "done":
        return str(found["status"])
    if "pairs" in result:
        return ", ".join(
            f"{pair['ratio']:.2f}x at {pair['images'] / statistics.median(pair['ours_seconds']):,.0f} images/s"
            for pair in result["pairs"]
        )
    if "run_over_plan" in result:
        return f"run / plan {result['run_over_plan']:.2f}"
    if at_once := result.get("total", {}).get("at_once"):
        return ", ".join(f"{runs}: {rate or 0:,.0f} images/s" for runs, rate in at_once["images_per_s"].items())
    if "runs" in result:
        return f"largest batch {', '.join(str(run['largest_batch']) for run in result['runs'])}"
    return found["output"][-1] if found["output"] else "done"


if __name__ == "__main__":
    sys.exit(main())
