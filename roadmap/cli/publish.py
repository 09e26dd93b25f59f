"""Write the publishable part of an experiment into a folder of a repository: results without checkpoints.

    runs.csv      a row per run: step, variant, seed, accuracies, cost, speed, commit, hash, overrides
    epochs.csv    a row per epoch of a run: its metrics
    recipe.yaml   every setting shared by all runs
    configs.jsonl the other values of each run: its design, and settings that not all share
    figures/      the table and the figures
    report.html   the report, with training curves and networks
    README.md     the table, which changes are significant, and the commands; text that you add below is kept

All else is made from the first four files, so commands that read an experiment also read such a folder:
`plot results/EXPERIMENT` draws the same figures, and `publish results/EXPERIMENT` writes all of them again, such as
after an update of this project. Previously published runs that are not on this machine are kept if their settings
are the same.
"""

import argparse
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from roadmap.analysis.ablation_table import find_ablation, markdown_effects
from roadmap.analysis.comparison import COMPARISON
from roadmap.analysis.configurations import OWN_VALUES, RECIPE, Values, find_recipe, read_values, show_values
from roadmap.analysis.curves import runs_of
from roadmap.analysis.epoch_table import EPOCH_TABLE, read_records
from roadmap.analysis.publish import Key, PublishedResults, find_kept, join, key_of, read_results
from roadmap.analysis.read_runs import (
    FIGURE_FOLDER,
    RUN_TABLE,
    add_experiment_arguments,
    check_target,
    choose_experiment,
    make_figure_folder,
    name_experiment,
    read_finished_runs,
)
from roadmap.analysis.report.commands import training_commands
from roadmap.analysis.report.report import write_report
from roadmap.analysis.results import Row
from roadmap.analysis.table import markdown_notes, markdown_table
from roadmap.analysis.tables_and_figures import EFFECTS, TABLE, TRANSFER, VALUES, draw_experiment, find_drawn
from roadmap.analysis.terminal import list_files
from roadmap.cli.exit_status import report_errors
from roadmap.config.roadmaps import Roadmap
from roadmap.errors import RunError
from roadmap.runs.config_hash import NAMES, describe_differences, is_outside, setting_values
from roadmap.runs.read_files import read_text
from roadmap.runs.read_run import Run, State
from roadmap.system.commands import printed

logger = logging.getLogger(__name__)

YOURS = "<!-- What you write below this line stays when the folder is published again. -->\n"


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    description = "Write the publishable part of an experiment into a folder of a repository."
    parser = argparse.ArgumentParser(description=description)
    add_experiment_arguments(parser)
    parser.add_argument("--to", type=Path, help="the folder to write; default: results/EXPERIMENT")
    parser.add_argument("--anew", action="store_true", help="leave out what was published before and is not here")
    arguments = parser.parse_args(words)
    logger.setLevel(logging.INFO)
    experiment_dir = choose_experiment(arguments.experiment, arguments.output_dir)
    is_published = (experiment_dir / RUN_TABLE).exists()
    target = arguments.to or (experiment_dir if is_published else Path("results") / name_experiment(experiment_dir))
    if is_published and target.resolve() == experiment_dir.resolve():
        paths = write_derived(target)
    else:
        paths = publish(experiment_dir, target, arguments.anew)
    for path in paths:
        print(path)
    return 0


def publish(experiment_dir: Path, target: Path, anew: bool = False) -> list[Path]:
    """Write the files into `target` and return their paths.

    Raises:
        RunError: the experiment does not exist, has no finished run or is a published one, what was published
            before has other settings, or the folder has runs or a comparison.
    """
    runs = read_finished_runs(experiment_dir)
    if (experiment_dir / RUN_TABLE).exists():
        raise RunError(
            f"{experiment_dir} is a published experiment, which can only be written again in its own folder: "
            "leave out --to, or name the experiment that was trained"
        )
    check_target(target, RUN_TABLE, [COMPARISON])
    results = PublishedResults(runs, read_records(experiment_dir, runs))
    if not anew and (target / RUN_TABLE).exists():
        results = add_published(results, target)
    check_seeds(results.runs, target)
    make_figure_folder(target)
    results.write(target)
    return [*(target / name for name in (RUN_TABLE, EPOCH_TABLE, RECIPE, OWN_VALUES)), *write_derived(target)]


def write_derived(target: Path) -> list[Path]:
    """Write a published experiment's README, report and figures from its tables; return their paths."""
    rows, paths = draw_experiment(target, replace=True)
    warn_of_others(target / FIGURE_FOLDER)
    shown = show_folder(target)
    write_report(target, target / "report.html", shown=shown)
    page = target / "README.md"
    write_page(page, describe(read_finished_runs(target), rows, paths, shown))
    return [page, target / "report.html", *paths]


def warn_of_others(figures: Path) -> None:
    """Warn of what `plot --best` and `report` wrote into a published folder, which may be of earlier runs."""
    reports = [figures / f"report{end}.html" for end in ("", "-best")]
    if others := find_drawn(figures, best=True) + [path for path in reports if path.is_file()]:
        logger.warning(
            "%s: of an earlier command, and not written again. `plot --best` and `report` do so, or remove them",
            " and ".join(list_files(others)),
        )


