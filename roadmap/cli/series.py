"""Train a series on one device until a deadline: the ends of the roadmap, then all steps at the best setting.

    convnet-roadmap series scripts/gpu_series.yaml --seconds 540 --images cifar10.tar.xz --records records.tgz

The runs of a phase are one sweep of train.py, each in a separate process (hydra/launcher=processes), in order of
value. Every minute their records, without checkpoints, replace one archive; `add-records` adds it to
results/. The same command continues where it stopped; with another file or other overrides it is refused.
Additional overrides for every run go at the end of the command.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from roadmap.analysis.publish import hide_words
from roadmap.analysis.read_runs import last_change
from roadmap.analysis.series import choose_setting, read_ends
from roadmap.cli.arguments import positive
from roadmap.cli.exit_status import report_errors
from roadmap.cli.series_images import unpack
from roadmap.config import prepare_overrides, read_search_path, read_sweep, use
from roadmap.config.series import (
    ChosenSetting,
    SeriesSpec,
    SeriesState,
    check_networks,
    find_changes,
    read_series,
    read_series_state,
)
from roadmap.errors import RunError
from roadmap.runs.archive import write_records
from roadmap.runs.atomic import write_json
from roadmap.runs.naming import seed_folders
from roadmap.system.commands import printed, started

RECORDS_EVERY_S = 60
GRACE_S = 15  # before the deadline, for runs to save
ARCHIVE_S = 5  # of these, for the archive
STOPPED = 128 + signal.SIGTERM
EPILOG = """\
On a machine without Hydra, such as a rented GPU with torch, torchvision and timm, bring a folder of wheels:
  pip wheel -w wheels --no-deps -c constraints.txt hydra-core omegaconf antlr4-python3-runtime \\
      hydra-joblib-launcher joblib rich pygments
