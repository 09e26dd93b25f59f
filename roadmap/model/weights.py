"""Import and export of weights: of torchvision's and timm's ResNets, and of timm's and the papers' ConvNeXts.

Only names differ, and dimensions of size 1: the others store a ConvNeXt's 1x1 convolutions as matrices, and the
released ConvNeXt V2 its GRN as (1, 1, 1, C).
"""

from collections.abc import Mapping
from enum import Enum

from torch import Tensor, nn

from roadmap.errors import WeightsError
from roadmap.model.network import Network
from roadmap.model.weight_files import Kind, StateDict
from roadmap.model.weight_sources import read_source

BATCH_COUNT = ".num_batches_tracked"


RESNET = (
    ("stem.conv.", "conv1."),
    ("stem.norm.", "bn1."),
    *((f"stem.conv{i}.", f"conv1.{3 * (i - 1)}.") for i in (1, 2, 3)),  # the deep stem's
    *((f"stem.norm{i}.", f"conv1.{3 * i - 2}.") for i in (1, 2)),
    ("stem.norm3.", "bn1."),
    *((f"stages.{i}.blocks.", f"layer{i + 1}.") for i in range(4)),
    (".branch.conv", ".conv"),
    (".branch.norm", ".bn"),
    ("head.linear.", "fc."),
)


class Naming(Enum):
    """A library's names for the parts of these networks: pairs of (ours, theirs), replaced in this order."""

    ours = ()
    resnet = (  # torchvision's resnet.py and timm's
        *RESNET,
        (".shortcut.conv.", ".downsample.0."),
        (".shortcut.norm.", ".downsample.1."),
    )
    resnet_d = (  # timm's resnet50d: a pool comes before the shortcut's convolution
        *RESNET,
        (".shortcut.conv.", ".downsample.1."),
        (".shortcut.norm.", ".downsample.2."),
    )
    convnext = (  # timm's convnext.py
        ("stem.conv.", "stem.0."),
        ("stem.out_norm.", "stem.1."),
        (".downsample.norm.", ".downsample.0."),
        (".downsample.conv.", ".downsample.1."),
        (".branch.conv1.", ".conv_dw."),
        (".branch.norm1.", ".norm."),
        (".branch.conv2.", ".mlp.fc1."),
        (".branch.grn.", ".mlp.grn."),
        (".branch.conv3.", ".mlp.fc2."),
        (".branch.layer_scale.gamma", ".gamma"),
        ("head.linear.", "head.fc."),
    )
    released = (  # the papers' released checkpoints (facebookresearch/ConvNeXt and ConvNeXt-V2)
        ("stem.conv.", "downsample_layers.0.0."),
        ("stem.out_norm.", "downsample_layers.0.1."),
        *((f"stages.{i}.downsample.norm.", f"downsample_layers.{i}.0.") for i in range(1, 4)),
        *((f"stages.{i}.downsample.conv.", f"downsample_layers.{i}.1.") for i in range(1, 4)),
        (".blocks.", "."),
        (".branch.conv1.", ".dwconv."),
        (".branch.norm1.", ".norm."),
        (".branch.conv2.", ".pwconv1."),
        (".branch.grn.weight", ".grn.gamma"),
        (".branch.grn.bias", ".grn.beta"),
        (".branch.conv3.", ".pwconv2."),
        (".branch.layer_scale.gamma", ".gamma"),
        ("head.norm.", "norm."),
        ("head.linear.", "head."),
    )

    def translate(self, key: str) -> str:
        """Return our name of a parameter or buffer in this naming."""
        for ours, theirs in self.value:
            key = key.replace(ours, theirs)
        return key


def export_weights(model: nn.Module, naming: Naming) -> dict[str, Tensor]:
    """Return the state dict of a network for another library's model of the same architecture."""
    matrices = (".fc1.", ".fc2.", ".pwconv1.", ".pwconv2.")
    exported = {}
    for key, tensor in model.state_dict().items():
        name = naming.translate(key)
        if tensor.ndim == 4 and any(part in name for part in matrices):
            tensor = tensor.flatten(1)
        elif name.endswith((".grn.gamma", ".grn.beta")):
            tensor = tensor.reshape(1, 1, 1, -1)
        exported[name] = tensor
    return exported


