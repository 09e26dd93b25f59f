"""TensorBoard: event files in each run's own folder; `tensorboard --logdir outputs/EXPERIMENT` compares them."""

from collections.abc import Mapping
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from roadmap.runs.logger_spec import LoggerSpec
from roadmap.runs.loggers import SUMMARY_PREFIX, numbers, run_parameters
from roadmap.runs.run_dir import RunDir

EVENTS = "events.out.tfevents.*"


class Logger:
    """Curves by epoch; at the end the summary's numbers, and the run's configuration for the HPARAMS page."""

    def __init__(self, spec: LoggerSpec, run: RunDir, facts: Mapping[str, Any]):
        self.run = run
        self.facts = facts
        self._suffix = f".{run.dashboard_id()}"
        self._writer: SummaryWriter | None = None
        for path in run.path.glob(EVENTS):
            if not path.name.endswith(self._suffix):  # from the failed run whose folder this one took over
                path.unlink()

    def log(self, metrics: Mapping[str, Any]) -> None:
        epoch = metrics["epoch"]
        writer = self._open(epoch)
        for name, value in numbers(metrics).items():
            if name != "epoch":
                writer.add_scalar(name, value, epoch)
        writer.flush()  # so that epochs are shown during training, and survive a kill

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        if summary is not None:
            results = {f"{SUMMARY_PREFIX}{name}": value for name, value in numbers(summary).items()}
            writer = self._open(summary["epochs"] + 1)
            for part in hparams(run_parameters(self.run, self.facts), results):
                writer._get_file_writer().add_summary(part)  # add_hparams would start a separate run
            for name, value in results.items():
                writer.add_scalar(name, value, summary["epochs"])
        if self._writer is not None:
            self._writer.close()

    def _open(self, epoch: int) -> SummaryWriter:
        """Return the writer, opened late: what an earlier process wrote from this epoch on is trained again."""
        if self._writer is None:
            self._writer = SummaryWriter(str(self.run.path), purge_step=epoch, filename_suffix=self._suffix)
        return self._writer
