"""What a user's module imports to register axes, choices, data sets and loggers; see docs/extend.md."""

from roadmap.data.custom_sources import register_dataset
from roadmap.model.custom_axes import register_axis, register_choice
from roadmap.model.planned_layers import Act, AvgPool, Conv, Grn, Layer, MaxPool, Norm, OwnLayer, Scale
from roadmap.runs.logger_spec import register_logger

__all__ = [
    "Act", "AvgPool", "Conv", "Grn", "Layer", "MaxPool", "Norm", "OwnLayer", "Scale",
    "register_axis", "register_choice", "register_dataset", "register_logger",
]  # fmt: skip
