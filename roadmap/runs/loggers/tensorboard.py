"""TensorBoard: event files in each run's own folder; `tensorboard --logdir outputs/EXPERIMENT` compares them."""

from collections.abc import Mapping
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from roadmap.runs.folder import RunFolder, identity_values
from roadmap.runs.identity import defining_values
from roadmap.runs.spec import LoggerSpec

EVENTS = "events.out.tfevents.*"
SUMMARY_PREFIX = "summary/"  # apart from the curves, which have the plain names


class Logger:
    """Curves by epoch; at the end the summary's numbers, and for the HPARAMS page what the run was asked."""

    def __init__(self, spec: LoggerSpec, run: RunFolder, facts: Mapping[str, Any]):
        self.run = run
        self.facts = facts
        self._suffix = f".{run.dashboard_id()}"
        self._writer: SummaryWriter | None = None
        for path in run.path.glob(EVENTS):
            if not path.name.endswith(self._suffix):  # of the failed run whose folder this one took over
                path.unlink()

    def log(self, metrics: Mapping[str, Any]) -> None:
        epoch = metrics["epoch"]
        writer = self._open(epoch)
        for name, value in _numbers(metrics).items():
            if name != "epoch":
                writer.add_scalar(name, value, epoch)
        writer.flush()  # so that it is seen as it trains, and is there after a kill

    def finish(self, summary: Mapping[str, Any] | None) -> None:
        if summary is not None:
            results = {f"{SUMMARY_PREFIX}{name}": value for name, value in _numbers(summary).items()}
            writer = self._open(summary["epochs"] + 1)
            for part in hparams(self._asked(), results):
                writer._get_file_writer().add_summary(part)  # add_hparams would open a run of its own
            for name, value in results.items():
                writer.add_scalar(name, value, summary["epochs"])
        if self._writer is not None:
            self._writer.close()

    def _open(self, epoch: int) -> SummaryWriter:
        """The writer, opened late: what an earlier process wrote from this epoch on was trained again."""
        if self._writer is None:
            self._writer = SummaryWriter(str(self.run.path), purge_step=epoch, filename_suffix=self._suffix)
        return self._writer

    def _asked(self) -> dict[str, Any]:
        """Name and defining values, as TensorBoard takes them: it knows no lists."""
        identity = identity_values(self.run.identity)
        values = {**defining_values(self.run.config), **identity, "name": self.run.identity.name, **self.facts}
        return {
            key: value if isinstance(value, bool | int | float) else str(value) for key, value in values.items()
        }


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if isinstance(value, int | float)}
