"""Kernels of layers for which torch's own are slower: depthwise convolution, LayerNorm, patches."""
