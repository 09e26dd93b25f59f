"""Training settings: recipe and hardware."""

from dataclasses import dataclass
from enum import StrEnum

from roadmap.data.spec import AugmentSpec, DataSpec
from roadmap.errors import ConfigError
from roadmap.model.spec import Init


class Optimizer(StrEnum):
    adamw = "adamw"
    sgd = "sgd"


class Schedule(StrEnum):
    cosine = "cosine"  # after the warm-up, half a cosine period from lr to min_lr
    step = "step"  # divided by 10, `decays` times (2 in 90 epochs: every 30)


class Precision(StrEnum):
    fp32 = "fp32"
    tf32 = "tf32"  # on a GPU: products of fp32 numbers, rounded to 10 bits
    bf16 = "bf16"
    fp16 = "fp16"


@dataclass(frozen=True)
class RecipeSpec:
    """Training settings that are the same for all steps (table 5). Every field affects results."""

    name: str  # of the recipe, in results and figures
    epochs: int  # passes over the training images
    total_batch: int  # images per update: devices x per-device batch x accumulation
    optimizer: Optimizer  # of the weights
    lr: float  # peak learning rate at this total batch; absolute, never scaled
    momentum: float  # SGD's momentum, AdamW's beta1
    beta2: float  # AdamW's; SGD has none
    weight_decay: float  # decoupled in AdamW, as an L2 penalty in SGD
    decay_all: bool  # False: no decay of biases and 1-d parameters (norms, LayerScale)
    schedule: Schedule  # of the learning rate after the warm-up
    warmup_epochs: float  # in which the learning rate rises linearly from 0
    min_lr: float  # learning rate at the end of the cosine
    label_smoothing: float  # part of a target that all classes share, also of Mixup's and CutMix's targets
    mixup: float  # alpha of the Beta distribution; 0 is off
    cutmix: float  # alpha of the Beta distribution; 0 is off; if both are on, each is drawn with probability 1/2
    drop_path: float  # stochastic depth: probability that the last block is skipped
    layer_scale_init: float | None  # first value of LayerScale, the paper's is 1e-6; None: no LayerScale
    init: Init  # distribution of the initial weights
    ema_decay: float | None  # of the moving average of the weights; None: no average
    #   (it "severely hurts models with BatchNorm", app. A.1)
    clip_grad: float | None  # maximum norm of an update's gradient; None: no clipping
    augment: AugmentSpec
    layer_decay: float = 1.0  # for fine-tuning: a layer's learning rate divided by the next layer's; 1 is off
    head_init_scale: float = 1.0  # for fine-tuning: factor on a new classifier's initial weights
    decays: int = 2  # divisions of the learning rate by 10 under schedule=step, evenly spaced over the epochs

    def __post_init__(self) -> None:
        for name in (
            "epochs",
            "total_batch",
            "lr",
            "weight_decay",
            "warmup_epochs",
            "min_lr",
            "mixup",
            "cutmix",
            "decays",
        ):
            lowest = 1 if name in ("epochs", "total_batch") else 0
            if getattr(self, name) < lowest:
                raise ConfigError(f"recipe.{name}={getattr(self, name)}: must be at least {lowest}")
        for name in ("momentum", "beta2", "label_smoothing", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"recipe.{name}={getattr(self, name)}: must be at least 0 and below 1")
        for name in ("layer_decay", "head_init_scale"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"recipe.{name}={getattr(self, name)}: must be above 0 and at most 1")
        if self.ema_decay is not None and not 0 <= self.ema_decay <= 1:
            raise ConfigError(f"recipe.ema_decay={self.ema_decay}: must be from 0 to 1, or null")
        if self.clip_grad is not None and self.clip_grad <= 0:
            raise ConfigError(f"recipe.clip_grad={self.clip_grad}: must be above 0, or null")
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(
                f"recipe.warmup_epochs={self.warmup_epochs} must be below recipe.epochs={self.epochs}: "
                "choose recipe.warmup_epochs=0, or more epochs"
            )


