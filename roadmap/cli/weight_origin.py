"""Checks that the weights of `init_from` were trained in the network that loads them, beyond names and shapes.

Activations, pools and strides have no weights, so the weights of one network may fit another that differs in them.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from omegaconf import OmegaConf
from timm.models import load_model_config_from_hf
from torch import nn

from roadmap.config import Config, Mode, read_config
from roadmap.config.schema import recorded_values
from roadmap.errors import DamagedError, WeightsError
from roadmap.model.build import build
from roadmap.model.weight_sources import (
    find_file,
    has_torchvision_weights,
    split_host,
    split_revision,
    split_source,
)
from roadmap.model.weights import copy_weights
from roadmap.runs.config_hash import fill_neutral_values, flatten
from roadmap.runs.read_files import read_yaml
from roadmap.runs.read_run import CONFIG, STATE

# Design choices that do not change what a network computes from given weights, or that names and shapes show.
LEFT_OUT = ("num_classes", "drop_path", "init", "form", "layer_scale_init")
OURS = {"stage_ratio", "activation_count", "norm_count"}  # axes in the config.yaml of every run
MAX_DIFFERENCE = 0.01  # of logits, per the largest one: rounding gives 1e-4 and less, anti-aliasing 1
MIN_SIZE = 64  # pixels, at which strides and pools differ visibly
STEM_STRIDE = 4  # of the networks that others publish
NO_OPERATION = ("Identity", "Dropout", "DropPath", "Flatten", "Sequential", "ToChannels", "AdaptiveAvgPool")


@dataclass(frozen=True)
class TimmModel:
    """A model of timm, with the arguments that a repository of the Hub records for it."""

    name: str
    arguments: Mapping[str, Any]
    pretrained: Mapping[str, Any] = field(default_factory=dict, compare=False)  # timm's pretrained_cfg


def check_origin(network: nn.Module, config: Config, warn: Callable[[str], None]) -> None:
    """Check that the weights that `network` has loaded from `init_from` are of a network that computes the same.

    `warn` is told if they are timm's, of images that were normalized otherwise.

    Runs and published folders are compared by the config.yaml beside the weights; models of timm and torchvision by
    their logits. A file without a config.yaml beside it says nothing of its network, and is not checked.

    Raises:
        WeightsError: the network differs; names the values or the modules, and the way out.
    """
    assert config.init_from is not None
    recorded = read_recorded(config.init_from)
    if recorded is None:
        model = find_timm_model(config.init_from)
    else:
        model = TimmModel(str(recorded["reference"]), {}) if recorded.get("reference") else None
    if model is not None:
        if model != TimmModel(config.reference or "", {}) and timm.is_model(model.name):
            _compare_logits(network, _build_timm(model, config), f"timm's {model.name}", config)
    elif recorded is not None and config.reference is None:
        _compare_choices(recorded, config)
    elif recorded is not None:
        theirs = read_config(OmegaConf.create(recorded))
        choices = replace(theirs.model, num_classes=config.model.num_classes)
        other = build(choices, theirs.regime, None, theirs.data.image_size)
        _compare_logits(network, other, f"the network of its {CONFIG}", config)
    if note := describe_other_images(config):
        warn(note)


def read_recorded(source: str) -> dict[str, Any] | None:
    """Return our configuration beside the weights of a file, folder or repository; None if there is none.

    Raises:
        DamagedError: a run's configuration can't be read.
    """
    host, name = split_host(source)
    path = find_file(split_source(source)[0])
    beside = path.parent / CONFIG if path is not None else _download_config(name) if host == "hub" else None
    if beside is None or not beside.is_file():
        return None
    try:
        values = read_yaml(beside)
    except DamagedError:
        if (beside.parent / STATE).exists():
            raise
        return None  # a file of another program, in YAML that ours never has
    model = values.get("model")
    return fill_neutral_values(values) if isinstance(model, dict) and model.keys() >= OURS else None


def _download_config(name: str) -> Path | None:
    repository, revision = split_revision(name)
    try:
        return Path(hf_hub_download(repository, CONFIG, revision=revision))
    except EntryNotFoundError:  # a repository of others
        return None


def find_timm_model(source: str) -> TimmModel | None:
    """Return the timm model that a name stands for, torchvision's ResNets included; None for files and others."""
    if find_file(split_source(source)[0]) is not None:
        return None
    host, name = split_host(source)
    if host != "hub":
        is_timm = host == "timm" or not has_torchvision_weights(name)
        pretrained = timm.get_pretrained_cfg(name) if is_timm and timm.is_model(name.partition(".")[0]) else None
        return TimmModel(name.partition(".")[0], {}, pretrained.to_dict() if pretrained else {})
    try:
        pretrained, model, arguments = load_model_config_from_hf(name)
    except (EntryNotFoundError, KeyError):  # not of timm
        return None
    return TimmModel(model, arguments or {}, pretrained)