def import_weights(model: nn.Module, state_dict: StateDict, source: str, new_head: bool = False) -> str | None:
    """Load another library's weights, or ours, strictly: no tensor is missing or left over.

    BatchNorm's `num_batches_tracked` may be missing: torch before 0.4.1 did not save it, and nothing here reads it.

    Args:
        new_head: keep the model's own classifier if the weights are for another number of classes.

    Returns:
        A sentence that the classifier was not loaded; None if all was loaded.

    Raises:
        WeightsError: they are for other classes or another architecture; names `source`, and the first keys that
            differ.
    """
    own = model.state_dict()
    naming = _choose_naming(own, state_dict)
    names = {key: naming.translate(key) for key in own}
    missing = [name for name in names.values() if name not in state_dict and not name.endswith(BATCH_COUNT)]
    unexpected = sorted(state_dict.keys() - set(names.values()))
    shared = {key: name for key, name in names.items() if name in state_dict}
    misfits = [key for key, name in shared.items() if not _fits(state_dict[name], own[key])]
    other_classes = None
    if not missing and not unexpected:
        other_classes = _compare_classes({key: (state_dict[names[key]], own[key]) for key in misfits}, model)
    if other_classes and not new_head:
        raise WeightsError(
            f"{source} has {other_classes}: training can start from them with a new classifier, an evaluation can't"
        )
    if (missing or unexpected or misfits) and not other_classes:
        shapes = [
            f"{names[k]} is {tuple(state_dict[names[k]].shape)}, expected {tuple(own[k].shape)}" for k in misfits
        ]
        hint = _explain_layer_scale(missing, unexpected, misfits)
        shown = [f"missing {n}" for n in missing[:3]] + [f"unexpected {n}" for n in unexpected[:3]] + shapes[:3]
        total = len(missing) + len(unexpected) + len(misfits)
        raise WeightsError(
            f"{source} holds the weights of another architecture; {total} of its keys differ, among them: "
            + "; ".join(shown)
            + hint
        )
    fitting = {key: state_dict[name].reshape(own[key].shape) for key, name in shared.items() if key not in misfits}
    model.load_state_dict({**own, **fitting})
    return f"{source} has {other_classes}: the classifier starts anew" if other_classes else None


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy the weights of a network to one of the same architecture, either of which may be another library's.

    Raises:
        WeightsError: it is another architecture.
    """
    state, wanted = source.state_dict(), target.state_dict()
    if isinstance(source, Network):
        exported = export_weights(source, _choose_naming(state, wanted))
        alike = [key for key in exported if key in wanted and exported[key].numel() == wanted[key].numel()]
        state = exported | {key: exported[key].reshape(wanted[key].shape) for key in alike}
    import_weights(target, state, type(source).__name__)


def _choose_naming(ours: StateDict, theirs: StateDict) -> Naming:
    return max(Naming, key=lambda n: len({n.translate(key) for key in ours} & theirs.keys()))


def _explain_layer_scale(missing: list[str], unexpected: list[str], misfits: list[str]) -> str:
    """Return the way out if one network has LayerScale and the other has none; else nothing."""
    differing = [*missing, *unexpected]
    if misfits or (missing and unexpected) or any(".grn." in n or not n.endswith(".gamma") for n in differing):
        return ""
    return f". Only LayerScale differs: recipe.layer_scale_init={'null' if missing else '1e-6'} makes it fit"


def _fits(theirs: Tensor, ours: Tensor) -> bool:
    """Return True if the shapes are equal, apart from dimensions of size 1 in tensors of another rank."""
    is_squeezed = theirs.ndim != ours.ndim and theirs.squeeze().shape == ours.squeeze().shape
    return theirs.shape == ours.shape or is_squeezed


def _compare_classes(misfits: Mapping[str, tuple[Tensor, Tensor]], model: nn.Module) -> str | None:
    """Return "weights for 10 classes, data has 3" if (theirs, ours) differ only in the classifier's rows."""
    if not misfits or any(theirs.shape[1:] != ours.shape[1:] for theirs, ours in misfits.values()):
        return None
    theirs, ours = ({pair[i].shape[0] if pair[i].ndim else None for pair in misfits.values()} for i in (0, 1))
    classes = model.plan.num_classes if isinstance(model, Network) else getattr(model, "num_classes", None)
    if len(theirs) > 1 or ours != {classes}:
        return None
    return f"weights for {theirs.pop()} classes, data has {classes}"


def load_weights(model: nn.Module, source: str, new_head: bool = False) -> str | None:
    """Load the weights that `source` names into `model`; see `read_source` and `import_weights`.

    If a file also has averaged weights and `source` does not choose, load the raw weights.
    """
    states = read_source(source)
    kind = Kind.raw if Kind.raw in states else Kind.averaged
    return import_weights(model, states[kind], source, new_head)
