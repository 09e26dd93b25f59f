"""The benchmark of single layers times each layer once, against torch's equivalent."""

from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.backends import cudnn

from roadmap.model.ops.depthwise import DepthwiseConv2d
from roadmap.model.ops.patchify import PatchConv2d

Load = Callable[[str], ModuleType]
WORDS = ["data.image_size=16", "hardware.per_device_batch=4", "hardware.device=cpu"]


@pytest.fixture(scope="module")
def convolutions(load_benchmark: Load) -> ModuleType:
    return load_benchmark("convolutions")


def test_each_layer_of_another_form_is_timed_once(convolutions: ModuleType) -> None:
    """Micro stages of 24 to 192 channels on maps with sides of 8 to 1 positions, and three blocks in the third."""
    arguments = convolutions.make_parser("").parse_args(WORDS)
    pairs = [make() for make in convolutions.make_pairs(arguments)]
    assert [pair.name.removesuffix(", batch 4, fp32") for pair in pairs] == [
        "patches to 24, 3 channels 16x16 k2",
        "depthwise, 24 channels 8x8 k7",
        "patches to 48, 24 channels 8x8 k2",
        "depthwise, 48 channels 4x4 k7",
        "patches to 96, 48 channels 4x4 k2",
        "depthwise, 96 channels 2x2 k7",
        "patches to 192, 96 channels 2x2 k2",
        "depthwise, 192 channels 1x1 k7",
    ]
    assert {pair.peer_name for pair in pairs} == {"nn.Conv2d"}
    for pair in pairs:
        pair.ours()
        pair.peer()


@pytest.mark.parametrize("layer", [DepthwiseConv2d(8, 7, 1, 3, bias=True), PatchConv2d(16, 8, 2, bias=True)])
def test_the_peer_has_the_weights_and_is_torchs(convolutions: ModuleType, layer: nn.Module) -> None:
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    plain = convolutions.make_plain(nn.Sequential(layer))[0]
    assert type(plain) is nn.Conv2d
    torch.testing.assert_close(plain.state_dict(), state, rtol=0, atol=0)


def test_layers_that_differ_are_not_timed(convolutions: ModuleType) -> None:
    layer = DepthwiseConv2d(8, 7, 1, 3, bias=True)
    other = DepthwiseConv2d(8, 7, 1, 3, bias=True)
    with pytest.raises(AssertionError, match="not close"):
        convolutions.check_outputs(layer, other, torch.randn(2, 8, 4, 4))


@pytest.mark.parametrize("name", ["native", "cudnn"])
def test_a_kernel_is_chosen_for_its_side_alone(convolutions: ModuleType, name: str) -> None:
    before = cudnn.enabled, getattr(cudnn, "depthwise_kernel", None)
    with convolutions.choose_kernel(name):
        if hasattr(cudnn, "depthwise_kernel"):
            assert cudnn.depthwise_kernel == name
        else:
            assert cudnn.enabled == (name == "cudnn")
    assert (cudnn.enabled, getattr(cudnn, "depthwise_kernel", None)) == before
