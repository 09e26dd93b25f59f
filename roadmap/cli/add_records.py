"""Add the records of a series (`convnet-roadmap series`) to results/: a comparison of its ends, and its steps.

    results/NAME-ends/    comparison.csv, comparison.md and transfer.*: the ends at each stride and rate
    results/NAME-steps/   the output of `publish` for the thirteen steps

NAME is the series' own. Text that you add at the end of a page is kept.
"""

import argparse
import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from roadmap.analysis.read_runs import find_experiments, read_runs
from roadmap.cli.exit_status import report_errors
from roadmap.config.series import STATE_ENDING, SeriesState, read_series_state
from roadmap.errors import RunError
from roadmap.runs.archive import unpack_records
from roadmap.runs.atomic import write_json
from roadmap.runs.naming import seed_folders
from roadmap.runs.read_files import read_json
from roadmap.runs.read_run import SUMMARY, Run, State
from roadmap.system.commands import printed


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Adds the records of a series to a folder of results.")
    parser.add_argument("records", type=Path, help="the archive that the series wrote")
    parser.add_argument("--to", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--commit", help="of the code that trained the runs, if they do not record one")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        output_dir = Path(folder)
        unpack_records(arguments.records, output_dir)
        for path in add_records(arguments.records, output_dir, arguments.to, arguments.commit):
            print(path)
    return 0


def add_records(archive: Path, output_dir: Path, to: Path, commit: str | None) -> list[Path]:
    """Add the records, and return the written pages.

    Raises:
        RunError: the archive is not of a series, no run in it is done, or a run has no commit.
    """
    from roadmap.cli.compare import read_finished, write_comparison  # matplotlib
    from roadmap.cli.publish import YOURS, publish, write_page

    states = list(output_dir.glob(f"*{STATE_ENDING}"))
    if len(states) != 1:
        raise RunError(
            f"{archive}: holds {len(states)} files *{STATE_ENDING}, where a series' records have one. The series' "
            "command writes its records again, even if all its runs are done"
        )
    name, state = states[0].name.removesuffix(STATE_ENDING), read_series_state(states[0])
    assert state is not None  # the file exists
    record_commit(archive, output_dir, commit)
    done = {folder.name: runs for folder in find_experiments(output_dir) if (runs := finished(folder))}
    ends = [experiment for experiment in done if experiment.startswith(f"{name}-ends-")]
    pages = []
    if ends:
        target = to / f"{name}-ends"
        write_comparison(read_finished([output_dir / one for one in ends]), target, transfer=True)
        pages.append(target / "README.md")
        write_page(pages[0], describe_ends(target, state, [run for one in ends for run in done[one]]))
    if f"{name}-steps" in done:
        target = to / f"{name}-steps"
        publish(output_dir / f"{name}-steps", target)
        pages.append(target / "README.md")
        text = pages[-1].read_text(encoding="utf-8")
        if text.endswith(YOURS):
            pages[-1].write_text(f"{text}\n{describe_machine(state, done[f'{name}-steps'])}\n", encoding="utf-8")
    if not pages:
        raise RunError(f"{archive}: no run of {name}-ends or {name}-steps is done")
    return pages


def finished(experiment_dir: Path) -> list[Run]:
    return [run for run in read_runs(experiment_dir) if run.state is State.done]


def record_commit(archive: Path, output_dir: Path, commit: str | None) -> None:
    """Write `commit` into the summaries that have none."""
    for experiment in find_experiments(output_dir):
        for summary in (run / SUMMARY for run in seed_folders(experiment)):
            content = read_json(summary)
            if content and not content.get("commit"):
                if commit is None:
                    raise RunError(f"{archive}: its runs record no commit; name it by --commit")
                write_json(summary, content | {"commit": commit})


def describe_ends(target: Path, state: SeriesState, runs: Sequence[Run]) -> str:
    """Return the comparison's page, without the user's text below it."""
    table = (target / "comparison.md").read_text(encoding="utf-8").strip()
    figure = "![transfer](transfer.svg)\n\n" if (target / "transfer.svg").exists() else ""
    said = f"All steps were then trained at {state.choice.reason}.\n\n" if state.choice else ""
    command = shlex.join(printed("train", "-m", *state.sweeps.ends))
    return (
        f"# {target.name}\n\n{figure}{table}\n\n{said}{describe_machine(state, runs)}\n\n"
        "Trained by this command, with `data.root` where the images lie:\n\n"
        f"```bash\n{command}\n```\n\n`comparison.csv` has a row for each run.\n"
    )


def describe_machine(state: SeriesState, runs: Sequence[Run]) -> str:
    """Describe the machine, the number of concurrent runs, and the note in the series' file."""
    devices = " and ".join(sorted({run.device for run in runs if run.device}))
    machine = f"Trained on {devices} with {state.cores} cores, {state.jobs} runs at a time, until a deadline."
    return f"{machine} {state.note}".strip()
