"""Print the layers of a step as text, or the differences between two steps; or draw blocks into a file."""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from roadmap.analysis.figures.block_files import arrange, write_png, write_svg
from roadmap.analysis.terminal import closing_lines
from roadmap.cli.arguments import add_config_dir
from roadmap.cli.exit_status import report_errors
from roadmap.cli.printing import print_lines
from roadmap.cli.step_description import describe_run, find_base, find_changes, load_step, no_change, short_changes
from roadmap.config import Config, PlannedRun, list_choices, read_search_path, use
from roadmap.config.convert import suggest
from roadmap.config.roadmap_files import list_figures, load_roadmap
from roadmap.errors import ConfigError
from roadmap.model.describe import Line
from roadmap.system.console import Console

WIDTH = 100  # columns, for a projector
DESCRIPTION = """\
Print the layers of a step of the roadmap as text; with two steps, what differs between them;
without a step, all steps and what each changes. With --svg or --png draw their blocks into a file.

Sizes are the paper's, ResNet-50 to ConvNeXt-T on 224 pixels (setting=paper), unless overrides say
otherwise."""
EPILOG = """\
examples:
  convnet-roadmap show step5_inverted                           figure 3b of the paper
  convnet-roadmap show step5_inverted step6_move_up --stage 2   from figure 3b to 3c
  convnet-roadmap show step7_kernel model/kernel_size=9         an override as in train.py
  convnet-roadmap show step12_downsample regime=micro data=digits
  convnet-roadmap show step5_inverted step6_move_up --svg blocks.svg   as a drawing, for a slide
  convnet-roadmap show --figure 3 --svg figure3.svg             figure 3 of the paper; 4 as well
  convnet-roadmap show --png steps.png                          all steps in one picture

how to read it:
  d7x7            a depthwise 7 x 7 convolution: each channel has a filter of its own
  followed by     norms, activations and LayerScale behind the convolution, in their order
  + shortcut      what is added to the block's branch
  - and +         only in the first, only in the second of two steps"""


@report_errors()
def main(words: Sequence[str] | None = None) -> int:
    arguments = read_arguments(words)
    overrides = [word for word in arguments.words if is_override(word)]
    steps = [word for word in arguments.words if not is_override(word)]
    console = Console(width=WIDTH, highlight=False, soft_wrap=True)
    with use(read_search_path(overrides, arguments.config_dir)):
        if paths := [path for path in (arguments.svg, arguments.png) if path]:
            draw(steps, overrides, arguments)
            print_lines(console, closing_lines(paths, []))
        elif arguments.figure:
            raise ConfigError(f"--figure {arguments.figure}: name a file for it, by --svg or --png")
        elif not steps:
            list_steps(console, overrides)
        elif len(steps) <= 2:
            show(console, [load_step(step, overrides) for step in steps], arguments.stage)
        else:
            raise ConfigError(f"{' '.join(steps)}: one step to show, or two to compare")
    return 0


def read_arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words", nargs="*", metavar="STEP|KEY=VALUE", help="up to two steps, and overrides for both as in train.py"
    )
    add_config_dir(parser)
    parser.add_argument("--stage", type=int, choices=(1, 2, 3, 4), help="only this stage")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw a block of each step into this file")
    parser.add_argument("--png", type=Path, metavar="FILE", help="the same as an image")
    parser.add_argument(
        "--figure", help="draw the steps of this figure of the paper: 3 or 4, of another roadmap as ROADMAP/FIGURE"
    )
    return parser.parse_intermixed_args(words)


def is_override(word: str) -> bool:
    return "=" in word or word.startswith("~")


def list_steps(console: Console, overrides: Sequence[str]) -> None:
    """Print one line per step, as soon as it is composed."""
    names = list_choices("roadmap")
    loaded: dict[str, Config] = {}
    width = max(map(len, names))
    for name in names:
        config = loaded[name] = load_step(name, overrides).config
        base = find_base(name, config)
        if base is not None and base not in loaded:
            loaded[base] = load_step(base, overrides).config
        changes = (base and short_changes(loaded[base], config)) or [no_change(base)]
        start = f"{name:<{width}}  {config.step.label:<22}  "
        text = textwrap.fill(start + ", ".join(changes), WIDTH, subsequent_indent=" " * len(start))
        console.print(text, markup=False)


