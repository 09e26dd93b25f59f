"""One more attempt at a run that ran out of memory, with half the images at once or half the dataloader workers."""

import gc
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

import torch

from roadmap.cli.processes import halve_micro_batch
from roadmap.config import Config
from roadmap.errors import TrainingError, WorkerMemoryError, first_line
from roadmap.model.build import trains_on_one_image
from roadmap.training.device import is_out_of_memory
from roadmap.training.spec import find_batch_rule, plan_accumulation


class MemoryRetry:
    """A context around each attempt at a run: suppresses its error if another one, with less memory, may succeed.

    A run has one retry for each cause: with at most half the micro-batch and more gradient accumulation, and with
    half the dataloader workers if one of them was killed. Ranks of a process group do not retry, since those with
    enough memory would wait for the others.

    Attributes:
        config: of the next attempt.

    Raises:
        TrainingError: memory ran out, and no smaller micro-batch is possible; names the reason.
    """

    def __init__(self, config: Config, world_size: int, warn: Callable[[str], None]):
        self.config = config
        self._may_retry = world_size == 1
        self._warn = warn
        takes_one = trains_on_one_image(config.model, config.regime, config.reference, config.data.image_size)
        self._rule = find_batch_rule(config.recipe, not_one=not takes_one)
        total, most = config.recipe.total_batch, config.hardware.per_device_batch
        self._micro_batch, _ = plan_accumulation(total, most, world_size, self._rule)
        self._too_large: int | None = None  # the micro-batch that did not fit
        self._has_fewer_workers = False

    def facts(self) -> dict[str, int]:
        """Return the images at once, for the run's summary."""
        failed = {} if self._too_large is None else {"out_of_memory_with": self._too_large}
        return {"images_at_once": self._micro_batch, **failed}

    def __enter__(self) -> Self:
        if self._too_large is not None or self._has_fewer_workers:
            gc.collect()  # until here the frames of the error held the network, and the other workers
            if torch.accelerator.is_available():
                torch.accelerator.empty_cache()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not self._may_retry:
            return False
        if isinstance(error, WorkerMemoryError) and error.workers and not self._has_fewer_workers:
            self._take_fewer_workers(error)
            return True
        if isinstance(error, RuntimeError) and is_out_of_memory(error) and self._too_large is None:
            self._take_smaller_batch(error)
            return True
        return False

    def _take_fewer_workers(self, error: WorkerMemoryError) -> None:
        workers = error.workers // 2
        self._has_fewer_workers = True
        self._warn(f"{error}; going on with hardware.workers={workers} in place of {error.workers}")
        self.config = replace(self.config, hardware=replace(self.config.hardware, workers=workers))

    def _take_smaller_batch(self, error: RuntimeError) -> None:
        failed = self._micro_batch
        reason = f"out of memory with {failed} images at once ({first_line(error)})"
        smaller = halve_micro_batch(self.config, failed, self._rule)
        if smaller is None:
            why = self._rule.obstacle(max(failed // 2, 1)) or "there is no smaller micro-batch"
            raise TrainingError(f"{reason}. {why}: choose a device with more memory or another network") from error
        self._too_large, self._micro_batch = failed, smaller.hardware.per_device_batch
        self._warn(f"{reason}; going on with {self._micro_batch}")
        self.config = smaller
