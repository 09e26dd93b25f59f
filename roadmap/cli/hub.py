"""A run as a folder for the Hugging Face Hub: safetensors, config and a model card; written, sent, read back."""

import shlex
import tempfile
from pathlib import Path

import safetensors.torch
from huggingface_hub import HfApi, snapshot_download
from omegaconf import DictConfig, OmegaConf
from torch import nn

from roadmap.analysis.curves import runs_of
from roadmap.analysis.own_configs import find_search_path
from roadmap.analysis.publish import hide_folders, hide_words
from roadmap.analysis.read_runs import read_runs
from roadmap.analysis.results import aggregate
from roadmap.analysis.significance import compute_row_stats, interval_text
from roadmap.analysis.stats import COVERAGE
from roadmap.cli.step_description import describe
from roadmap.config import use
from roadmap.config.network import build_model
from roadmap.config.roadmap_files import load_roadmap
from roadmap.errors import RunError, WeightsError, first_line
from roadmap.model.weight_files import Kind, read_weights
from roadmap.model.weights import load_weights
from roadmap.runs.overrides import read_overrides
from roadmap.runs.read_files import read_yaml
from roadmap.runs.read_run import CHECKPOINT, CONFIG, Run, State, read_run

WEIGHTS, CARD, DIAGRAM = "model.safetensors", "README.md", "block.png"
DEFAULT_PLACES = {"output_dir": "outputs", "init_from": None}


def save_pretrained(run: str | Path, folder: str | Path, weights: str = "raw", name: str | None = None) -> None:
    """Write a finished run as a folder that the Hugging Face Hub shows: safetensors, config and a model card.

    Places on this machine (data, outputs) are left out.

    Args:
        run: its folder, such as `roadmap.train(...).path`.
        weights: "raw", or "ema" for the averaged ones.
        name: what the card tells readers to load; by default the folder.

    >>> where = {"experiment": "example", "output_dir": folder, "progress": False}
    >>> run = roadmap.train(roadmap="step12_downsample", recipe={"epochs": 1}, **where)
    >>> roadmap.save_pretrained(run.path, f"{folder}/published")
    >>> network = roadmap.from_pretrained(f"{folder}/published")

    Raises:
        roadmap.errors.RoadmapError: the run is not done, or has no such weights.
    """
    source, target = Path(run), Path(folder)
    record = read_run(source)
    if record is None or record.state is not State.done:
        raise RunError(f"{source}: {'no run' if record is None else f'the run is {record.state}, not done'}")
    states = read_weights(source / CHECKPOINT)
    if weights not in states:
        raise WeightsError(f"weights={weights}: {source} has {', '.join(states)}")
    target.mkdir(parents=True, exist_ok=True)
    state = {key: tensor.contiguous() for key, tensor in states[Kind(weights)].items()}
    safetensors.torch.save_file(state, target / WEIGHTS, metadata={"format": "pt"})
    values = read_yaml(source / CONFIG)
    cfg = OmegaConf.create(values | DEFAULT_PLACES)
    for key in ("data.root", "data.cache", "logger.entity"):
        OmegaConf.update(cfg, key, None)
    OmegaConf.save(cfg, target / CONFIG)
    with use(find_search_path([record])):
        card = _write_card(record, Kind(weights), values.get("init_from"), cfg, target, name or target.name)
    (target / CARD).write_text(card, encoding="utf-8")


def push_to_hub(run: str | Path, repo_id: str, private: bool = False, weights: str = "raw") -> str:
    """Send what `save_pretrained` writes to a repository of the Hugging Face Hub; return its address.

    Uses the credentials of `hf auth login` or HF_TOKEN.

    >>> roadmap.push_to_hub("outputs/cifar10/step12_downsample/seed0", "me/step12-cifar10")  # doctest: +SKIP

    Raises:
        roadmap.errors.RoadmapError: as save_pretrained.
        huggingface_hub.errors.HfHubHTTPError: the Hub refused it.
    """
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(run, folder, weights, repo_id)
        api = HfApi()
        url = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=f"Upload {Path(run).parent.name}")
    return str(url)


