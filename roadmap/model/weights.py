"""Weights in and out: torchvision's and timm's ResNets are step 0, timm's and the paper's ConvNeXts step 12.

Names differ, tensors don't, but for the 1x1 convolutions of a ConvNeXt, which the others keep as matrices.
"""

from collections.abc import Mapping
from enum import Enum
from pathlib import Path

import safetensors.torch
import timm
import torchvision
from torch import Tensor, nn

from roadmap.errors import WeightsError, first_line
from roadmap.model.torch_file import UnusableFile, read_torch_file

StateDict = Mapping[str, Tensor]


class Naming(Enum):
    """How a library names the parts of these networks: pairs of (ours, theirs), replaced in this order."""

    ours = ()
    resnet = (  # torchvision's resnet.py and timm's
        ("stem.conv.", "conv1."),
        ("stem.norm.", "bn1."),
        *((f"stages.{i}.blocks.", f"layer{i + 1}.") for i in range(4)),
        (".branch.conv", ".conv"),
        (".branch.norm", ".bn"),
        (".shortcut.conv.", ".downsample.0."),
        (".shortcut.norm.", ".downsample.1."),
        ("head.linear.", "fc."),
    )
    convnext = (  # timm's convnext.py
        ("stem.conv.", "stem.0."),
        ("stem.out_norm.", "stem.1."),
        (".downsample.norm.", ".downsample.0."),
        (".downsample.conv.", ".downsample.1."),
        (".branch.conv1.", ".conv_dw."),
        (".branch.norm1.", ".norm."),
        (".branch.conv2.", ".mlp.fc1."),
        (".branch.conv3.", ".mlp.fc2."),
        (".branch.layer_scale.gamma", ".gamma"),
        ("head.linear.", "head.fc."),
    )
    released = (  # the paper's released checkpoints (facebookresearch/ConvNeXt)
        ("stem.conv.", "downsample_layers.0.0."),
        ("stem.out_norm.", "downsample_layers.0.1."),
        *((f"stages.{i}.downsample.norm.", f"downsample_layers.{i}.0.") for i in range(1, 4)),
        *((f"stages.{i}.downsample.conv.", f"downsample_layers.{i}.1.") for i in range(1, 4)),
        (".blocks.", "."),
        (".branch.conv1.", ".dwconv."),
        (".branch.norm1.", ".norm."),
        (".branch.conv2.", ".pwconv1."),
        (".branch.conv3.", ".pwconv2."),
        (".branch.layer_scale.gamma", ".gamma"),
        ("head.norm.", "norm."),
        ("head.linear.", "head."),
    )

    def translate(self, key: str) -> str:
        """Our name of a parameter or buffer, in this naming."""
        for ours, theirs in self.value:
            key = key.replace(ours, theirs)
        return key


def export_weights(model: nn.Module, naming: Naming) -> dict[str, Tensor]:
    """The state dict of a step-0 or step-12 network for another library's model."""
    matrices = (".fc1.", ".fc2.", ".pwconv1.", ".pwconv2.")
    exported = {}
    for key, tensor in model.state_dict().items():
        name = naming.translate(key)
        is_matrix = tensor.ndim == 4 and any(part in name for part in matrices)
        exported[name] = tensor.flatten(1) if is_matrix else tensor
    return exported


def import_weights(model: nn.Module, state_dict: StateDict, source: str) -> None:
    """Loads another library's weights, or ours, strictly: every tensor finds its place and none is left.

    Raises:
        WeightsError: they belong to another architecture; names `source` and the first keys that differ.
    """
    own = model.state_dict()
    naming = max(Naming, key=lambda n: len({n.translate(key) for key in own} & state_dict.keys()))
    names = {key: naming.translate(key) for key in own}
    missing = [name for name in names.values() if name not in state_dict]
    unexpected = sorted(state_dict.keys() - set(names.values()))
    misfits = [
        f"{name} is {tuple(state_dict[name].shape)}, expected {tuple(own[key].shape)}"
        for key, name in names.items()
        if name in state_dict and not _fits(state_dict[name], own[key])
    ]
    if missing or unexpected or misfits:
        differences = [
            *(f"missing {name}" for name in missing[:3]),
            *(f"unexpected {name}" for name in unexpected[:3]),
            *misfits[:3],
        ]
        total = len(missing) + len(unexpected) + len(misfits)
        raise WeightsError(
            f"{source} holds the weights of another architecture; {total} of its keys differ, among them: "
            + "; ".join(differences)
        )
    model.load_state_dict({key: state_dict[name].reshape(own[key].shape) for key, name in names.items()})


def _fits(theirs: Tensor, ours: Tensor) -> bool:
    return theirs.shape == ours.shape or (
        ours.ndim == 4 and theirs.shape == ours.shape[:2] == ours.flatten(1).shape
    )


def load_weights(model: nn.Module, source: str) -> None:
    """Fills `model` from a weights file, or from a torchvision or timm name (downloaded).

    Names: a torchvision ResNet (`resnet50`: the 76.13 of the paper's first row; `resnet50.IMAGENET1K_V2` for
    other weights of it), else a timm name with or without a tag (`convnext_tiny.fb_in1k`).

    Raises:
        WeightsError: no such file or name, no network, or another architecture.
    """
    if Path(source).suffix in (".pt", ".pth", ".bin", ".safetensors", ".ckpt") or Path(source).exists():
        state_dict = read_weights(Path(source))
    else:
        state_dict = _download(source)
    import_weights(model, state_dict, source)


def read_weights(path: Path) -> StateDict:
    """The state dict in a file of torch's or safetensors' format, unwrapped from a checkpoint.

    Raises:
        WeightsError: the file is missing or can't be read as weights.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path.absolute()}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content, _ = read_torch_file(path)
    except UnusableFile as error:
        raise WeightsError(f"{path.absolute()} can't be read as weights: it {error}") from error
    except Exception as error:  # safetensors' have no base
        raise WeightsError(f"{path.absolute()} can't be read as weights: {first_line(error)}") from error
    for wrapper in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path.absolute()} holds no state dict")
    return content


def _download(source: str) -> StateDict:
    name, _, tag = source.partition(".")
    is_torchvision = name in torchvision.models.list_models(torchvision.models) and name.startswith("resnet")
    if is_torchvision and (not tag or tag.startswith("IMAGENET")):
        choices = torchvision.models.get_model_weights(name).__members__
        if (tag or "IMAGENET1K_V1") not in choices:
            raise WeightsError(f"torchvision has no weights {source}; allowed for {name}: {', '.join(choices)}")
    try:
        if is_torchvision and (not tag or tag in choices):
            return choices[tag or "IMAGENET1K_V1"].get_state_dict(progress=True)
        if timm.is_model(name):
            return timm.create_model(source, pretrained=True).state_dict()
    except Exception as error:  # no network, no such tag: torch.hub and the Hugging Face hub share no base
        raise WeightsError(
            f"the weights {source} can't be downloaded: {first_line(error)}. "
            "Without a network, copy the file here and give its path"
        ) from error
    raise WeightsError(f"{source} is neither a file nor a torchvision ResNet nor a timm model")
