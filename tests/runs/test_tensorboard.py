"""TensorBoard shows each epoch of a run once, however often it was stopped, and its configuration."""

from collections.abc import Callable
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from roadmap.runs.logger_spec import LoggerSpec, WandbMode
from roadmap.runs.loggers.tensorboard import EVENTS, Logger
from roadmap.runs.run_dir import RunDir

OpenRun = Callable[..., RunDir]
SPEC = LoggerSpec("tensorboard", WandbMode.offline, "roadmap", None)
FACTS = {"gmacs": 0.5, "paper_top1": None}
SUMMARY = {"step": "step0_resnet", "epochs": 3, "top1": 70.0, "paper_top1": None}


def metrics_of(epoch: int, top1: float) -> dict[str, float]:
    return {"epoch": epoch, "top1": top1, "train_loss": 1.0 / epoch}


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def test_retrained_epoch_is_shown_once_beside_the_design_choices(open_run: OpenRun) -> None:
    run = open_run("model/norm=layernorm", "recipe.epochs=3", "recipe.lr=0.5")
    run.claim()
    killed = Logger(SPEC, run, FACTS)
    for epoch in (1, 2):
        killed.log(metrics_of(epoch, 10.0 * epoch))  # killed: no finish follows
    logger = Logger(SPEC, run, FACTS)
    for epoch in (2, 3):  # the checkpoint was of epoch 1
        logger.log(metrics_of(epoch, 20.0 * epoch))
    logger.finish(SUMMARY)

    shown = read(run.path)
    assert [(event.step, event.value) for event in shown.Scalars("top1")] == [(1, 10.0), (2, 40.0), (3, 60.0)]
    assert [event.step for event in shown.Scalars("train_loss")] == [1, 2, 3]
    assert [(event.step, event.value) for event in shown.Scalars("summary/top1")] == [(3, 70.0)]
    assert len(list(run.path.glob(EVENTS))) == 2
    content = shown.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
    asked = HParamsPluginData.FromString(content).session_start_info.hparams
    assert asked["step"].string_value == "step0_resnet"
    assert asked["name"].string_value == "step0_resnet,norm=layernorm"
    assert asked["model.norm"].string_value == "layernorm"
    assert (asked["recipe.lr"].number_value, asked["gmacs"].number_value) == (0.5, 0.5)


def test_replaced_runs_events_are_removed(open_run: OpenRun) -> None:
    failed = open_run("recipe.lr=0.5")
    failed.claim()
    logger = Logger(SPEC, failed, FACTS)
    logger.log(metrics_of(1, 10.0))
    logger.finish(None)
    failed.fail("loss is not finite")
    failed.close()
    run = open_run("recipe.lr=0.1")
    run.claim()
    logger = Logger(SPEC, run, FACTS)
    logger.log(metrics_of(1, 30.0))
    logger.finish(None)
    assert [event.value for event in read(run.path).Scalars("top1")] == [30.0]
