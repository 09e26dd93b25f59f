"""RandAugment policy in timm's notation: operation and magnitude of each image.

The distribution is timm.data.auto_augment's, drawn for each image: `layers` operations with replacement, each
applied with `probability`, with a magnitude that is normal around `magnitude` and clipped to 0 and `maximum`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from roadmap.data.augment.rng import BatchRng

OPS = (
    "AutoContrast",
    "Equalize",
    "Invert",
    "Rotate",
    "Posterize",
    "Solarize",
    "SolarizeAdd",
    "Color",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateXRel",
    "TranslateYRel",
)  # in timm's order; if inc1 is set, timm appends "Increasing" to six of these names
DENOMINATOR = 10.0  # magnitude 10 is an operation's whole range
UNIFORM_ABOVE = 100  # for a larger standard deviation, magnitudes are uniform from 0 to `magnitude`
NOT_APPLIED = -1

Levels = np.ndarray  # magnitude / 10, float64 (K,)
Signs = np.ndarray  # -1 or 1, float64 (K,)


@dataclass(frozen=True)
class Draws:
    """For each layer and image, the operation (an index in OPS, or NOT_APPLIED) and its argument, (layers, N).

    The argument is that of timm's function: degrees, bits to keep, a threshold, a factor, or a shift as a fraction
    of the size; 0 if the operation has none.
    """

    ops: np.ndarray
    arguments: np.ndarray


@dataclass(frozen=True)
class RandPolicy:
    """The sections of a notation such as rand-m9-mstd0.5-inc1, with timm's values for missing ones."""

    magnitude: int = 10
    deviation: float = 0.0
    maximum: int = 10
    layers: int = 2
    probability: float = 0.5
    increasing: bool = False

    @classmethod
    def parse(cls, notation: str) -> Self | None:
        """Return the policy of a valid notation; None if it names a set of operations, which only timm has."""
        if "-t" in notation:
            return None
        sections = dict(re.findall(r"-([a-z]+)([\d.]+)", notation))
        return cls(
            magnitude=int(sections.get("m", cls.magnitude)),
            deviation=float(sections.get("mstd", cls.deviation)),
            maximum=int(sections.get("mmax", cls.maximum)),
            layers=int(sections.get("n", cls.layers)),
            probability=float(sections.get("p", cls.probability)),
            increasing=sections.get("inc", "0") != "0",
        )

    def draw(self, rng: BatchRng) -> Draws:
        """Draw operations and arguments for each image."""
        ops, chance, sign = (rng.uniform(self.layers).T for _ in range(3))
        ops = (ops * len(OPS)).astype(np.int64)
        levels = self._draw_magnitudes(rng) / DENOMINATOR
        signs = np.where(sign > 0.5, -1.0, 1.0)
        arguments = self._find_arguments(ops.ravel(), levels.ravel(), signs.ravel()).reshape(ops.shape)
        return Draws(np.where(chance <= self.probability, ops, NOT_APPLIED), arguments)

    def _find_arguments(self, ops: np.ndarray, levels: Levels, signs: Signs) -> np.ndarray:
        order = np.argsort(ops.astype(np.int8), kind="stable")  # numpy sorts such short integers fast
        bounds = np.searchsorted(ops[order], np.arange(1, len(OPS)))
        parts = zip(OPS, np.split(levels[order], bounds), np.split(signs[order], bounds), strict=True)
        arguments = np.empty(ops.shape)
        arguments[order] = np.concatenate([argument_of(*part, self.increasing) for part in parts])
        return arguments

    def _draw_magnitudes(self, rng: BatchRng) -> np.ndarray:
        """Draw magnitudes (layers, N)."""
        if self.deviation > UNIFORM_ABOVE:
            magnitudes = self.magnitude * rng.uniform(self.layers).T
        else:
            magnitudes = self.magnitude + self.deviation * rng.normal(self.layers).T
        return magnitudes.clip(0, self.maximum)


def argument_of(name: str, levels: Levels, signs: Signs, increasing: bool) -> np.ndarray:
    """Return arguments (K,) of an operation at levels (K,); `increasing` is inc1: a higher level changes more."""
    if name in ARGUMENTS:
        return ARGUMENTS[name](levels, signs)
    if name in ("AutoContrast", "Equalize", "Invert"):
        return np.zeros_like(levels)
    if name == "Posterize":
        bits = np.floor(levels * 4)
        return 4 - bits if increasing else bits
    if name == "Solarize":
        threshold = np.floor(levels * 256).clip(max=256)
        return 256 - threshold if increasing else threshold
    if increasing:  # Color, Contrast, Brightness, Sharpness
        return (1 + signs * (levels * 0.9)).clip(min=0.1)
    return levels * 1.8 + 0.1


ARGUMENTS: dict[str, Callable[[Levels, Signs], np.ndarray]] = {
    "Rotate": lambda levels, signs: signs * (levels * 30.0),
    "SolarizeAdd": lambda levels, signs: np.floor(levels * 110).clip(max=128),
    "ShearX": lambda levels, signs: signs * (levels * 0.3),
    "ShearY": lambda levels, signs: signs * (levels * 0.3),
    "TranslateXRel": lambda levels, signs: signs * (levels * 0.45),
    "TranslateYRel": lambda levels, signs: signs * (levels * 0.45),
}
