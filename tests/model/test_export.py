"""Networks are exported by torch.export and to ONNX, for any number of images, with their own logits."""

from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn

from roadmap.config.roadmap_files import load_roadmap

# Every step, and the layers that only other roadmaps have.
STEPS = (*load_roadmap().steps, "convnextv2/step13_grn", "bag_of_tricks/step3_resnet_d")


@pytest.mark.system  # 5 s each
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")  # torch's
@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_exported(
    step: str, build: Callable[..., nn.Module], unsettle: Callable[[nn.Module], nn.Module], tmp_path: Path
) -> None:
    network = unsettle(build(f"+roadmap={step}"))
    images = torch.randn(2, 3, 16, 16)
    more = torch.randn(5, 3, 16, 16)
    program = torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.onnx.export(program, f=str(tmp_path / "step.onnx"), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "step.onnx")
    with torch.no_grad():
        expected = network(more)
        torch.testing.assert_close(program.module()(more), expected, rtol=1e-4, atol=1e-5)
    (name,) = [one.name for one in session.get_inputs()]
    (logits,) = session.run(None, {name: more.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-4, atol=1e-5)
