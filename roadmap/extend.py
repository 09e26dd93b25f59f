"""Parts for a module of one's own, which the key `modules` names: an axis, and layers for its choices.

See docs/extend.md for a module that adds squeeze-and-excitation.
"""

from roadmap.model.custom_axes import register_axis
from roadmap.model.planned_layers import Act, AvgPool, Conv, Grn, Layer, MaxPool, Norm, OwnLayer, Scale

__all__ = ["Act", "AvgPool", "Conv", "Grn", "Layer", "MaxPool", "Norm", "OwnLayer", "Scale", "register_axis"]
