"""Parts for a module of one's own, which the key `modules` names: an axis, and layers for its choices.

See docs/extend.md for a module that adds squeeze-and-excitation.
"""

from roadmap.model.own import register_axis
from roadmap.model.plan import Act, AvgPool, Conv, Grn, Layer, MaxPool, Norm, OwnLayer, Scale

__all__ = ["Act", "AvgPool", "Conv", "Grn", "Layer", "MaxPool", "Norm", "OwnLayer", "Scale", "register_axis"]
