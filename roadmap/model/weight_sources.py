"""What `init_from` names: a file or folder of weights, or weights of timm, torchvision or the Hub to download."""

import hashlib
from pathlib import Path

import timm
import torch
import torchvision
from huggingface_hub import hf_hub_download

from roadmap.errors import WeightsError, first_line
from roadmap.model.weight_files import Kind, StateDict, read_weights

SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".tar")
HOSTS = ("timm:", "hub:")
HUB_FILE = "model.safetensors"  # ours and timm's
FOLDER_FILES = ("checkpoint.pt", HUB_FILE)  # a run's, and what roadmap.save_pretrained writes


def hash_source(source: str) -> str | None:
    """Return twelve hexadecimal digits of the weights that `load_weights` loads; None for a name or a missing file.

    Raises:
        WeightsError: the file cannot be read.
    """
    path = find_file(split_source(source)[0])
    if path is None or not path.exists():
        return None
    states = read_source(source)
    digest = hashlib.blake2b(digest_size=6)
    for name, tensor in sorted(states[Kind.raw if Kind.raw in states else Kind.averaged].items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_source(source: str) -> dict[Kind, StateDict]:
    """Return the weights in a file or folder, or downloaded ones.

    A file may also hold averaged weights: FILE:ema chooses those, FILE:raw the others. A folder is a run's, or one
    that `roadmap.save_pretrained` wrote.
    Names: a torchvision ResNet (`resnet50`: the 76.13 of the paper's first row; `resnet50.IMAGENET1K_V2` for
    other weights of it), else a timm name with or without a tag (`convnext_tiny.fb_in1k`). `timm:NAME` is always
    timm's; `hub:OWNER/NAME` or `hub:OWNER/NAME@REVISION` is a repository of the Hugging Face Hub, ours or timm's.

    Raises:
        WeightsError: no such file, kind or name, or no network.
    """
    file, suffix = split_source(source)
    if (path := find_file(file)) is not None:
        states = read_weights(path)
    elif suffix:
        raise WeightsError(f"{source}: there is no file {Path(file).absolute()}, and :{suffix} is of a file")
    else:
        states = _download(source)
    if suffix and suffix not in states:
        names = {Kind.raw: "weights beside their average", Kind.averaged: "averaged weights"}
        raise WeightsError(f"{Path(file).absolute()} holds no {names[Kind(suffix)]}: give it without :{suffix}")
    return {Kind(suffix): states[Kind(suffix)]} if suffix else states


def find_file(source: str) -> Path | None:
    """Return the weights file of a path, which may be a run's folder or a published one; None for other names.

    Raises:
        WeightsError: a folder without weights.
    """
    path = Path(source)
    if path.is_dir():
        if found := [path / name for name in FOLDER_FILES if (path / name).is_file()]:
            return found[0]
        raise WeightsError(f"{path.absolute()} holds no {' and no '.join(FOLDER_FILES)}")
    return path if path.suffix in SUFFIXES or path.exists() else None


def split_source(source: str) -> tuple[str, str]:
    """Return the file or name of weights, and the kind chosen behind it, or ""."""
    file, _, suffix = source.rpartition(":")
    return (source, "") if suffix not in list(Kind) or Path(source).exists() else (file, suffix)


def split_host(source: str) -> tuple[str, str]:
    """Return the host of a name, "timm", "hub" or "", and the name there."""
    host, _, name = source.partition(":") if source.startswith(HOSTS) else ("", "", source)
    return host, name


def split_revision(name: str) -> tuple[str, str | None]:
    """Return a repository of the Hub and its revision."""
    repository, _, revision = name.partition("@")
    return repository, revision or None


def _is_torchvision_resnet(model: str) -> bool:
    return model.startswith("resnet") and model in torchvision.models.list_models(torchvision.models)


def has_torchvision_weights(name: str) -> bool:
    """Return True if a name without a host is of torchvision's weights, and not of timm's."""
    model, _, tag = name.partition(".")
    return _is_torchvision_resnet(model) and (not tag or tag.startswith("IMAGENET"))


def _download(source: str) -> dict[Kind, StateDict]:
    """Download the weights of a name, each library to its own cache.

    Raises:
        WeightsError: no such name, or no network.
    """
    place, name = split_host(source)
    model, _, tag = name.partition(".")
    is_torchvision = not place and _is_torchvision_resnet(model)
    choices = torchvision.models.get_model_weights(model).__members__ if is_torchvision else {}
    if tag.startswith("IMAGENET") and is_torchvision and tag not in choices:
        raise WeightsError(f"torchvision has no weights {source}; allowed for {model}: {', '.join(choices)}")
    try:
        if place == "hub":
            repository, revision = split_revision(name)
            return read_weights(Path(hf_hub_download(repository, HUB_FILE, revision=revision)))
        if is_torchvision and (not tag or tag in choices):
            return {Kind.raw: choices[tag or "IMAGENET1K_V1"].get_state_dict(progress=True)}
        if timm.is_model(model):
            return {Kind.raw: timm.create_model(name, pretrained=True).state_dict()}
    except WeightsError:
        raise
    except Exception as error:  # no network, no such tag: torch.hub's and the hub's errors have no common base
        raise WeightsError(
            f"the weights {source} can't be downloaded: {first_line(error).rstrip('.')}. "
            "Without a network, copy the file here and give its path"
        ) from error
    if place:
        raise WeightsError(f"{source}: timm has no model {model}; `timm.list_models(pretrained=True)` lists them")
    raise WeightsError(f"{source} is neither a file nor a torchvision ResNet nor a timm model")
