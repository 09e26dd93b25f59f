"""RandAugment on whole batches, with operations and magnitudes drawn for each image.

Images are sorted by kernel, so that each kernel works on a contiguous part of the batch. The operations are drawn
on the host, so the sizes of the groups are known without waiting for the device.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from roadmap.data.augment import color as color_ops
from roadmap.data.augment import geometric as geometric_ops
from roadmap.data.augment.crop_erase import to_device
from roadmap.data.augment.rand_policy import NOT_APPLIED, OPS, Draws, RandPolicy
from roadmap.data.spec import DataSpec

Kernel = Callable[[Tensor, Tensor], Tensor]  # takes images, and two numbers for each (G, 2)

COLOR_KERNELS = {
    "AutoContrast": color_ops.auto_contrast,
    "Equalize": color_ops.equalize,
    "Solarize": color_ops.solarize,
    "Posterize": color_ops.posterize,
    "SolarizeAdd": color_ops.solarize_add,
    "Color": color_ops.color,
    "Contrast": color_ops.contrast,
    "Brightness": color_ops.brightness,
    "Sharpness": color_ops.sharpness,
}
KERNELS = (*COLOR_KERNELS, "Rotate", "ShiftRows", "ShiftColumns")
SHARED = {  # by operation: the other operation's kernel that it uses, and the column of the values that it sets
    "Invert": ("Solarize", 0),  # at threshold 0
    "ShearX": ("ShiftRows", 0),
    "ShearY": ("ShiftColumns", 0),
    "TranslateXRel": ("ShiftRows", 1),
    "TranslateYRel": ("ShiftColumns", 1),
}
# int8, which numpy sorts fastest
KERNEL_OF = np.array([KERNELS.index(SHARED.get(name, (name, 0))[0]) for name in OPS], dtype=np.int8)
COLUMN_OF = np.array([SHARED.get(name, (name, 0))[1] for name in OPS])


@dataclass(frozen=True)
class Layer:
    """The n-th operation of those images that have one."""

    images: np.ndarray  # indices (K,), in the plan's order, sorted by kernel
    values: np.ndarray  # float32 (K, 2), the kernels' numbers
    groups: dict[str, slice]  # each kernel's part of `images`


class Plan:
    """Order of the images, and the operations of each layer.

    order: indices of the images (N,), sorted so that the first layer's images come first.
    """

    def __init__(self, draws: Draws, size: int):
        draws = _applied_first(draws)
        kernels = np.where(draws.ops == NOT_APPLIED, np.int8(len(KERNELS)), KERNEL_OF[draws.ops])
        self.order = np.argsort(kernels[0], kind="stable") if len(kernels) else np.arange(draws.ops.shape[1])
        sorted_draws = zip(draws.ops[:, self.order], draws.arguments[:, self.order], strict=True)
        self.layers = [_plan_layer(ops, arguments, size) for ops, arguments in sorted_draws]


def _plan_layer(ops: np.ndarray, arguments: np.ndarray, size: int) -> Layer:
    """Plan a layer from one operation for each image and its argument, (N,) each."""
    images = np.flatnonzero(ops != NOT_APPLIED)
    images = images[np.argsort(KERNEL_OF[ops[images]], kind="stable")]
    values = np.zeros((len(images), 2), dtype=np.float32)
    values[np.arange(len(images)), COLUMN_OF[ops[images]]] = arguments[images]
    values[:, 1] *= size  # translations are relative
    bounds = np.searchsorted(KERNEL_OF[ops[images]], np.arange(len(KERNELS) + 1))
    groups = zip(KERNELS, bounds[:-1], bounds[1:], strict=True)
    return Layer(images, values, {name: slice(start, stop) for name, start, stop in groups if start < stop})


def _applied_first(draws: Draws) -> Draws:
    """Move operations that are not applied to the last layers, in stable order: later layers get few images."""
    ops, arguments = draws.ops.copy(), draws.arguments.copy()
    for last in range(len(ops) - 1, 0, -1):
        for layer in range(last):
            late = np.flatnonzero((ops[layer] == NOT_APPLIED) & (ops[layer + 1] != NOT_APPLIED))
            for values in (ops, arguments):
                values[[layer, layer + 1], late[:, None]] = values[[layer + 1, layer], late[:, None]]
    return Draws(ops, arguments)


class RandAugment:
    """The policy on images float32 (N, 3, S, S) of whole levels 0 to 255; new pixels get the data's mean color."""

    def __init__(self, policy: RandPolicy, data: DataSpec, device: torch.device):
        self.policy = policy
        fill = torch.tensor([float(min(255, round(255 * mean))) for mean in data.mean], device=device)
        rotate = partial(geometric_ops.rotate, fill=fill, interpolation=data.interpolation)
        self.shift = partial(geometric_ops.shift, fill=fill, interpolation=data.interpolation)
        self.kernels: dict[str, Kernel] = {"Rotate": lambda images, values: rotate(images, values[:, 0])}
        for name, recolor in COLOR_KERNELS.items():
            self.kernels[name] = partial(_recolor, recolor)

    def apply(self, images: Tensor, plan: Plan) -> None:
        """Change images in the plan's order, layer by layer."""
        for number, layer in enumerate(plan.layers):
            values = to_device(layer.values, images.device)
            if number == 0:  # these are the first images, in order
                self._apply(images, layer.groups, values)
                continue
            indices = to_device(layer.images, images.device)
            chosen = images.index_select(0, indices)
            self._apply(chosen, layer.groups, values)
            images.index_copy_(0, indices, chosen)

    def _apply(self, images: Tensor, groups: dict[str, slice], values: Tensor) -> None:
        for name, group in groups.items():
            if name in self.kernels:
                images[group] = self.kernels[name](images[group], values[group])
        rows, columns = (groups.get(name, slice(0, 0)) for name in ("ShiftRows", "ShiftColumns"))
        if rows.stop or columns.stop:
            both = torch.cat([values[rows], values[columns]])
            images[rows], images[columns] = self.shift(images[rows], images[columns], both)


def _recolor(operation: Kernel, images: Tensor, values: Tensor) -> Tensor:
    return operation(images, values[:, 0].view(-1, 1, 1, 1))
