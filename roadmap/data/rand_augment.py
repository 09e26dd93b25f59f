"""RandAugment on whole batches, with operations and magnitudes drawn for each image.

Images are grouped by kernel: each layer sorts the batch by it, so that a kernel works on one stretch of
the batch. The sizes of the groups are known on the host, which drew them; nothing waits for the device.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from roadmap.data import color_ops, geometric_ops
from roadmap.data.augment import to_device
from roadmap.data.rand_policy import NOT_APPLIED, OPS, Draws, RandPolicy
from roadmap.data.spec import DataSpec

Kernel = Callable[[Tensor, Tensor], Tensor]  # of images, and of two numbers for each (G, 2)

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
SHARED = {  # operations that are another's kernel, and the column of its numbers that they set
    "Invert": ("Solarize", 0),  # at threshold 0
    "ShearX": ("ShiftRows", 0),
    "ShearY": ("ShiftColumns", 0),
    "TranslateXRel": ("ShiftRows", 1),
    "TranslateYRel": ("ShiftColumns", 1),
}
KERNEL_OF = np.array([KERNELS.index(SHARED.get(name, (name, 0))[0]) for name in OPS])
COLUMN_OF = np.array([SHARED.get(name, (name, 0))[1] for name in OPS])


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

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """The operations of `draws`, one layer after the other."""
        plan = _Plan(_applied_first(draws), images.shape[3])
        orders, parameters = (to_device(array, images.device) for array in (plan.orders, plan.parameters))
        for layer, groups in enumerate(plan.groups):
            images = images.index_select(0, orders[layer])
            values = parameters[layer]
            for name, group in groups.items():
                if name in self.kernels and group.start < group.stop:
                    images[group] = self.kernels[name](images[group], values[group])
            rows, columns = groups["ShiftRows"], groups["ShiftColumns"]
            if rows.start < columns.stop:
                shifted = self.shift(images[rows], images[columns], values[rows.start : columns.stop])
                images[rows], images[columns] = shifted
        return images.index_select(0, orders[-1])


class _Plan:
    """How a batch is sorted in each layer.

    orders: (layers + 1, N); each sorts the batch as the layer before left it, the last restores its order.
    parameters: float32 (layers, N, 2), the kernels' numbers, sorted as the layer is.
    groups: for each layer, the kernels and the stretches of images that they change.
    """

    def __init__(self, draws: Draws, size: int):
        layers, n = draws.ops.shape
        self.orders = np.empty((layers + 1, n), dtype=np.int64)
        self.parameters = np.zeros((layers, n, 2), dtype=np.float32)
        self.groups: list[dict[str, slice]] = []
        places = np.arange(n)
        for layer in range(layers):
            kernels = np.where(draws.ops[layer] == NOT_APPLIED, NOT_APPLIED, KERNEL_OF[draws.ops[layer]])
            order = np.argsort(kernels[places], kind="stable")
            places = places[order]
            self.orders[layer] = order
            columns = COLUMN_OF[draws.ops[layer, places]]
            self.parameters[layer, np.arange(n), columns] = draws.arguments[layer, places]
            bounds = np.searchsorted(kernels[places], np.arange(len(KERNELS) + 1))
            groups = zip(KERNELS, bounds[:-1], bounds[1:], strict=True)
            self.groups.append({name: slice(start, stop) for name, start, stop in groups})
        self.orders[layers] = np.argsort(places)
        self.parameters[..., 1] *= size  # translations are relative


def _applied_first(draws: Draws) -> Draws:
    """The same operations in the same order, those not applied last: later layers then have few images."""
    order = np.argsort(draws.ops == NOT_APPLIED, axis=0, kind="stable")
    return Draws(*(np.take_along_axis(values, order, axis=0) for values in (draws.ops, draws.arguments)))


def _recolor(operation: Kernel, images: Tensor, values: Tensor) -> Tensor:
    return operation(images, values[:, 0].view(-1, 1, 1, 1))
