"""Writes what is worth keeping of an experiment into a folder for a repository: results without checkpoints.

    python scripts/publish.py [EXPERIMENT] [--output-dir outputs] [--to results/EXPERIMENT]

    runs.csv      a row a run: step, variant, seed, accuracies, cost, speed, commit, hash of its configuration
    figures/      the table and the figures, drawn from runs.csv
    report.html   the report, with training curves and networks
    recipe.yaml   every setting that all runs share
    README.md     the commands that trained it, the table and what it says; what you write below that stays

All scripts that read an experiment read such a folder too: python scripts/plot_roadmap.py results/EXPERIMENT draws
the same again. An error is one message and exit status 1.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from roadmap.analysis.curve import draw_curve
from roadmap.analysis.effect_table import find_worth, markdown_effects
from roadmap.analysis.folders import (
    FIGURE_FOLDER,
    RUN_TABLE,
    add_experiment_arguments,
    choose_experiment,
    read_finished_runs,
)
from roadmap.analysis.learning import runs_of
from roadmap.analysis.report import Commands, write_report
from roadmap.analysis.results import Row
from roadmap.analysis.run import DONE, Run, write_run_table
from roadmap.analysis.setup import training_commands
from roadmap.analysis.table import markdown_notes, markdown_table
from roadmap.errors import RoadmapError, RunError
from roadmap.setups import find_recipe, read_setup_anywhere

YOURS = "<!-- What you write below this line stays when the folder is published again. -->\n"


def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        experiment_dir = choose_experiment(arguments.experiment, arguments.output_dir)
        paths = publish(experiment_dir, arguments.to or Path("results") / experiment_dir.name)
    except (RoadmapError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in paths:
        print(path)
    return 0


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    description = "Writes what is worth keeping of an experiment into a folder for a repository."
    parser = argparse.ArgumentParser(description=description)
    add_experiment_arguments(parser)
    parser.add_argument("--to", type=Path, help="the folder to write; default: results/EXPERIMENT")
    return parser.parse_args(words)


def publish(experiment_dir: Path, target: Path) -> list[Path]:
    """Writes the files into `target` and returns them.

    RunError: the experiment does not exist, none of its runs has finished, or it is a published one.
    """
    runs = read_finished_runs(experiment_dir)
    if (experiment_dir / RUN_TABLE).exists():
        raise RunError(f"{experiment_dir}: this is what was published; name the experiment that was trained")
    (target / FIGURE_FOLDER).mkdir(parents=True, exist_ok=True)
    write_run_table(runs, target / RUN_TABLE)
    curve = draw_curve(target)
    write_report(experiment_dir, target / "report.html", read_setup_anywhere, Commands.on(target))
    (target / "recipe.yaml").write_text(yaml.safe_dump(find_recipe(runs), sort_keys=False), encoding="utf-8")
    page = target / "README.md"
    page.write_text(describe(runs, curve.rows, target) + read_own_text(page), encoding="utf-8")
    own = [target / name for name in ("README.md", RUN_TABLE, "recipe.yaml", "report.html")]
    return [*own, *curve.paths]


def read_own_text(page: Path) -> str:
    """What somebody wrote below the generated text, with the line that marks its beginning."""
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    return "\n" + YOURS + before.partition(YOURS)[2]


def describe(runs: Sequence[Run], rows: Sequence[Row], target: Path) -> str:
    """The folder's README: commands, figures and the table with its notes."""
    done = [run for run in runs if run.state == DONE]
    members = [runs_of(row, done) for row in rows]
    setups = [read_setup_anywhere(some[0]) if some else None for some in members]
    figures = [
        f"![{name}]({FIGURE_FOLDER}/{name}.svg)"
        for name in ("roadmap", "kernels", "effects")
        if (target / FIGURE_FOLDER / f"{name}.svg").exists()
    ]
    worth = find_worth(rows)
    effects = [f"## What each choice is worth\n\n{markdown_effects(worth)}"] if worth.leaves_path else []
    commands = "\n".join(training_commands(rows, setups))
    return "\n\n".join(
        [
            f"# {rows[0].experiment}",
            *figures,
            markdown_table(rows),
            markdown_notes(rows),
            *effects,
            f"Trained by these commands, with `data.root` where the images lie:\n\n```bash\n{commands}\n```",
            "`runs.csv` has a row for each run, `recipe.yaml` every setting that all share, `report.html` (open it "
            f"from disk) curves and networks. `python scripts/plot_roadmap.py {target}` draws the figures again.\n",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