and install it there, from the root of this repository:
  pip install --no-index --no-deps --target /tmp/site wheels/*.whl
  PYTHONPATH=/tmp/site:. python scripts/run_series.py ..."""


@dataclass
class Series:
    """A running series."""

    spec: SeriesSpec
    output_dir: Path
    records: Path
    overrides: list[str]  # for this machine
    jobs: int
    deadline: float  # of time.monotonic()
    state: SeriesState
    stopped: bool = False

    @property
    def left(self) -> float:
        """Seconds left for training."""
        return self.deadline - GRACE_S - time.monotonic()

    def save(self, **changes: Any) -> None:
        """Change the state, and write it."""
        self.state = replace(self.state, **changes)
        write_json(self.output_dir / self.spec.state_file, asdict(self.state))

    def archive(self) -> int:
        """Archive the records of the runs, and return their number."""
        return write_records(self.output_dir, self.records, self.spec.experiments, [self.spec.state_file])

    def last_change(self) -> float:
        """Return when a run last wrote a file, in seconds since the epoch."""
        return max(last_change(self.output_dir / name) for name in self.spec.experiments)


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    deadline = time.monotonic()
    arguments = read_arguments(words)
    deadline += arguments.seconds
    spec = read_series(arguments.series)
    output_dir = arguments.output_dir
    output_dir.mkdir(parents=True, exist_ok=True)
    overrides = [*arguments.overrides, f"output_dir={output_dir}"]
    if arguments.device is not None:
        overrides.append(f"hardware.device={arguments.device}")
    if arguments.device == "cpu":
        overrides.append("hardware.precision=fp32")
    if arguments.images is not None:
        overrides.append(f"data.root={unpack(arguments.images, output_dir / '.images')}")
    with use(read_search_path([*spec.ends_overrides(), *overrides])):
        check_networks(arguments.series, spec, overrides)
    jobs = arguments.jobs or spec.jobs
    public = spec.edit_overrides(hide_words), tuple(hide_words(arguments.overrides))
    device = "cpu" if "hardware.device=cpu" in overrides else "of the machine"  # whose results are not mixed
    state = resume(output_dir, SeriesState(jobs, os.cpu_count() or 1, spec.note, *public, device=device))
    return train(Series(spec, output_dir, arguments.records, overrides, jobs, deadline, state))


def resume(output_dir: Path, state: SeriesState) -> SeriesState:
    """Return the state of this command with the progress of earlier ones.

    Raises:
        RunError: an earlier command began runs from another file or with other overrides.
    """
    assert state.spec is not None
    path = output_dir / state.spec.state_file
    if (known := read_series_state(path)) is None:
        return state
    if changes := find_changes(known, state):
        assert known.spec is not None
        if known.choice or any(seed_folders(output_dir / name) for name in known.spec.experiments):
            raise RunError(
                f"{path}: the series {known.spec.name} was begun with other settings: {'; '.join(changes)}. Go on "
                "with the earlier ones, or begin anew under another name: in the file, or another --output-dir"
            )
        return state
    return replace(state, sweeps=known.sweeps, ends_seconds=known.ends_seconds, choice=known.choice)


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Trains a series on one device until a deadline; the same command goes on.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("series", type=Path, help="a YAML file, such as scripts/gpu_series.yaml")
    parser.add_argument("overrides", nargs="*", help="of train.py, for every run")
    parser.add_argument("--seconds", type=positive, required=True, help="from now until all has ended")
    parser.add_argument("--images", type=Path, help="a tar archive of an image folder, unpacked once")
    parser.add_argument("--records", type=Path, required=True, help="the archive to write, such as records.tgz")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"), help="default: outputs")
    parser.add_argument("--jobs", type=positive, help="runs at a time; default: the series' own number")
    parser.add_argument("--device", help="hardware.device of every run; cpu also takes fp32")
    return parser.parse_args(words)


def train(series: Series) -> int:
    """Run both phases. The exit status is 0 if the last run or the deadline ended them."""

    def stop(number: int, frame: FrameType | None) -> None:
        series.stopped = True

    outer = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        train_phases(series)
    finally:
        for number, handler in outer.items():
            signal.signal(number, handler)
    return STOPPED if series.stopped else 0


def train_phases(series: Series) -> None:
    """Train the ends, unless a setting is already chosen, and then all steps."""
    spec = series.spec
    if series.state.choice is None:
        started, spent = time.monotonic(), series.state.ends_seconds
        run_phase(series, "ends", spec.ends_overrides(), 60 * spec.ends.minutes - spent)
        series.save(ends_seconds=spent + time.monotonic() - started)
        if not series.stopped and series.left > 0:
            series.save(choice=choose(series))
    if (chosen := series.state.choice) is not None:
        report(f"all steps at {chosen.reason}")
        overrides = spec.steps_overrides(chosen.stem_stride, chosen.lr, chosen.epochs)
        run_phase(series, "steps", overrides, series.left)


def choose(series: Series) -> ChosenSetting:
    """Choose the setting and the epochs of all steps; see `choose_setting`."""
    spec = series.spec
    settings = [(stride, lr) for stride in spec.ends.stem_strides for lr in spec.ends.rates]
    folders = {setting: series.output_dir / spec.ends_experiment(*setting) for setting in settings}
    ends = read_ends(folders, *spec.ends.names)
    if not ends:
        setting, epochs = settings[0], spec.steps.least_epochs
        reason = "the first setting of the series and the fewest epochs (at no setting both ends were done)"
    else:
        setting = choose_setting(ends)
        words = [*spec.steps_overrides(*setting, spec.steps.least_epochs), *series.overrides]
        epochs = spec.steps.count_epochs(
            series.left, series.jobs, ends[setting].epoch_seconds, count_networks(words)
        )
        reason = (
            f"stem stride {setting[0]} and rate {setting[1]} for {epochs} epochs (gap {ends[setting].gap:+.2f} "
            f"points, the largest over stem strides, each at the rate with the best mean of both ends)"
        )
    return ChosenSetting(*setting, epochs, reason)


def count_networks(words: Sequence[str]) -> int:
    """Return the number of networks of a sweep of train.py."""
    with use(read_search_path(words)):
        sweep = read_sweep(prepare_overrides(words), is_sweep=True)
    assert sweep is not None
    return len(sweep.spec.names())


def run_phase(series: Series, name: str, overrides: Sequence[str], seconds: float) -> None:
    """Run one sweep of train.py, stopped after `seconds` or at the deadline, and archive its records."""
    seconds = min(seconds, series.left)
    if seconds <= 0 or series.stopped:
        return
    public = tuple(hide_words([*overrides, *series.overrides]))
    series.save(sweeps=replace(series.state.sweeps, **{name: public}))
    launcher = ["hydra/launcher=processes", f"hydra.launcher.n_jobs={series.jobs}"]
    words = ["-m", *overrides, *series.overrides, *launcher]
    report(f"{name}, {seconds:.0f} s: {shlex.join(printed('train', *words))}")
    before = series.last_change()
    # In its own session, so that only this process gets a terminal's Ctrl-C.
    command, environment = started("train", *words), os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        ended = wait(series, process, time.monotonic() + seconds)
    runs = series.archive()
    report(f"{series.records}: records of {runs} runs")
    if ended and (not runs or (process.returncode and series.last_change() == before)):
        raise RunError("train.py began no run; its message is above")


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def wait(series: Series, process: subprocess.Popen[bytes], until: float) -> bool:
    """Wait for the sweep and return True; at `until`, or if stopped, let its runs save and return False."""
    archived = time.monotonic()
    while process.poll() is None and time.monotonic() < until and not series.stopped:
        time.sleep(0.2)
        if time.monotonic() - archived >= RECORDS_EVERY_S:
            series.archive()
            archived = time.monotonic()
    if process.poll() is not None:
        if process.returncode:
            report(f"train.py ended with status {process.returncode}: a run failed, or it was refused")
        return True
    process.terminate()
    try:
        process.wait(GRACE_S - ARCHIVE_S)
    except subprocess.TimeoutExpired:
        process.kill()
    return False
