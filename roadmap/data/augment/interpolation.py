"""Interpolation weights of the pixels around a position, as in Pillow's filters.

Avoids torch.where and comparisons, which cost several times an addition on a CPU.
"""

from typing import TypeVar

import numpy as np
from torch import Tensor

from roadmap.data.spec import Interpolation

Numbers = TypeVar("Numbers", Tensor, np.ndarray)

# Keys' cubic kernel has one parameter; torch's interpolate uses -0.75.
RESIZING = -0.5  # Pillow's resize
TRANSFORMING = -1.0  # Pillow's transform and rotate


def weigh_taps(fraction: Numbers, interpolation: Interpolation, a: float) -> list[Numbers]:
    """Return the weights of the pixels around a position at `fraction` of the way from one pixel to the next.

    Two weights for bilinear, four for bicubic, whose kernel has the parameter `a`.
    """
    rest = 1 - fraction
    if interpolation is Interpolation.bilinear:
        return [rest, fraction]
    product = a * fraction * rest
    before, after = product * rest, product * fraction
    near = fraction * fraction * ((a + 2) * fraction - (a + 3)) + 1
    return [before, near, 1 - before - near - after, after]
