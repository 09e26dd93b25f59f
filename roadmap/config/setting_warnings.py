"""Warnings about settings that have no effect, or harm, each with its key and a fix.

Errors stop a run (the specs raise them); these settings may be intended. There is no warning about

- gradient clipping under accumulation: the norm is that of the whole update (training/step.py), in any
  precision, while the released code clips only under AMP;
- color jitter, which RandAugment disables in timm: it has no key;
- label smoothing beside Mixup or CutMix: it is applied to the mixed targets, as in the paper.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from roadmap.config.compose import compose, compose_with_hydra
from roadmap.config.file_cache import file_cached
from roadmap.config.roadmap_files import load_roadmap
from roadmap.config.roadmaps import value_text
from roadmap.config.schema import Config, Mode
from roadmap.config.search_path import SearchPath, current, find_config, quote, use
from roadmap.data.spec import Crop, OnError, Source
from roadmap.model.spec import NormKind
from roadmap.training.spec import Optimizer, Schedule

SMALL_NORM_BATCH = 16  # images; below it BatchNorm's error rises (figure 1 of arXiv 1803.08494)
TINY_SCALE = 1e-4  # of LayerScale: it must grow by a factor of 1,000 before a block has an effect
LONG_RUN = 1_000  # updates, after which LayerScale 1e-6 and none agree: step 12 of the micro network on digits


def list_warnings(config: Config) -> list[str]:
    """Return warnings that need no data, for a training run; empty for every shipped configuration."""
    if config.mode is not Mode.train:
        return []
    advice = _advise_on_rates, _advise_on_norms, _advise_on_unused, _advise_on_reference
    return [text for advise in advice for text in advise(config)]


def list_length_warnings(config: Config, updates: int) -> list[str]:
    """Return warnings that depend on a whole run's number of `updates`, which is known only with its data."""
    recipe, scale = config.recipe, config.model.layer_scale_init
    warnings = []
    if recipe.ema_decay is not None:
        horizon = round(1 / (1 - recipe.ema_decay)) if recipe.ema_decay < 1 else float("inf")
        if horizon > updates:
            fitting = 1 - min(float(f"{10 / updates:.0e}"), 1.0)
            warnings.append(
                f"recipe.ema_decay={recipe.ema_decay:g} averages over {horizon:,.0f} updates and the run has "
                f"{updates:,}, so the average stays near the start: recipe.ema_decay={fitting:g} averages over "
                "a tenth of the run, null is off"
            )
    starts_anew = config.reference is None and config.init_from is None
    if starts_anew and scale is not None and scale < TINY_SCALE and updates < LONG_RUN:
        warnings.append(
            f"recipe.layer_scale_init={scale:g} with {updates:,} updates: the blocks start switched off, and a "
            f"run below {LONG_RUN:,} updates is too short to grow them: recipe.layer_scale_init=null, or more "
            "recipe.epochs"
        )
    return warnings


def _advise_on_rates(config: Config) -> Iterator[str]:
    recipe = config.recipe
    filed = _read_recipe_file(current(), recipe.name)
    if filed is not None and recipe.lr == filed.lr and recipe.total_batch != filed.total_batch:
        scaled = recipe.lr * recipe.total_batch / filed.total_batch
        yield (
            f"recipe.lr={recipe.lr:g} is the {recipe.name} recipe's for recipe.total_batch={filed.total_batch} and "
            f"is not scaled for {recipe.total_batch}: in proportion it is recipe.lr={scaled:.2g}"
        )
    if recipe.warmup_epochs > recipe.epochs / 2:
        yield (
            f"recipe.warmup_epochs={recipe.warmup_epochs:g} is more than half of recipe.epochs={recipe.epochs}, "
            f"so little is left at the full rate: recipe.warmup_epochs={recipe.epochs / 15:.1g} is the paper's part"
        )
    if recipe.schedule is Schedule.cosine and recipe.min_lr > recipe.lr:
        yield (
            f"recipe.min_lr={recipe.min_lr:g} is above recipe.lr={recipe.lr:g}, so the rate rises to the end: "
            "lower the one or raise the other"
        )


def _advise_on_norms(config: Config) -> Iterator[str]:
    """Warn about a moving average and small batches with BatchNorm. A reference's norm is unknown here."""
    if config.reference is not None or config.model.norm is not NormKind.batchnorm:
        return
    if config.recipe.ema_decay is not None:
        yield (
            f"recipe.ema_decay={config.recipe.ema_decay:g} with model/norm=batchnorm: the paper found that an "
            "average severely hurts networks with BatchNorm (app. A.1): recipe.ema_decay=null, or "
            "model/norm=layernorm"
        )
    total, most = config.recipe.total_batch, config.hardware.per_device_batch
    if min(total, most) < SMALL_NORM_BATCH:
        key, value = ("hardware.per_device_batch", most) if most < total else ("recipe.total_batch", total)
        yield (
            f"{key}={value} with model/norm=batchnorm: BatchNorm takes its statistics from {value} images at a "
            f"time, and below {SMALL_NORM_BATCH} they are too noisy: raise it, or model/norm=layernorm"
        )


