"""Convolutions that are computed in another way than torch's where that is faster."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class TunedConv2d(nn.Conv2d, ABC):
    """`nn.Conv2d` with the same parameters, and forms of its own on a CPU and on an NVIDIA GPU."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        if x.is_cuda:
            return self.convolve_on_gpu(x) if self.is_faster_on_gpu(x) else super().forward(x)
        # A compiler for the CPU is left one node, which it knows.
        if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
            return super().forward(x)
        return self.convolve(x) if self.is_faster(x) else super().forward(x)

    @abstractmethod
    def is_faster(self, x: Tensor) -> bool:
        """Whether `convolve` is faster than torch, as was measured."""

    @abstractmethod
    def convolve(self, x: Tensor) -> Tensor:
        """What `forward` gives, in the form for a CPU."""

    @abstractmethod
    def is_faster_on_gpu(self, x: Tensor) -> bool:
        """Whether `convolve_on_gpu` is faster than torch, as was measured."""

    @abstractmethod
    def convolve_on_gpu(self, x: Tensor) -> Tensor:
        """What `forward` gives, in the form for a GPU."""
