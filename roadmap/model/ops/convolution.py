"""Base class of convolutions that replace torch's implementation where a measured one is faster."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class TunedConv2d(nn.Conv2d, ABC):
    """`nn.Conv2d` with the same parameters and its own implementations for CPU and NVIDIA GPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H', W')."""
        if torch.compiler.is_exporting():  # a program of torch's own operations, for any number of images
            return super().forward(x)
        if x.is_cuda:
            return self.convolve_on_gpu(x) if self.is_faster_on_gpu(x) else super().forward(x)
        # torch's CPU compiler keeps the standard convolution, which it knows.
        if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
            return super().forward(x)
        return self.convolve(x) if self.is_faster(x) else super().forward(x)

    @abstractmethod
    def is_faster(self, x: Tensor) -> bool:
        """Return True if `convolve` was measured to be faster than torch."""

    @abstractmethod
    def convolve(self, x: Tensor) -> Tensor:
        """Compute the result of `forward` on a CPU."""

    @abstractmethod
    def is_faster_on_gpu(self, x: Tensor) -> bool:
        """Return True if `convolve_on_gpu` was measured to be faster than torch."""

    @abstractmethod
    def convolve_on_gpu(self, x: Tensor) -> Tensor:
        """Compute the result of `forward` on a GPU."""
