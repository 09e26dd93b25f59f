"""How a network is trained: the recipe, and the hardware that it runs on."""

from dataclasses import dataclass
from enum import StrEnum

from roadmap.data.spec import AugmentSpec
from roadmap.errors import ConfigError
from roadmap.model.spec import Init


class Optimizer(StrEnum):
    adamw = "adamw"
    sgd = "sgd"


class Schedule(StrEnum):
    cosine = "cosine"  # after the warm-up, half a cosine from lr to min_lr
    step = "step"  # divided by 10 after each third of the training (90 epochs: every 30)


class Precision(StrEnum):
    fp32 = "fp32"
    tf32 = "tf32"  # of a GPU: products of fp32 numbers that are rounded to 10 bits
    bf16 = "bf16"
    fp16 = "fp16"


@dataclass(frozen=True)
class RecipeSpec:
    """Everything about training that is the same for all steps (table 5). Results depend on each field."""

    name: str
    epochs: int
    total_batch: int  # images an update: devices x per-device batch x accumulation
    optimizer: Optimizer
    lr: float  # peak learning rate at this total batch; absolute, never scaled
    momentum: float  # SGD's momentum, AdamW's beta1
    beta2: float  # AdamW's
    weight_decay: float
    decay_all: bool  # False: none on biases and 1-d parameters (norms, LayerScale)
    schedule: Schedule
    warmup_epochs: float  # linear from 0
    min_lr: float  # end of the cosine
    label_smoothing: float  # inside the mixed targets, where Mixup or CutMix is on
    mixup: float  # alpha of the Beta distribution; 0 is off
    cutmix: float  # alpha of the Beta distribution; 0 is off; with both on, one is drawn, half and half
    drop_path: float  # stochastic depth of the last block
    layer_scale_init: float | None
    init: Init
    ema_decay: float | None  # moving average of the weights; "severely hurts models with BatchNorm" (app. A.1)
    clip_grad: float | None  # largest norm of the gradient of an update
    augment: AugmentSpec

    def __post_init__(self) -> None:
        at_least = {
            "epochs": 1,
            "total_batch": 1,
            "lr": 0,
            "weight_decay": 0,
            "warmup_epochs": 0,
            "min_lr": 0,
        }
        for name, lowest in {**at_least, "mixup": 0, "cutmix": 0}.items():
            if getattr(self, name) < lowest:
                raise ConfigError(f"recipe.{name}={getattr(self, name)}: must be at least {lowest}")
        for name in ("momentum", "beta2", "label_smoothing", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"recipe.{name}={getattr(self, name)}: must be at least 0 and below 1")
        if self.ema_decay is not None and not 0 <= self.ema_decay <= 1:
            raise ConfigError(f"recipe.ema_decay={self.ema_decay}: must be from 0 to 1, or null")
        if self.clip_grad is not None and self.clip_grad <= 0:
            raise ConfigError(f"recipe.clip_grad={self.clip_grad}: must be above 0, or null")
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(
                f"recipe.warmup_epochs={self.warmup_epochs} leaves nothing of recipe.epochs={self.epochs}: "
                "choose recipe.warmup_epochs=0, or more epochs"
            )


@dataclass(frozen=True)
class HardwareSpec:
    """Where and how fast, no part of a run's identity.

    Results differ by rounding, with `resident` by the random draws of the same augmentation, and with the number of
    images at once by those of augmentation, mixing and stochastic depth, and by what BatchNorm takes together.
    """

    device: str  # auto (the best there is), cpu, cuda, cuda:1, mps
    per_device_batch: int  # most images at once on a device; the accumulation follows from recipe.total_batch
    precision: Precision  # of the forward and backward pass; weights stay fp32
    channels_last: bool  # memory format of images and weights
    compile: bool  # torch.compile; measured to lose on CPU
    workers: int | None  # data processes; None: one a core but one, and none where a data set is tiny
    resident: bool | None  # the images stay on the device, augmented in batches; None: in a quarter of its memory
    deterministic: bool  # the same command gives the same numbers on the same machine
    checkpoint_minutes: float  # within an epoch too, a checkpoint is written after so many minutes

    def __post_init__(self) -> None:
        if self.per_device_batch < 1:
            raise ConfigError(f"hardware.per_device_batch={self.per_device_batch}: must be at least 1")
        if self.checkpoint_minutes < 0:
            raise ConfigError(f"hardware.checkpoint_minutes={self.checkpoint_minutes}: must be at least 0")
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"hardware.workers={self.workers}: must be at least 0, or null")


def plan_accumulation(total_batch: int, per_device_batch: int, devices: int = 1) -> tuple[int, int]:
    """The micro-batch on each device and the number of them that make one update.

    The micro-batch is the largest that divides the device's share of the total batch.

    Raises:
        ConfigError: the devices can't share the batch evenly.
    """
    if total_batch % devices:
        raise ConfigError(
            f"recipe.total_batch={total_batch} can't be shared by {devices} devices: "
            f"take {total_batch // devices * devices} or {(total_batch // devices + 1) * devices}"
        )
    share = total_batch // devices
    micro_batch = min(share, per_device_batch)
    if share % micro_batch:
        divisors = [n for n in range(1, share + 1) if share % n == 0]
        below = max(n for n in divisors if n <= micro_batch)
        above = min(n for n in divisors if n >= micro_batch)
        raise ConfigError(
            f"recipe.total_batch={total_batch} on {devices} device(s) is {share} images each, which is no "
            f"multiple of hardware.per_device_batch={per_device_batch}: take {below} or {above}"
        )
    return micro_batch, share // micro_batch
