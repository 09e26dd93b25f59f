"""A network as the set of the roadmap's choices that it has made: twelve choices, one a step.

Steps and variants that name the same set are the same network: the last step with `downsample` taken back is
step 11, and step 0 with `stage_ratio` added is step 1. So runs are shared between sweeps.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from roadmap.analysis.results import Row


@dataclass(frozen=True)
class Choice:
    """A design axis of `conf/model/`, and the step of the roadmap that turns it."""

    axis: str
    start: str  # ResNet's
    end: str  # ConvNeXt's
    step: str  # name of the step that goes from start to end


# In the order of the steps 1 to 12.
CHOICES = (
    Choice("stage_ratio", "resnet", "modern", "step1_stage_ratio"),
    Choice("stem", "resnet", "patchify", "step2_patchify"),
    Choice("conv", "dense", "depthwise", "step3_depthwise"),
    Choice("width", "resnet", "modern", "step4_width"),
    Choice("block", "bottleneck", "inverted", "step5_inverted"),
    Choice("position", "middle", "first", "step6_move_up"),
    Choice("kernel_size", "3", "7", "step7_kernel"),
    Choice("activation", "relu", "gelu", "step8_gelu"),
    Choice("activation_count", "all", "one", "step9_fewer_acts"),
    Choice("norm_count", "all", "one", "step10_fewer_norms"),
    Choice("norm", "batchnorm", "layernorm", "step11_layernorm"),
    Choice("downsample", "block", "separate", "step12_downsample"),
)
STEPS = ("step0_resnet", *(choice.step for choice in CHOICES))

Network = frozenset[str]  # the axes that stand at their end
NONE: Network = frozenset()
ALL: Network = frozenset(choice.axis for choice in CHOICES)


def path_network(step: int) -> Network:
    """The choices of a step of the paper: the first `step` of them."""
    return frozenset(choice.axis for choice in CHOICES[:step])


def network_of(row: Row) -> Network | None:
    """The choices of a row; None for a reference, a user's own step, or a value that is neither start nor end."""
    if row.reference is not None or row.step not in STEPS:
        return None
    made = set(path_network(STEPS.index(row.step)))
    ends = {choice.axis: choice for choice in CHOICES}
    for axis, value in row.variant.items():
        if axis not in ends or value not in (ends[axis].start, ends[axis].end):
            return None
        if value == ends[axis].end:
            made.add(axis)
        else:
            made.discard(axis)
    return frozenset(made)


def words_for(network: Network) -> list[str]:
    """The words of a command that build a network: the step that is nearest to it, and what differs from that.

    Of two as near, the one closer to an end of the roadmap, from which choices are taken back or added.
    """
    last = len(STEPS) - 1
    nearest = min(range(len(STEPS)), key=lambda step: (len(network ^ path_network(step)), min(step, last - step)))
    differing = network ^ path_network(nearest)
    switched = [
        f"model/{choice.axis}={choice.end if choice.axis in network else choice.start}"
        for choice in CHOICES
        if choice.axis in differing
    ]
    return [f"+roadmap={STEPS[nearest]}", *switched]


def commands_for(networks: Sequence[Network], seeds: Sequence[int], words: Sequence[str]) -> list[str]:
    """One command a network, in order; `words` name the setting and the experiment."""
    is_sweep = ["-m"] if len(seeds) > 1 else []
    seed = f"seed={','.join(map(str, seeds))}"
    return [
        shlex.join(["python", "train.py", *is_sweep, *words_for(network), *words, seed]) for network in networks
    ]
