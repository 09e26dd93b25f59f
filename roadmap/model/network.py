"""Network module of every step of the roadmap, built from a plan.

Initialization, by recipe (`model.init`); biases are 0, norms 1 and 0, LayerScale has its own value:

| init         | convolutions                           | classifier            | source                  |
|--------------|----------------------------------------|-----------------------|-------------------------|
| trunc_normal | truncated normal, std 0.02             | the same              | released ConvNeXt code  |
| torchvision  | normal, std sqrt(2 / fan_out)          | torch's own (uniform) | torchvision's resnet.py |
| fan_in       | truncated normal, std sqrt(1 / fan_in) | std 0.02              | for widths far below 96 |

An `OwnLayer`'s module keeps the weights that its constructor set.
"""

from typing import Any

from timm.layers import DropPath
from torch import Tensor, nn

from roadmap.model.layer_plan import plan_network
from roadmap.model.layers import OWN, build_layers
from roadmap.model.planned_layers import BlockPlan, NetworkPlan, StagePlan
from roadmap.model.spec import Form, Init, ModelSpec, RegimeSpec


class Block(nn.Module):
    """The residual block of every step: x to after(shortcut(x) + drop_path(branch(x)))."""

    def __init__(self, plan: BlockPlan, form: Form):
        super().__init__()
        self.branch = build_layers(plan.branch, form)
        self.shortcut = build_layers(plan.shortcut)
        self.drop_path = DropPath(plan.drop_path) if plan.drop_path > 0 else nn.Identity()
        self.after = build_layers(plan.after)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', H', W'); H' is H, or H / 2 rounded up in a strided block."""
        return self.after(self.shortcut(x) + self.drop_path(self.branch(x)))


class Stage(nn.Module):
    """Blocks of one width, after a downsampling layer from step 12 on."""

    def __init__(self, plan: StagePlan, form: Form):
        super().__init__()
        self.downsample = build_layers(plan.downsample)
        self.blocks = nn.Sequential(*(Block(block, form) for block in plan.blocks))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class Head(nn.Module):
    """Global average pooling, a norm from step 12 on, and a linear classifier."""

    def __init__(self, plan: NetworkPlan):
        super().__init__()
        norm = build_layers(plan.head_norm)
        self.norm = norm[0] if len(norm) == 1 else norm
        self.linear = nn.Linear(plan.features, plan.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, classes)."""
        return self.linear(self.norm(x.mean((2, 3), keepdim=True)).flatten(1))


class Network(nn.Module):
    """A step of the roadmap: images (N, 3, H, W) to logits (N, classes)."""

    def __init__(self, plan: NetworkPlan, form: Form, init: Init):
        super().__init__()
        self.plan = plan
        self.stem = build_layers(plan.stem)
        self.stages = nn.Sequential(*(Stage(stage, form) for stage in plan.stages))
        self.head = Head(plan)
        initialize(self, init)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(x)))

    def get_classifier(self) -> nn.Module:
        """Return the linear classifier, as timm's models do."""
        return self.head.linear

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return timm's patterns of parameter groups, for layer-wise learning rates."""
        fine = [(r"^stages\.(\d+)\.downsample", (0,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None)]
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" if coarse else fine}


def build_network(model: ModelSpec, regime: RegimeSpec) -> Network:
    """Build the network on torch's default device (`torch.device("meta")` included), for images of any size."""
    return Network(plan_network(model, regime), model.form, model.init)


def initialize(network: Network, init: Init) -> None:
    """Draw all weights from torch's global generator, by the table in the module docstring."""
    _initialize_parts(network, init)
    if init is Init.torchvision:
        network.head.linear.reset_parameters()
    elif init is Init.fan_in:
        nn.init.trunc_normal_(network.head.linear.weight, std=0.02)


def _initialize_parts(module: nn.Module, init: Init) -> None:
    """Initialize a module and those in it, apart from an OwnLayer's."""
    if not hasattr(module, OWN):
        for child in module.children():
            _initialize_parts(child, init)
        _initialize_module(module, init)


def _initialize_module(module: nn.Module, init: Init) -> None:
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return
    if init is Init.trunc_normal:
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif init is Init.torchvision:
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    else:
        std = module.weight[0].numel() ** -0.5
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