def _advise_on_unused(config: Config) -> Iterator[str]:
    recipe = config.recipe
    if recipe.schedule is Schedule.step and recipe.min_lr > 0:
        yield (
            f"recipe.min_lr={recipe.min_lr:g} has no effect with recipe.schedule=step, which only divides by 10: "
            "recipe.min_lr=0, or recipe.schedule=cosine"
        )
    if recipe.augment.crop is Crop.padded and recipe.augment.scale != (1.0, 1.0):
        yield (
            f"recipe.augment.scale={list(recipe.augment.scale)} has no effect with recipe.augment.crop=padded: "
            "recipe.augment.crop=resized, or recipe.augment.scale=[1,1]"
        )
    if config.data.source is Source.digits:
        given = {"root": config.data.root, "cache": config.data.cache, "on_error": config.data.on_error}
        for key, value in given.items():
            if value not in (None, OnError.stop):
                yield (
                    f"data.{key}={value} has no effect with data={config.data.name}, whose images are embedded: "
                    "data=imagefolder, cifar10, cifar100 or imagenet reads it"
                )
    filed = _read_recipe_file(current(), recipe.name)
    if filed is not None and recipe.optimizer is Optimizer.sgd and recipe.beta2 != filed.beta2:
        yield (
            f"recipe.beta2={recipe.beta2:g} has no effect with recipe.optimizer=sgd: leave it out, or "
            "recipe.optimizer=adamw"
        )
    if filed is not None and recipe.schedule is Schedule.cosine and recipe.decays != filed.decays:
        yield (
            f"recipe.decays={recipe.decays} has no effect with recipe.schedule=cosine: leave it out, or "
            "recipe.schedule=step recipe.min_lr=0"
        )
    if config.reference is None and recipe.drop_path != config.model.drop_path:
        yield (
            f"recipe.drop_path={recipe.drop_path:g} has no effect beside "
            f"model.drop_path={config.model.drop_path:g}: give recipe.drop_path alone, which sets both"
        )


def _advise_on_reference(config: Config) -> Iterator[str]:
    """Warn about values beside a reference that only the roadmap's networks have, if they are not the defaults."""
    if config.reference is None:
        return
    recipe, model, filed = config.recipe, config.model, _read_recipe_file(current(), config.recipe.name)
    plain = _read_defaults(current())
    given = {f"model.{axis}": (getattr(model, axis, value), value) for axis, value in plain.design.items()}
    if filed is not None:
        given["recipe.layer_scale_init"] = recipe.layer_scale_init, filed.layer_scale_init
        given["recipe.init"] = recipe.init, filed.init
    given["model.layer_scale_init"] = model.layer_scale_init, recipe.layer_scale_init
    given["model.init"] = model.init, recipe.init
    given["model.stem_stride"] = model.stem_stride, config.data.stem_stride
    given["data.stem_stride"] = config.data.stem_stride, _read_stem_stride(current(), config.data.name)
    for key, (value, other) in given.items():
        if other != MISSING and str(value) != str(other):
            yield f"{key}={value_text(value)} has no effect with +reference={config.reference}: leave it out"
    if config.regime.name not in (plain.regime, *load_roadmap().references.values()):
        yield (
            f"regime={config.regime.name} has no effect with +reference={config.reference}, but on "
            "recipe.drop_path and the experiment's name: leave it out"
        )


@dataclass(frozen=True)
class _Defaults:
    design: dict[str, Any]  # values of the network that neither recipe nor data set
    regime: str


@file_cached
def _read_defaults(search_path: SearchPath) -> _Defaults:
    cfg = compose_with_hydra(search_path, ())
    model = OmegaConf.to_container(cfg.model, resolve=False)
    assert isinstance(model, dict)
    design = {str(key): value for key, value in model.items() if "${" not in str(value)}
    return _Defaults(design, str(cfg.regime.name))


@file_cached
def _read_stem_stride(search_path: SearchPath, name: str) -> Any:
    """Return the stride in a data set's file; MISSING for a name without one, and for a stride that it computes."""
    with use(search_path):
        if find_config(f"data/{name}") is None:
            return MISSING
        values: Any = OmegaConf.to_container(compose(f"data={quote(name)}").data, resolve=False)
    return values["stem_stride"] if isinstance(values["stem_stride"], int) else MISSING


@file_cached
def _read_recipe_file(search_path: SearchPath, name: str) -> DictConfig | None:
    """Return the values in a recipe's file; None for a name without one."""
    with use(search_path):
        return None if find_config(f"recipe/{name}") is None else compose(f"recipe={quote(name)}").recipe
