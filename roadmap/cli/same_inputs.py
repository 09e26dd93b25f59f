"""Refusal of a finished run's folder to a command with other images or weights under the same names."""

from contextlib import suppress
from functools import cache

from roadmap.cli.run import find_classes
from roadmap.config import Config
from roadmap.data.classes import Classes
from roadmap.data.fingerprint import DataRecord, record_data
from roadmap.data.sources import open_images
from roadmap.data.spec import DataSpec, OnError
from roadmap.errors import DataError, RunError, WeightsError
from roadmap.model.weight_sources import hash_source
from roadmap.runs.run_dir import RunDir


def check_same_images(config: Config, folder: RunDir) -> None:
    """Compare the images of a finished run with those in `data.root`.

    Images that cannot be opened here, or that an earlier version did not record, are not compared.

    Raises:
        RunError: they have other names or classes.
    """
    run, summary = folder.state(), folder.summary()
    if run is None or run.data_fingerprint is None:
        return
    with suppress(DataError, WeightsError):
        classes = find_classes(config, folder)
        found = record_images(config.data, tuple(classes.names) if classes else ())
        if found.fingerprint == run.data_fingerprint:
            return
        counts = {"train_images": found.train.images, "val_images": found.val.images}
        if config.data.on_error is OnError.skip and counts != {key: summary.get(key) for key in counts}:
            return  # the run left out what it could not decode, and nothing was decoded here
        old, new = folder.trained_root(), config.data.root
        there = f"data.root={new} has now" if old == new else f"those in data.root={new} (data.root={old} then)"
        raise RunError(
            f"{folder.path} was trained on other images than {there}. experiment=NAME trains on these in a folder "
            "of its own"
        )


def check_same_weights(config: Config, folder: RunDir) -> None:
    """Compare the weights that a finished run started from with those that `init_from` names now.

    Weights that cannot be read here, that are downloaded by name, or that an earlier version did not record are not
    compared.

    Raises:
        RunError: they differ.
    """
    before = folder.summary().get("init_weights")
    if config.init_from is None or before is None:
        return
    with suppress(WeightsError):
        if hash_source(config.init_from) not in (None, before):
            raise RunError(
                f"{folder.path} started from other weights than init_from={config.init_from} has now. "
                "experiment=NAME trains from these in a folder of its own"
            )


@cache
def record_images(data: DataSpec, classes: tuple[str, ...]) -> DataRecord:
    """Return the record of a configuration's images, none of which is decoded.

    Args:
        classes: those of the weights from which training starts; equal names keep their indices.
    """
    record = _record(data, None)
    if sorted(classes) == sorted(record.classes) and list(classes) != record.classes:
        return _record(data, Classes(classes, "init_from"))
    return record


def _record(data: DataSpec, classes: Classes | None) -> DataRecord:
    train, val = open_images(data, download=False, recorded=classes)
    return record_data(train, val, (len(train), len(val)))