@dataclass(frozen=True)
class HardwareSpec:
    """Device and speed settings, which are not part of a run's identity.

    They change results by rounding. `resident` also changes the random draws of augmentation. The micro-batch size
    changes the random draws of augmentation, mixing and stochastic depth, and BatchNorm's batches.
    """

    device: str  # auto (the best available), cpu, cuda, cuda:1, mps
    per_device_batch: int  # maximum micro-batch per device; the accumulation follows from recipe.total_batch
    precision: Precision  # of the forward and backward pass; weights stay fp32
    channels_last: bool  # memory format of images and weights
    compile: bool  # use torch.compile; measured to be slower on CPU
    workers: int | None  # dataloader workers; None: the number of cores minus one, and none if the data set is tiny
    resident: bool | None  # images stay on the device, augmented in batches; None: if they fit in 1/4 of it
    deterministic: bool  # the same command gives the same numbers on the same machine
    checkpoint_minutes: float  # maximum minutes between checkpoints, also within an epoch
    graphs: bool = False  # replay updates and evaluations as CUDA graphs; not measured yet

    def __post_init__(self) -> None:
        if self.per_device_batch < 1:
            raise ConfigError(f"hardware.per_device_batch={self.per_device_batch}: must be at least 1")
        if self.checkpoint_minutes < 0:
            raise ConfigError(f"hardware.checkpoint_minutes={self.checkpoint_minutes}: must be at least 0")
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"hardware.workers={self.workers}: must be at least 0, or null")


@dataclass(frozen=True)
class TrainingSpec:
    """Everything that a training needs besides its network."""

    data: DataSpec
    recipe: RecipeSpec
    hardware: HardwareSpec
    seed: int


@dataclass(frozen=True)
class BatchRule:
    """Conditions on a micro-batch's size, besides dividing the total batch."""

    even: bool = False  # Mixup and CutMix pair the images
    not_one: bool = False  # a BatchNorm sees a 1x1 map

    def obstacle(self, images: int) -> str | None:
        """Return why a micro-batch of `images` images cannot be used; None if it can."""
        if self.even and images % 2:
            return f"Mixup and CutMix pair the images of a micro-batch, so its size can't be odd: {images} images"
        if self.not_one and images == 1:
            return "BatchNorm sees a 1x1 map, and one image there is a single value per channel, without a variance"
        return None


def find_batch_rule(recipe: RecipeSpec, not_one: bool) -> BatchRule:
    return BatchRule(even=recipe.mixup > 0 or recipe.cutmix > 0, not_one=not_one)


def list_micro_batches(share: int, rule: BatchRule) -> list[int]:
    """Return the micro-batches that divide a device's share of the total batch, the smallest first."""
    return [n for n in range(1, share + 1) if share % n == 0 and rule.obstacle(n) is None]


def plan_accumulation(
    total_batch: int, per_device_batch: int, devices: int = 1, rule: BatchRule = BatchRule()
) -> tuple[int, int]:
    """Return the micro-batch size per device, and the number of micro-batches per update.

    The micro-batch size is `per_device_batch`, or the device's share of the total batch if that is smaller.

    Raises:
        ConfigError: the devices cannot share the batch evenly, or the rule forbids the micro-batch size.
    """
    if total_batch % devices:
        raise ConfigError(
            f"recipe.total_batch={total_batch} can't be shared by {devices} devices: "
            f"take {total_batch // devices * devices} or {(total_batch // devices + 1) * devices}"
        )
    share = total_batch // devices
    micro_batch = min(share, per_device_batch)
    obstacle = rule.obstacle(micro_batch)
    if share % micro_batch == 0 and obstacle is None:
        return micro_batch, share // micro_batch
    fitting = list_micro_batches(share, rule)
    nearest = [*[n for n in fitting if n <= micro_batch][-1:], *[n for n in fitting if n > micro_batch][:1]]
    way_out = (
        f"take {' or '.join(map(str, nearest))}"
        if nearest
        else f"choose recipe.total_batch={2 * devices} or another"
    )
    if obstacle is None:
        raise ConfigError(
            f"recipe.total_batch={total_batch} on {devices} device(s) is {share} images each, not a "
            f"multiple of hardware.per_device_batch={per_device_batch}: {way_out}"
        )
    key = f"hardware.per_device_batch={per_device_batch}" if nearest else f"recipe.total_batch={total_batch}"
    raise ConfigError(f"{key}: {obstacle}: {way_out}")