def show(console: Console, runs: Sequence[PlannedRun], stage: int | None) -> None:
    """Print the description of one step, or the comparison of two."""
    configs = [run.config for run in runs]
    description = describe_run(runs[-1], runs[0] if len(runs) == 2 else None, stage)
    for run in runs:
        console.print(Text(f"{run.config.step.name}: {run.config.step.label}", style="bold"))
        console.print(describe_paper(run), markup=False)
    data, recipe = configs[0].data, configs[-1].recipe
    console.print(
        f"regime={configs[0].regime.name} data={data.name} ({data.image_size} pixels) recipe={recipe.name}"
    )
    if len(configs) == 2:
        for change in find_changes(*configs):
            console.print(Text(f"changed: {change}", style="bold yellow"))
    console.print()
    for line in description.lines:
        console.print(color(line))


def find_figure(key: str, steps: Sequence[str]) -> list[str]:
    """Return the steps of a figure, which another roadmap's may have without its name if no other has this key.

    Raises:
        ConfigError: there is no such figure, several roadmaps have one, or steps are named beside it.
    """
    if steps:
        raise ConfigError(f"--figure {key} chooses the steps by itself; leave out {' '.join(steps)}")
    figures = list_figures()
    names = [key] if key in figures else [name for name in figures if name.rpartition("/")[2] == key]
    if len(names) != 1:
        which = "several roadmaps have one" if names else f"there is no such figure.{suggest(key, list(figures))}"
        raise ConfigError(f"--figure {key}: {which.rstrip('.')}. Allowed: {', '.join(names or figures)}")
    return figures[names[0]]


def draw(steps: Sequence[str], overrides: Sequence[str], arguments: argparse.Namespace) -> None:
    """Write a block of each step into the files: of the given steps, of one of the paper's figures, or of all.

    A step is marked against the one before it in the picture, or if all are drawn against the step that it is based
    on. The paper's figures have no marks.
    """
    names: Sequence[str] = find_figure(arguments.figure, steps) if arguments.figure else steps
    names = names or [name for name in list_choices("roadmap") if name != load_roadmap().original]
    runs = {name: load_step(name, overrides) for name in names}
    panels = []
    for place, (name, run) in enumerate(runs.items()):
        base = None
        if not arguments.figure and place:
            base = names[place - 1] if steps else find_base(name, run.config)
        panels.append(describe_run(run, runs.get(base or ""), arguments.stage).panel)
    picture = arrange(panels)
    if arguments.svg:
        write_svg(picture, arguments.svg)
    if arguments.png:
        write_png(picture, arguments.png)


def describe_paper(run: PlannedRun) -> str:
    """Describe the paper's row for a step, if its size is the paper's."""
    config = run.config
    sizes = config.data.image_size, config.data.num_classes, config.model.stem_stride
    roadmap = load_roadmap(config.step.roadmap)
    is_papers = sizes == (224, 1000, 4) and config.regime.name in roadmap.regimes
    row = roadmap.find_published(config.regime.name, config.step.name, run.variant) if is_papers else None
    if row is None:
        return "  paper: no such row"
    table = dict(roadmap.tables).get(row.regime, row.regime)
    spread = f" ± {row.top1_std:.2f}" if row.top1_std is not None else ""
    counted = f"; these layers count {row.gmacs:.3f} GMACs" if row.gmacs is not None else ""
    cost = f" at {row.gflops:.2f} GFLOPs" if row.gflops is not None else ""
    return f"  paper, {table}: {row.top1:.2f}{spread} top-1{cost}{counted}"


def color(line: Line) -> Text:
    style = {"-": "red", "+": "green"}.get(line.mark, "bold" if line.is_title else "")
    text = Text(f"{line.mark} ", style=style)
    for cell, is_changed in line.cells():
        bare = cell.rstrip()
        text.append(bare, style="bold underline" if is_changed else "")
        text.append(" " * (len(cell) - len(bare)))
    text.rstrip()
    return text
