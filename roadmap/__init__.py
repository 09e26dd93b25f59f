"""The modernization roadmap of "A ConvNet for the 2020s": every step from ResNet to ConvNeXt.

>>> import roadmap
>>> cfg = roadmap.compose("+roadmap=step5_inverted", "regime=resnet50", "data=imagenet")
>>> roadmap.count(cfg).gmacs.__round__(2)
4.64
>>> model = roadmap.build_model(cfg)

Modules that need torch or pandas are imported when a function is called: torch takes seconds.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from roadmap.config import compose

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig
    from torch import nn

    from roadmap.model.cost import Cost

__all__ = [
    "__version__",
    "build_model",
    "changes",
    "compose",
    "count",
    "effects",
    "list_axes",
    "list_steps",
    "load_epochs",
    "load_results",
]
__version__ = "0.1.0"
OUTPUTS = Path("outputs")  # where train.py writes by default


def list_steps() -> list[str]:
    """Return the names of the roadmap's steps, in order.

    >>> roadmap.list_steps()[:3]
    ['step0_resnet', 'step1_stage_ratio', 'step2_patchify']
    """
    from roadmap.config.roadmap_files import load_roadmap

    return list(load_roadmap().steps)


def list_axes() -> dict[str, list[str]]:
    """Return each design axis with its choices, for overrides such as `model/norm=batchnorm`.

    >>> roadmap.list_axes()["norm"]
    ['batchnorm', 'layernorm']
    """
    from roadmap.config.roadmap_files import load_roadmap
    from roadmap.config.search_path import list_choices

    return {axis: list_choices(f"model/{axis}") for axis in load_roadmap().all_axes}


def build_model(cfg: "DictConfig") -> "nn.Module":
    """Build the network of a composed configuration: images (N, 3, H, W) to logits (N, classes).

    Reads no data; under `torch.device("meta")` it also uses no memory. Weights are drawn from torch's global
    generator. Loading `cfg.init_from` is left to the caller.

    >>> sum(p.numel() for p in roadmap.build_model(roadmap.compose("+roadmap=step12_downsample")).parameters())
    670714

    Raises:
        roadmap.errors.ConfigError: an unusable key, value or combination.
    """
    from roadmap.config import read_config
    from roadmap.model.build import build

    config = read_config(cfg)
    return build(config.model, config.regime, config.reference, config.data.image_size)


def count(cfg: "DictConfig") -> "Cost":
    """Count multiply-accumulates (1e9), parameters and activations of a network for one image.

    >>> cost = roadmap.count(roadmap.compose("+roadmap=step0_resnet", "regime=resnet50", "data=imagenet"))
    >>> round(cost.gmacs, 2), cost.parameters
    (4.09, 25557032)

    Raises:
        roadmap.errors.ConfigError: as build_model.
    """
    from roadmap.model.cost import measure_cost

    return measure_cost(lambda: build_model(cfg), cfg.data.image_size)


def load_results(experiment: str | Path, output_dir: Path = OUTPUTS) -> "pd.DataFrame":
    """Return the runs of an experiment, one row each, in any state.

    Columns: network, step, variant, seed, state, top1 (percent, last epoch), best_top1, ema_top1, loss, epochs,
    gmacs (1e9 per image), parameters, images_per_s (training), seconds, device, commit, config_hash and others;
    see `roadmap.analysis.run_table.Run`.

    Args:
        experiment: a name under `output_dir`, or the path of a folder, also of a published one.

    >>> runs = roadmap.load_results("results/cifar10-stride4")
    >>> round(float(runs[runs.network == "step0_resnet"].top1.mean()), 2)
    72.77

    Raises:
        roadmap.errors.RunError: no such experiment, or it has no readable run.
    """
    from roadmap.analysis.frames import load_results

    return load_results(experiment, output_dir)


def load_epochs(experiment: str | Path, output_dir: Path = OUTPUTS) -> "pd.DataFrame":
    """Return the metrics of each epoch: a row per run and epoch; of a published experiment, per network and epoch.

    Columns: network, regime, data, recipe, seeds (those that a row is the mean of), epoch (from 1), top1
    (percent), loss, train_loss, lr.

    >>> epochs = roadmap.load_epochs("results/cifar10-stride4")
    >>> float(epochs.groupby("network").top1.last()["step0_resnet"])
    72.773

    Raises:
        roadmap.errors.RunError: as load_results.
    """
    from roadmap.analysis.frames import load_epochs

    return load_epochs(experiment, output_dir)


def changes(results: "pd.DataFrame") -> "pd.DataFrame":
    """Return each network's mean top-1, and its change from the step before with a 95% interval, in points.

    Args:
        results: rows of `load_results`; leave out what is not to count.

    Columns: network, label, seeds (their number), top1, top1_std, top1_low, top1_high, before, change, change_low,
    change_high, p, min_detectable_effect, paired (by seed), p_holm (corrected), verdict, paper_change. A step
    without a finished run has no row.

    >>> found = roadmap.changes(roadmap.load_results("results/cifar10-stride4")).set_index("network")
    >>> round(float(found.change["step6"]), 2), found.verdict["step6"]
    (-7.22, 'loss')
    """
    from roadmap.analysis.frames import find_changes

    return find_changes(results)


def effects(results: "pd.DataFrame") -> "pd.DataFrame":
    """Return the effect of each choice, top-1 with it minus without it, wherever the runs measure it, in points.

    Intervals use the standard deviation pooled over all networks.

    Args:
        results: rows of `load_results`.

    Columns: axis, place (on the path, in the last step, in step 0), effect, effect_low, effect_high, p,
    min_detectable_effect, paired, significant (corrected over the effects of the same place).

    >>> found = roadmap.effects(roadmap.load_results("results/cifar10-stride4")).set_index(["axis", "place"])
    >>> round(float(found.effect["stem", "in step 12"]), 1)
    -10.2
    """
    from roadmap.analysis.frames import find_all_effects

    return find_all_effects(results)
