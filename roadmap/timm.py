"""The roadmap's networks in timm's registry, from the import of this module on.

>>> import timm, roadmap.timm
>>> model = timm.create_model("roadmap_step5_inverted", num_classes=10)
>>> backbone = timm.create_model("roadmap_step12_downsample", features_only=True, out_indices=(1, 2, 3))
>>> timm.list_models("roadmap_*")

A step has the size of the paper's figure 2 (regime `resnet50`); `roadmap_STEP_REGIME` has another one, such as
`roadmap_step5_inverted_micro`. Choices of an axis are keyword arguments: `create_model(..., kernel_size=9)`.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint_sequential

from roadmap.config import compose, read_config
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.search_path import list_choices, parse_word
from roadmap.errors import ConfigError
from roadmap.model.layer_plan import plan_network
from roadmap.model.network import Network, Stage
from roadmap.model.planned_layers import Conv, NetworkPlan, output_channels

__all__ = ["TimmNetwork", "register"]

MAIN_REGIME = "resnet50"
DEFAULTS = {"regime": MAIN_REGIME, "data": "imagenet", "recipe": "paper"}  # setting=paper
REPLACED = {  # keys that have no effect beside an option of timm
    "data.num_classes": "num_classes",
    "model.num_classes": "num_classes",
    "recipe.drop_path": "drop_path_rate",
    "model.drop_path": "drop_path_rate",
}
IMAGE_SIZE = 224  # pixels, of the published accuracies
default_cfgs: dict[str, Any] = {}  # read by timm's register_model


class TimmNetwork(Network):
    """A step with the interface of timm's models. Its state dict has the keys of a run's checkpoint.

    Args:
        overrides: of the step and the regime, as on the command line.
        num_classes: 0 for pooled features instead of logits.
        in_chans: channels of the images.
        global_pool: "avg", or "" for feature maps instead of pooled features.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block; rises linearly from 0 at the first.
        stem_stride: total stride of the stem: 4, or 2 or 1 for small images; None: as in the overrides.
        choices: axes of the roadmap, as `kernel_size=9`, in place of those in the overrides.

    Raises:
        ConfigError: an override sets what an option of timm does.
    """

    def __init__(
        self,
        *,
        overrides: Sequence[str],
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        stem_stride: int | None = None,
        **choices: object,
    ):
        axes = load_roadmap().all_axes
        unknown = sorted(choices.keys() - set(axes))
        if unknown:
            raise TypeError(f"{', '.join(unknown)}: no axis of the roadmap; there are {', '.join(axes)}")
        _check_overrides(overrides)
        words = [f"model/{axis}={choice}" for axis, choice in choices.items()]
        replaced = {f"model{sign}{axis}" for axis in choices for sign in "/."}
        kept = [word for word in overrides if parse_word(word).key_or_group not in replaced]
        config = read_config(compose(*_list_defaults(overrides), *kept, *words))
        spec = replace(config.model, num_classes=max(num_classes, 1), drop_path=drop_path_rate)
        if stem_stride is not None:
            spec = replace(spec, stem_stride=stem_stride)
        super().__init__(_with_channels(plan_network(spec, config.regime), in_chans), spec.form, spec.init)
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        self.num_features = self.head_hidden_size = self.plan.features
        self.feature_info = [
            {
                "num_chs": output_channels(stage.blocks[-1].branch),
                "reduction": spec.stem_stride * 2**index,
                "module": f"stages.{index}",
            }
            for index, stage in enumerate(self.plan.stages)
        ]
        self.num_classes, self.global_pool = num_classes, global_pool
        if num_classes == 0 or not global_pool:
            self.reset_classifier(num_classes, global_pool)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, num_classes), or to features if there is no classifier."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to the last stage's maps (N, num_features, H / 32, W / 32)."""
        x = self.stem(x)
        for stage in self.stages:
            x = self._run_stage(stage, x)
        return x

    def _run_stage(self, stage: nn.Module, x: Tensor) -> Tensor:
        assert isinstance(stage, Stage)
        if self.grad_checkpointing and self.training:
            return checkpoint_sequential(stage.blocks, len(stage.blocks), stage.downsample(x), use_reentrant=False)
        return stage(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Map the last stage's maps to logits, or with `pre_logits` to the classifier's input."""
        if not self.global_pool:
            return self.head.norm(x)
        x = self.head.norm(x.mean((2, 3), keepdim=True)).flatten(1)
        x = F.dropout(x, self.drop_rate, self.training)
        return x if pre_logits else self.head.linear(x)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Return the maps after the stages `indices`, alone or behind those of the last stage.

        Args:
            indices: stages, the last n if it is a number, or all.
            norm: unused, as the maps of the stages have no norm of their own.
            stop_early: do not compute stages beyond the last index.
            output_fmt: NCHW.
            intermediates_only: return the list alone.
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt={output_fmt!r}: must be NCHW")
        taken, last = feature_take_indices(len(self.stages), indices)
        intermediates = []
        x = self.stem(x)
        for index, stage in enumerate(self.stages):
            if stop_early and index > last:
                break
            x = self._run_stage(stage, x)
            if index in taken:
                intermediates.append(x)
        return intermediates if intermediates_only else (x, intermediates)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove stages beyond `indices`, and by default the head; return the indices as positive numbers."""
        taken, last = feature_take_indices(len(self.stages), indices)
        is_shorter = last < len(self.stages) - 1
        self.stages = self.stages[: last + 1]
        if prune_norm or is_shorter:
            self.head.norm = nn.Identity()
        if is_shorter:
            self.num_features = self.head_hidden_size = self.feature_info[last]["num_chs"]
        if prune_head or is_shorter:
            self.reset_classifier(0, "")
        return taken

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a new one; 0 classes for features, `global_pool=""` for maps.

        Raises:
            ValueError: another pooling, or classes without pooling.
        """
        pool = self.global_pool if global_pool is None else global_pool
        if pool not in ("", "avg") or (num_classes and not pool):
            raise ValueError(f"num_classes={num_classes}, global_pool={pool!r}: must be avg, or '' without classes")
        self.num_classes, self.global_pool = num_classes, pool
        self.head.add_module("linear", self._build_classifier() if num_classes else nn.Identity())

    def _build_classifier(self) -> nn.Linear:
        old = next(self.parameters())
        classifier = nn.Linear(self.num_features, self.num_classes, device=old.device, dtype=old.dtype)
        nn.init.trunc_normal_(classifier.weight, std=0.02)
        nn.init.zeros_(classifier.bias)
        return classifier

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block's activations in the backward pass, which saves memory and costs time."""
        self.grad_checkpointing = enable


def register(name: str, *overrides: str) -> None:
    """Register a network as timm's model `name`.

    Args:
        overrides: as on the command line: "+roadmap=step7_kernel", "model/kernel_size=9"; before them stands
            setting=paper, so without a regime the network has the size of ResNet-50.

    Raises:
        ConfigError: an override sets what an option of timm does.
    """
    _check_overrides(overrides)
    default_cfgs.update(generate_default_cfgs({name: _pretrained_cfg()}))
    entrypoint = partial(_create, name, overrides)
    entrypoint.__name__, entrypoint.__module__ = name, __name__  # type: ignore[attr-defined]
    entrypoint.__doc__ = f"Build the network of {' '.join(overrides)}."
    setattr(sys.modules[__name__], name, register_model(entrypoint))


def _check_overrides(overrides: Sequence[str]) -> None:
    """Raise ConfigError for an override that `create_model` would replace; names its option."""
    for word in overrides:
        key = parse_word(word).key_or_group
        if key == "reference":
            raise ConfigError(f"{word}: a network of timm, which timm.create_model builds by its own name")
        if key in REPLACED:
            raise ConfigError(f"{word}: leave it out, and give timm.create_model(..., {REPLACED[key]}=...)")


def _list_defaults(overrides: Sequence[str]) -> list[str]:
    """Return the groups of setting=paper that the overrides do not choose."""
    chosen = {parse_word(word).key_or_group for word in overrides}
    return (
        []
        if "setting" in chosen
        else [f"{group}={name}" for group, name in DEFAULTS.items() if group not in chosen]
    )


def _create(name: str, overrides: Sequence[str], pretrained: bool = False, **options: Any) -> nn.Module:
    feature_cfg = {"out_indices": (0, 1, 2, 3), "flatten_sequential": True}
    build: Callable[..., nn.Module] = build_model_with_cfg
    return build(TimmNetwork, name, pretrained, feature_cfg=feature_cfg, overrides=overrides, **options)


def _pretrained_cfg() -> dict[str, Any]:
    return {
        "num_classes": 1000,
        "input_size": (3, IMAGE_SIZE, IMAGE_SIZE),
        "pool_size": (IMAGE_SIZE // 32, IMAGE_SIZE // 32),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "first_conv": "stem.conv",
        "classifier": "head.linear",
        "paper_ids": "arXiv:2201.03545",
    }


def _with_channels(plan: NetworkPlan, in_chans: int) -> NetworkPlan:
    first, *others = plan.stem
    if not isinstance(first, Conv):
        raise TypeError(f"{first}: a stem begins with a convolution")
    return replace(plan, stem=(replace(first, in_channels=in_chans), *others))


for _regime in list_choices("regime"):
    for _step in load_roadmap().steps:
        _name = f"roadmap_{_step}" if _regime == MAIN_REGIME else f"roadmap_{_step}_{_regime}"
        register(_name, f"+roadmap={_step}", f"regime={_regime}")
