"""Steps of the roadmap in their order, each with its label and the paper's top-1, for `train.py --help`."""

from omegaconf import OmegaConf

from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.search_path import find_config, list_choices

REGIME = "resnet50"  # the paper's, whose accuracies are listed


def step_lines() -> list[str]:
    """Return a heading, and a line per step, also of a user's own folder of configs.

    The files are read and not composed, so that the list appears at once.
    """
    names = list_choices("roadmap")
    lines = [f"== Steps: +roadmap=STEP; with the paper's top-1 (%) of {REGIME} on ImageNet =="]
    width = max(map(len, names))
    labels = {name: _label_of(name) for name in names}
    label_width = max(map(len, labels.values()))
    for name in names:
        paper = load_roadmap().find_published(REGIME, name, {})
        top1 = f"{paper.top1:.2f}" if paper else ""
        lines.append(f"{name:<{width}}  {labels[name]:<{label_width}}  {top1}".rstrip())
    return [*lines, ""]


def _label_of(name: str) -> str:
    file = find_config(f"roadmap/{name}")
    label = OmegaConf.select(OmegaConf.load(file), "step.label") if file else None
    return "" if label is None else str(label)
