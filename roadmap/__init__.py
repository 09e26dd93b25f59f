"""The modernization roadmap of "A ConvNet for the 2020s": every step from ResNet to ConvNeXt.

>>> import roadmap
>>> cfg = roadmap.compose("+roadmap=step5_inverted", "regime=resnet50", "data=imagenet")
>>> roadmap.count(cfg).gmacs.__round__(2)
4.64
>>> model = roadmap.build_model(cfg)

Overrides are written as on the command line, or as keywords: `seed=1`, `recipe={"epochs": 5}`,
`roadmap="step5_inverted"`. What needs torch, pandas or matplotlib is imported when a function is called.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from omegaconf import DictConfig
    from plotly.graph_objects import Figure as PlotlyFigure
    from torch import nn

    from roadmap.cli.step_description import StepDescription
    from roadmap.model.cost import Cost
    from roadmap.runs.read_run import Run

__all__ = [
    "__version__",
    "build_model",
    "changes",
    "compose",
    "count",
    "describe",
    "effects",
    "evaluate",
    "from_pretrained",
    "list_axes",
    "list_roadmaps",
    "list_steps",
    "load_epochs",
    "load_results",
    "plot_curves",
    "plot_effects",
    "plot_roadmap",
    "push_to_hub",
    "save_pretrained",
    "sweep",
    "train",
]
__version__ = "0.1.0"
OUTPUTS = Path("outputs")  # where train.py writes by default


def list_roadmaps() -> list[str]:
    """Return the names of the roadmaps, the default one first.

    >>> roadmap.list_roadmaps()[0]
    'convnext'
    """
    from roadmap.config.roadmap_files import list_roadmaps

    return list_roadmaps()


def list_steps(roadmap: str = "convnext") -> list[str]:
    """Return the names of a roadmap's steps, in order.

    >>> roadmap.list_steps()[:3]
    ['step0_resnet', 'step1_stage_ratio', 'step2_patchify']

    Raises:
        roadmap.errors.ConfigError: there is no such roadmap.
    """
    from roadmap.config.roadmap_files import load_roadmap

    return list(load_roadmap(roadmap).steps)


def list_axes() -> dict[str, list[str]]:
    """Return each design axis with its choices, for overrides such as `model/norm=batchnorm`.

    >>> roadmap.list_axes()["norm"]
    ['batchnorm', 'layernorm']
    """
    from roadmap.config.roadmap_files import load_roadmap
    from roadmap.config.search_path import list_choices

    return {axis: list_choices(f"model/{axis}") for axis in load_roadmap().all_axes}


def compose(*overrides: str, **values: Any) -> "DictConfig":
    """Return the configuration that `python train.py OVERRIDES...` trains.

    A folder of configs of one's own takes `hydra.searchpath=[file:///PATH]`, as there.

    >>> roadmap.compose(roadmap="step7_kernel", model={"kernel_size": 9}, seed=1).model.kernel_size
    9

    Raises:
        roadmap.errors.ConfigError: a group, choice or key does not exist.
    """
    from hydra.errors import HydraException

    from roadmap.config import compose
    from roadmap.config.hydra_errors import explain_hydra_error
    from roadmap.config.keywords import to_words
    from roadmap.errors import ConfigError

    words = to_words(overrides, values)
    try:
        return compose(*words)
    except HydraException as error:
        raise ConfigError(explain_hydra_error(error, words)) from None


def describe(step: str, *overrides: str, against: str | None = None, **values: Any) -> "StepDescription":
    """Describe a step: `print` shows its layers, a notebook the diagram of its block.

    Sizes are the paper's (setting=paper) unless overrides say otherwise.

    Args:
        step: such as step5_inverted, or a variant such as step7_kernel,kernel_size=9.
        against: the step to compare with; by default the one that the step is based on.

    >>> step = roadmap.describe("step5_inverted")
    >>> step.changes
    ('block bottleneck -> inverted',)
    >>> step.svg.startswith("<svg")
    True

    `diff` is the layers that differ, as text; `save("step5.svg")` or `.png` writes the diagram.

    Raises:
        roadmap.errors.ConfigError: no such step or override.
    """
    from roadmap.cli.step_description import describe_step
    from roadmap.config.keywords import to_words

    return describe_step(step, to_words(overrides, values), against)


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
    scale = config.recipe.head_init_scale
    return build(config.model, config.regime, config.reference, config.data.image_size, scale)


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


def train(*overrides: str, progress: bool = True, **values: Any) -> "Run":
    """Train one run in this process, with the folder, checks and resuming of `python train.py OVERRIDES...`.

    A run that is done is not trained again. After Ctrl-C (a notebook's stop button) the same call resumes it.
    Sets torch's seed, number of threads and deterministic algorithms, as every run does.

    Args:
        progress: print a line per epoch.

    Returns:
        the run's record: top1 (percent), best_top1, loss, seconds, path and others.

    >>> where = {"experiment": "example", "output_dir": folder}
    >>> run = roadmap.train(roadmap="step12_downsample", recipe={"epochs": 1}, progress=False, **where)
    >>> run.state.value, run.epochs, run.path.name
    ('done', 1, 'seed0')

    Raises:
        roadmap.errors.RoadmapError: a wrong override, unusable data or folder, or a failed run.
        KeyboardInterrupt: the run was stopped; everything is saved.
    """
    from roadmap.cli.interface import train_run
    from roadmap.config.keywords import to_words

    return train_run(to_words(overrides, values), progress)


def sweep(*overrides: str, progress: bool = True, **values: Any) -> "pd.DataFrame":
    """Train every run of a sweep, as `python train.py -m OVERRIDES...`, and return them as `load_results` does.

    A list or range is one run per item. A failed run is recorded in its row (state, error), and the sweep goes on.
    Runs are trained one after the other in this process; `hydra/launcher=processes` trains several at once.

    >>> where = {"experiment": "example", "output_dir": folder}
    >>> steps = ["step0_resnet", "step12_downsample"]
    >>> runs = roadmap.sweep(roadmap=steps, seed=range(1), recipe={"epochs": 1}, progress=False, **where)
    >>> runs[["network", "state"]].values.tolist()
    [['step0_resnet', 'done'], ['step12_downsample', 'done']]

    Raises:
        roadmap.errors.RoadmapError: a run cannot be composed, so that none is trained.
        KeyboardInterrupt: the sweep was stopped; everything is saved.
    """
    from roadmap.analysis.frames import frame_of
    from roadmap.cli.interface import sweep_runs
    from roadmap.config.keywords import to_words

    return frame_of(sweep_runs(to_words(overrides, values, is_sweep=True), progress))


def evaluate(*overrides: str, progress: bool = True, **values: Any) -> float:
    """Evaluate the weights of `init_from` on the validation images; return top-1 in percent, and record it.

    >>> step = {"roadmap": "step12_downsample", "experiment": "example", "output_dir": folder, "progress": False}
    >>> run = roadmap.train(recipe={"epochs": 1}, **step)
    >>> top1 = roadmap.evaluate(init_from=run.path / "checkpoint.pt", **step)
    >>> 0 <= top1 <= 100
    True

    Raises:
        roadmap.errors.RoadmapError: data or weights cannot be used.
    """
    from roadmap.cli.interface import evaluate_run
    from roadmap.config.keywords import to_words

    return evaluate_run(to_words(overrides, values), progress)


def save_pretrained(run: str | Path, folder: str | Path, weights: str = "raw") -> None:
    """Write a finished run as a folder that the Hugging Face Hub shows: safetensors, config and a model card.

    Places on this machine (data, outputs) are left out.

    Args:
        run: its folder, such as `roadmap.train(...).path`.
        weights: "raw", or "ema" for the averaged ones.

    >>> where = {"experiment": "example", "output_dir": folder, "progress": False}
    >>> run = roadmap.train(roadmap="step12_downsample", recipe={"epochs": 1}, **where)
    >>> roadmap.save_pretrained(run.path, f"{folder}/published")
    >>> network = roadmap.from_pretrained(f"{folder}/published")

    Raises:
        roadmap.errors.RoadmapError: the run is not done, or has no such weights.
    """
    from roadmap.cli.hub import save_pretrained

    save_pretrained(Path(run), Path(folder), weights)


def push_to_hub(run: str | Path, repo_id: str, private: bool = False, weights: str = "raw") -> str:
    """Send what `save_pretrained` writes to a repository of the Hugging Face Hub; return its address.

    Uses the credentials of `hf auth login` or HF_TOKEN.

    >>> roadmap.push_to_hub("outputs/cifar10/step12_downsample/seed0", "me/step12-cifar10")  # doctest: +SKIP

    Raises:
        roadmap.errors.RoadmapError: as save_pretrained.
        huggingface_hub.errors.HfHubHTTPError: the Hub refused it.
    """
    from roadmap.cli.hub import push_to_hub

    return push_to_hub(Path(run), repo_id, private, weights)


def from_pretrained(name: str | Path) -> "nn.Module":
    """Return the network of a folder of `save_pretrained`, or of a repository of the Hub, in evaluation mode.

    >>> network = roadmap.from_pretrained("me/step12-cifar10")  # doctest: +SKIP

    Raises:
        roadmap.errors.WeightsError: no such folder or repository, or it is of something else.
    """
    from roadmap.cli.hub import from_pretrained

    return from_pretrained(str(name))


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


@overload
def plot_roadmap(
    results: "pd.DataFrame", ax: "Axes | None" = None, best: bool = False, backend: Literal["matplotlib"] = ...
) -> "Figure": ...
@overload
def plot_roadmap(
    results: "pd.DataFrame", ax: None = None, best: bool = False, *, backend: Literal["plotly"]
) -> "PlotlyFigure": ...
def plot_roadmap(
    results: "pd.DataFrame", ax: "Axes | None" = None, best: bool = False, backend: str = "matplotlib"
) -> Any:
    """Draw the paper's figure 2: a bar per step with top-1, standard deviation, seeds and cost.

    Args:
        results: rows of `load_results` or `sweep`.
        ax: draw only the bars, into these axes.
        best: the best epoch, picked on the validation set, instead of the last one.
        backend: "matplotlib", or "plotly" for a figure that shows its numbers under the pointer.

    >>> runs = roadmap.load_results("results/cifar10-stride4")
    >>> roadmap.plot_roadmap(runs).savefig(f"{folder}/roadmap.svg")
    >>> roadmap.plot_roadmap(runs, backend="plotly").write_html(f"{folder}/roadmap.html")

    Raises:
        roadmap.errors.RunError: no run has finished.
        roadmap.errors.ConfigError: there is no such backend, or plotly was given matplotlib's axes.
    """
    return _plot("plot_roadmap", backend, ax)(results, best=best)


@overload
def plot_effects(
    results: "pd.DataFrame", ax: "Axes | None" = None, best: bool = False, backend: Literal["matplotlib"] = ...
) -> "Figure": ...
@overload
def plot_effects(
    results: "pd.DataFrame", ax: None = None, best: bool = False, *, backend: Literal["plotly"]
) -> "PlotlyFigure": ...
def plot_effects(
    results: "pd.DataFrame", ax: "Axes | None" = None, best: bool = False, backend: str = "matplotlib"
) -> Any:
    """Draw the effect of each choice with its interval, wherever the runs measure it.

    >>> figure = roadmap.plot_effects(roadmap.load_results("results/cifar10-stride4"))

    Raises:
        roadmap.errors.RunError: no two networks differ in one choice.
        roadmap.errors.ConfigError: as plot_roadmap.
    """
    return _plot("plot_effects", backend, ax)(results, best=best)


@overload
def plot_curves(
    epochs: "pd.DataFrame",
    metric: str = "top1",
    ax: "Axes | None" = None,
    backend: Literal["matplotlib"] = ...,
) -> "Figure": ...
@overload
def plot_curves(
    epochs: "pd.DataFrame", metric: str = "top1", ax: None = None, *, backend: Literal["plotly"]
) -> "PlotlyFigure": ...
def plot_curves(
    epochs: "pd.DataFrame", metric: str = "top1", ax: "Axes | None" = None, backend: str = "matplotlib"
) -> Any:
    """Draw training curves: a line per network, the mean over its seeds, in a band from lowest to highest.

    Args:
        epochs: rows of `load_epochs`.
        metric: top1, loss, train_loss, ema_top1 or lr.

    >>> epochs = roadmap.load_epochs("results/cifar10-stride4")
    >>> figure = roadmap.plot_curves(epochs[epochs.network.isin(["step0_resnet", "step12_downsample"])])

    Raises:
        roadmap.errors.RunError: the metric was not measured.
        roadmap.errors.ConfigError: as plot_roadmap.
    """
    return _plot("plot_curves", backend, ax)(epochs, metric)


def _plot(name: str, backend: str, ax: "Axes | None") -> Any:
    """Return the function of the backend's module, with the axes that it draws into."""
    from functools import partial

    from roadmap.errors import ConfigError

    if backend == "matplotlib":
        from roadmap.analysis.figures import dataframe_plots

        return partial(getattr(dataframe_plots, name), ax=ax)
    if backend != "plotly":
        raise ConfigError(f"backend={backend}: must be matplotlib or plotly")
    if ax is not None:
        raise ConfigError("backend=plotly cannot draw into ax, which is matplotlib's: leave it out")
    from roadmap.analysis.report import plotly_figures

    return getattr(plotly_figures, name)