def from_pretrained(name: str | Path) -> nn.Module:
    """Return the network of a folder of `save_pretrained`, or of a repository of the Hub, in evaluation mode.

    >>> network = roadmap.from_pretrained("me/step12-cifar10")  # doctest: +SKIP

    Raises:
        roadmap.errors.WeightsError: no such folder or repository, or it is of something else.
    """
    folder = Path(name)
    if not folder.is_dir():
        try:
            folder = Path(snapshot_download(str(name), allow_patterns=[WEIGHTS, CONFIG]))
        except Exception as error:  # the hub's and its transport's have no common base
            raise WeightsError(f"{name} is no folder, and not read from the Hub: {first_line(error)}") from error
    if not (folder / CONFIG).is_file():
        raise WeightsError(f"{folder} has no {CONFIG}: roadmap.save_pretrained writes such a folder")
    cfg = OmegaConf.create(read_yaml(folder / CONFIG))
    assert isinstance(cfg, DictConfig)
    network = build_model(cfg)
    load_weights(network, str(folder / WEIGHTS))
    return network.eval()


def _write_card(run: Run, kind: Kind, init_from: str | None, cfg: DictConfig, folder: Path, name: str) -> str:
    """Return the model card, and draw the block beside it if the network is a step.

    Args:
        kind: of the published weights.
        init_from: the weights that the training started from.
    """
    images = f"{cfg.data.holdout:,} held-out training images" if cfg.data.holdout else "the validation images"
    which = ", of the averaged weights" if kind is Kind.averaged else ""
    top1 = run.ema_top1 if kind is Kind.averaged else run.top1
    facts = {
        "network": run.name,
        "size": run.regime,
        "data": f"{run.data}, {cfg.data.image_size} pixels",
        "recipe": f"{run.recipe}, {run.epochs} epochs",
        **({} if init_from is None else {"started from": f"`{hide_folders(init_from)}`"}),
        "top-1 of this run": f"{top1:.2f}% on {images}, last epoch{which}",
        "top-1 over seeds": f"{_describe_seeds(run, kind)}{which}",
        "parameters": f"{run.parameters:,.0f}",
        "GMACs": f"{run.gmacs:.3f}",
        "code": run.commit or "unknown",
    }
    table = "\n".join(f"| {fact} | {text} |" for fact, text in facts.items())
    words = [word for word in hide_words(read_overrides(run.path) or ()) if not word.startswith("hydra")]
    title = load_roadmap(cfg.step.roadmap).title
    about, picture = f'a network beside the roadmap "{title}"', ""
    if run.reference is None:
        step = f"{run.step},{','.join(f'{key}={value}' for key, value in run.variant.items())}".rstrip(",")
        describe(load_roadmap(cfg.step.roadmap).override(step), regime=run.regime).save(folder / DIAGRAM)
        about, picture = f'a step of the roadmap "{title}"', f"![The block of {run.step}]({DIAGRAM})\n\n"
    return (
        "---\nlibrary_name: convnet-roadmap\npipeline_tag: image-classification\ntags: [pytorch]\n---\n"
        f"# {run.name}\n\n{run.label}: {about}.\n\n"
        f"| | |\n|---|---|\n{table}\n\n{picture}"
        f'```python\nimport roadmap\n\nnetwork = roadmap.from_pretrained("{name}")\n```\n\n'
        f"Trained by `{shlex.join(['python', 'train.py', *words])}`, without the places of its data and outputs.\n"
    )


def _describe_seeds(run: Run, kind: Kind) -> str:
    """Return mean, interval and number of the finished runs of the same network and setting."""
    row_stats = compute_row_stats(aggregate(read_runs(run.path.parents[1])))
    (found,) = (one for one in row_stats if runs_of(one.row, [run]))
    assert found.estimate is not None  # this run is done
    if kind is Kind.averaged:
        return f"{found.row.ema_top1:.2f}%, n = {found.estimate.n}"
    interval = interval_text(found.estimate.interval)
    text = f"{found.estimate.mean:.2f}%, n = {found.estimate.n}"
    return text + (f", {COVERAGE} interval {interval}" if interval else "")