def describe_other_images(config: Config) -> str | None:
    """Return a warning if the weights of a timm model were trained on images that were normalized otherwise.

    In an evaluation, crop and interpolation count too. None if all are equal, or `init_from` is not timm's.
    """
    assert config.init_from is not None
    model = find_timm_model(config.init_from)
    if model is None:
        return None
    keys = ("mean", "std") if config.mode is Mode.train else ("mean", "std", "crop_pct", "interpolation")
    theirs = {key: model.pretrained[key] for key in keys if model.pretrained.get(key) is not None}
    words = [
        f"data.{key}={_write(value)}"
        for key, value in theirs.items()
        if not _same(getattr(config.data, key), value)
    ]
    if not words:
        return None
    verb = "are evaluated by timm" if config.mode is Mode.eval else "were trained"
    return f"the weights of {config.init_from} {verb} with other images than this data set gives: {' '.join(words)}"


def _same(ours: Any, theirs: Any) -> bool:
    return tuple(ours) == tuple(theirs) if isinstance(theirs, tuple | list) else bool(ours == theirs)


def _write(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, tuple | list) else str(value)


def _build_timm(model: TimmModel, config: Config) -> nn.Module:
    """Build a timm model for the images and classes of a configuration, without changing torch's generator."""
    with torch.random.fork_rng(devices=()):
        if model.arguments:
            options = {**model.arguments, "num_classes": config.model.num_classes}
            return timm.create_model(model.name, **options)
        return build(replace(config.model, drop_path=0.0), config.regime, model.name, config.data.image_size)


def _compare_choices(recorded: Mapping[str, Any], config: Config) -> None:
    """Compare the design choices of the run that trained the weights with those of a configuration."""
    there, here = _choices(recorded), _choices(fill_neutral_values(recorded_values(config)))
    keys = [key for key in sorted(there.keys() | here.keys()) if there.get(key) != here.get(key)]
    if not keys:
        return
    texts = [
        f"model.{key} is {there.get(key, '(absent)')} there and {here.get(key, '(absent)')} here" for key in keys
    ]
    words = [_override(key, there[key]) for key in keys if key in there]
    if missing := sorted(set(recorded.get("modules") or ()) - set(config.modules)):
        words.append(f"modules=[{','.join(missing)}]")
    raise WeightsError(
        f"{config.init_from} holds the weights of another network. All names and shapes fit, but by the {CONFIG} "
        f"beside them {'; '.join(texts)}: {' '.join(words)} builds theirs. A copy of the weights "
        "file alone, in another folder, is loaded without this check"
    )


def _choices(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flatten(values["model"]).items() if key not in LEFT_OUT}


def _override(key: str, value: object) -> str:
    return f"data.{key}={value}" if key == "stem_stride" else f"model/{key}={value}"


def _compare_logits(network: nn.Module, other: nn.Module, name: str, config: Config) -> None:
    """Compare the logits of two networks with the weights of the first, for an image of noise."""
    size = config.data.image_size if config.reference else max(config.data.image_size, MIN_SIZE)
    with torch.random.fork_rng(devices=()):
        ours = _at_published_stride(network, config, size)
        copy_weights(network, other)
        image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        was_training = ours.training
        with torch.inference_mode():
            logits, expected = ours.eval()(image), other.eval()(image)
        ours.train(was_training)
    difference = float((logits - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
    if difference <= MAX_DIFFERENCE:
        return
    counts = _count_operations(other), _count_operations(ours)
    parts = [_describe(counts[i] - counts[1 - i]) for i in (0, 1)]
    raise WeightsError(
        f"{config.init_from} holds the weights of another network. All names and shapes fit, but {name} with these "
        f"weights gives other logits, by {100 * difference:.0f}%: it has {parts[0]}, and this network {parts[1]} "
        "instead. Choose the step and axes of the weights, or weights of this network"
    )


def _at_published_stride(network: nn.Module, config: Config, size: int) -> nn.Module:
    """Return a copy with the stem stride of published networks: a training on smaller images may have another."""
    if config.mode is Mode.eval or config.reference is not None or config.model.stem_stride == STEM_STRIDE:
        return network
    copy = build(replace(config.model, stem_stride=STEM_STRIDE), config.regime, None, size)
    try:
        copy_weights(network, copy)
    except WeightsError:  # a patch of the stem has the size of the stride
        return network
    return copy


def _count_operations(network: nn.Module) -> Counter[str]:
    """Count the modules without weights, by kind, that change what a network computes."""
    leaves = (
        type(m).__name__
        for m in network.modules()
        if not any(m.children()) and not any(True for _ in m.parameters())
    )
    return Counter(name for name in leaves if not name.startswith(NO_OPERATION))


def _describe(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(counts.items())) or "the same kinds of modules"