def add_published(results: PublishedResults, target: Path) -> PublishedResults:
    """Add published runs that are not here.

    Raises:
        RunError: the published runs are of another experiment or of other settings.
    """
    published = read_results(target)
    names = [", ".join(dict.fromkeys(run.experiment for run in one.runs)) for one in (published, results)]
    if names[0] != names[1]:
        raise RunError(
            f"{target} has the published runs of {names[0]}, not of {names[1]}. Leave them out with --anew, "
            "or name another folder with --to"
        )
    kept = find_kept(published.runs, results.runs)
    differing = find_differing(find_recipe(published.runs), find_recipe(results.runs))
    if differing and kept:
        raise RunError(
            f"{target}: {len(kept)} runs were published with other settings: {'; '.join(differing)}. Leave them "
            "out with --anew, or name another folder with --to"
        )
    if not kept:
        if differing:
            logger.info("all %d runs of %s are replaced: %s", len(published.runs), target, "; ".join(differing))
        return results
    logger.info("%d runs stay as they were published in %s; --anew leaves them out", len(kept), target)
    return join(kept, published, results)


def check_seeds(runs: Iterable[Run], target: Path) -> None:
    """Raise RunError if finished seeds of one network have different settings; names the settings.

    Networks may have settings of their own, such as a rate each.
    """
    first: dict[Key, Run] = {}
    for run in runs:
        if run.state is not State.done or run.setting_hash is None:  # of an earlier version
            continue
        other = first.setdefault(key_of(run), run)
        if other.setting_hash != run.setting_hash:
            values = (read_values(other) or {}, read_values(run) or {})
            differing = "; ".join(describe_differences(*values, values_of=setting_values))
            raise RunError(
                f"{target}: seeds {other.seed} and {run.seed} of {run.name} have different settings ({differing}), "
                "so their mean is that of no network. Train these under another experiment=NAME, or leave out what "
                "was published with --anew"
            )


def find_differing(old: Values, new: Values) -> list[str]:
    """Return the settings that both results have and that differ, such as "recipe.lr 0.008 there, 0.004 here"."""
    before, after = show_values(old), show_values(new)
    return [
        f"{key} {before[key]} there, {after[key]} here"
        for key in before
        if key in after and before[key] != after[key] and not is_outside(key)
    ]


def describe_own_settings(runs: Iterable[Run], roadmap: Roadmap) -> list[str]:
    """Return a note for each setting that not all networks share, such as a rate of their own."""
    found: dict[str, dict[str, dict[str, None]]] = {}  # by setting and value, the networks
    for run in runs:
        values = read_values(run) or {}
        by_steps = {"step": {"varies": roadmap.setting_axes}}  # what the steps change is in the table
        for key, value in show_values(setting_values(values | by_steps)).items():
            found.setdefault(key, {}).setdefault(value, {})[run.name] = None
    texts = {
        key: "; ".join(f"{value} in {', '.join(names)}" for value, names in values.items())
        for key, values in found.items()
        if len(values) > 1 and key not in NAMES
    }
    return [f"- Not all share `{key}`: {text}." for key, text in texts.items()]


def write_page(page: Path, text: str) -> None:
    """Replace a page, except for the text that a user added below its last line."""
    before = read_text(page) if page.exists() else ""
    page.write_text(f"{text}\n{YOURS}{before.partition(YOURS)[2]}", encoding="utf-8")


def show_folder(target: Path) -> Path:
    """The folder as a reader's commands name it: from here, or where it would be by default."""
    folder, here = target.resolve(), Path.cwd().resolve()
    return folder.relative_to(here) if folder.is_relative_to(here) else Path("results") / folder.name


def describe(runs: Sequence[Run], rows: Sequence[Row], drawn: Sequence[Path], shown: Path) -> str:
    """The folder's README: commands, the figures among the drawn files, and the table with its notes."""
    done = [run for run in runs if run.state is State.done]
    figures = [
        f"![{name}]({FIGURE_FOLDER}/{name}.svg)"
        for name in (TABLE, TRANSFER, VALUES, EFFECTS)
        if any(path.name == f"{name}.svg" for path in drawn)
    ]
    ablation = find_ablation(rows)
    effects = [f"## Effect of each choice\n\n{markdown_effects(ablation)}"] if ablation.leaves_path else []
    ordered = [run for row in rows for run in runs_of(row, done)]
    commands, note = training_commands(ordered, rows[0].roadmap)
    places = "`data.root` where the images lie"
    if any("--config-dir" in command for command in commands):
        places += " and `--config-dir` where the configs lie"
    block = "\n".join(["```bash", *commands, "```"])
    by = f"Trained by these commands, with {places}:\n\n{block}"
    return "\n\n".join(
        [
            f"# {rows[0].experiment}",
            *figures,
            markdown_table(rows),
            "\n".join([markdown_notes(rows), *describe_own_settings(ordered, rows[0].roadmap)]),
            *effects,
            *([by] if commands else []),
            *([note] if note else []),
            "`runs.csv` has a row for each run, `recipe.yaml` every setting that all share, `configs.jsonl` "
            "the other values, `report.html` (open it from disk) curves and networks. "
            f"`{' '.join(printed('plot'))} {shown}` draws the figures again.\n",
        ]
    )
