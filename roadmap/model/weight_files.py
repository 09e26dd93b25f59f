"""Weights files: finds raw and averaged state dicts in what scripts save, and strips prefixes of names."""

import argparse
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import Tensor

from roadmap.errors import WeightsError, first_line
from roadmap.model.torch_file import UnusableFile, read_torch_file

StateDict = Mapping[str, Tensor]


class Kind(StrEnum):
    raw = "raw"  # as the optimizer left them
    averaged = "ema"  # their moving average


KEYS = {  # names of the wrappers; the first one that is present counts
    Kind.raw: (
        "state_dict",
        "model",  # torchvision's, the paper's and ours
        "model_state",
        "model_state_dict",
        "params",
        "net",
        "network",
        "weights",
        "module",  # DeepSpeed's
    ),
    Kind.averaged: (
        "ema",  # ours
        "state_dict_ema",  # timm's
        "model_ema",  # torchvision's and the paper's
        "ema_state_dict",
        "model_ema_state_dict",
        "ema_state",
        "params_ema",
    ),
}
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")  # of DataParallel, torch.compile and wrappers
COUNT = "n_averaged"  # beside the weights in torch's AveragedModel
SCALARS = "?", "i4", "i8", "f4", "f8"  # numpy's, such as a metric; each dtype is a class
ALLOWED = (
    argparse.Namespace,  # timm's CheckpointSaver and torchvision's references save their arguments in one
    np.dtype,
    *(type(np.dtype(code)) for code in SCALARS),
    (np.float64(0).__reduce__()[0], "numpy._core.multiarray.scalar"),
    (np.float64(0).__reduce__()[0], "numpy.core.multiarray.scalar"),  # numpy 1
)


def read_weights(path: Path) -> dict[Kind, StateDict]:
    """Return the state dicts in a file of torch's or safetensors' format: raw weights, averaged ones, or both.

    Raises:
        WeightsError: the file is missing, can't be read as weights, or holds none.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path.absolute()}")
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            content, _ = read_torch_file(path, ALLOWED)
    except UnusableFile as error:
        raise WeightsError(f"{path.absolute()} can't be read as weights: it {error}") from error
    except Exception as error:  # safetensors' errors have no common base
        raise WeightsError(f"{path.absolute()} can't be read as weights: {first_line(error)}") from error
    found = {Kind.raw: _find(content), Kind.averaged: _find_wrapped(content, Kind.averaged)}
    states = {kind: _strip(state) for kind, state in found.items() if state is not None}
    if not states:
        raise WeightsError(f"{path.absolute()} holds no state dict, but {_describe(content)}")
    return states


def _find(content: Any) -> StateDict | None:
    """Return a mapping of names to tensors, or the one that is wrapped in it."""
    if isinstance(content, Mapping) and content and all(isinstance(value, Tensor) for value in content.values()):
        return content
    return _find_wrapped(content, Kind.raw)


def _find_wrapped(content: Any, kind: Kind) -> StateDict | None:
    if not isinstance(content, Mapping):
        return None
    states = (_find(content.get(key)) for key in KEYS[kind])
    return next((state for state in states if state is not None), None)


def _strip(state: StateDict) -> StateDict:
    """Remove the prefixes that all names share, in any order."""
    state = {name: tensor for name, tensor in state.items() if name != COUNT}
    while prefix := next((p for p in PREFIXES if state and all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"the keys {', '.join(map(repr, list(content)[:8]))}{', ...' if len(content) > 8 else ''}"
    return f"one {type(content).__name__}"
