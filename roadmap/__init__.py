"""The modernization roadmap of "A ConvNet for the 2020s": every step from ResNet to ConvNeXt.

>>> import roadmap
>>> cfg = roadmap.compose("+roadmap=step5_inverted", "regime=resnet50", "data=imagenet")
>>> roadmap.count(cfg).gmacs.__round__(2)
4.64
>>> model = roadmap.build_model(cfg)

Overrides are written as on the command line, or as keywords: `seed=1`, `recipe={"epochs": 5}`,
`roadmap="step5_inverted"`. A function is imported when it is first used, since torch and pandas take seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "__version__", "build_model", "changes", "compose", "count", "describe", "effects", "evaluate",
    "from_pretrained", "list_axes", "list_roadmaps", "list_steps", "load_epochs", "load_results",
    "plot_curves", "plot_effects", "plot_roadmap", "push_to_hub", "save_pretrained", "sweep", "train",
]  # fmt: skip
__version__ = "0.1.0"

_HOMES = {  # below roadmap, the module of each function
    "config.roadmap_files": ("list_axes", "list_roadmaps", "list_steps"),
    "config.compose": ("compose",),
    "config.network": ("build_model", "count"),
    "cli.step_description": ("describe",),
    "cli.interface": ("evaluate", "sweep", "train"),
    "cli.hub": ("from_pretrained", "push_to_hub", "save_pretrained"),
    "analysis.frames": ("changes", "effects", "load_epochs", "load_results"),
    "analysis.figures.dataframe_plots": ("plot_curves", "plot_effects", "plot_roadmap"),
}

if TYPE_CHECKING:
    from roadmap.analysis.figures.dataframe_plots import plot_curves, plot_effects, plot_roadmap
    from roadmap.analysis.frames import changes, effects, load_epochs, load_results
    from roadmap.cli.hub import from_pretrained, push_to_hub, save_pretrained
    from roadmap.cli.interface import evaluate, sweep, train
    from roadmap.cli.step_description import describe
    from roadmap.config.compose import compose
    from roadmap.config.network import build_model, count
    from roadmap.config.roadmap_files import list_axes, list_roadmaps, list_steps
else:

    def __getattr__(name: str) -> Any:
        for module, names in _HOMES.items():
            if name in names:
                globals()[name] = function = getattr(import_module(f"roadmap.{module}"), name)
                return function
        raise AttributeError(f"module 'roadmap' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
