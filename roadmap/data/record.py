"""Record of a run's data, so that it is not resumed on other data: images, classes, names and some sizes.

It depends neither on the files' location nor on the order in which they are found: a folder under another mount and
an archive of it are the same data.
"""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from roadmap.data.checked_dataset import CheckedDataset, NamedImages
from roadmap.data.classes import list_names

SAMPLED = 256  # files whose sizes are checked: a damaged one may be replaced, but not a set by its shrunk copy


@dataclass(frozen=True)
class PartRecord:
    """Record of the training or validation images."""

    images: int  # used for training or evaluation
    skipped: int  # left out under data.on_error=skip when the set was decoded
    digest: str  # of the images' classes and names
    sizes: dict[str, int]  # bytes of files, evenly spaced in the order of their names


@dataclass(frozen=True)
class DataRecord:
    """Record of a run's data."""

    classes: list[str]  # by index
    train: PartRecord
    val: PartRecord

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of everything except the sizes."""
        parts = [(part.images, part.digest) for part in (self.train, self.val)]
        return hashlib.sha256(repr((self.classes, parts)).encode(errors="surrogatepass")).hexdigest()[:12]

    def facts(self) -> dict[str, Any]:
        """Return the data's entries in a run's summary."""
        return {
            "train_images": self.train.images,
            "val_images": self.val.images,
            "data_fingerprint": self.fingerprint,
        }

    def to_content(self) -> dict[str, Any]:
        """Return its part of a checkpoint: numbers, strings and containers."""
        values = asdict(self)
        return {"classes": values.pop("classes"), "data": values}

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> "DataRecord | None":
        """Return the record in a checkpoint; None if an earlier version wrote it.

        Raises:
            KeyError, TypeError: it is damaged.
        """
        if "data" not in content:
            return None
        parts = (PartRecord(**content["data"][name]) for name in ("train", "val"))
        return cls(list(content["classes"]), *parts)


def record_data(train: CheckedDataset, val: CheckedDataset, totals: tuple[int, int]) -> DataRecord:
    """Record opened sets.

    Args:
        totals: the images of each that are used for training or evaluation, as in record_part.
    """
    classes = train.images.classes if isinstance(train.images, NamedImages) else []
    return DataRecord(list(classes), record_part(train, totals[0]), record_part(val, totals[1]))


def record_part(images: CheckedDataset, total: int) -> PartRecord:
    """Record an opened set.

    Args:
        total: its images that are used for training or evaluation, without those skipped when it was decoded.
    """
    skipped = images.skipped_places() if total < len(images) else []
    kept = np.delete(np.arange(len(images)), skipped).tolist()
    named = images.images if isinstance(images.images, NamedImages) else None
    entries = {index: named.entry_of(index) if named else f"image {index}" for index in kept}
    kept.sort(key=entries.__getitem__)
    digest = hashlib.blake2b(digest_size=16)
    for index in kept:
        digest.update(entries[index].encode(errors="surrogatepass") + b"\0")
    sizes = {}
    if named is not None:
        for index in kept[:: max(-(-len(kept) // SAMPLED), 1)]:
            with contextlib.suppress(OSError):  # reading it will raise a clear error
                sizes[entries[index]] = named.size_of(index)
    return PartRecord(len(kept), len(skipped), digest.hexdigest(), sizes)


def describe_changes(old: DataRecord, new: DataRecord) -> list[str]:
    """Describe the differences of other data from a record."""
    changes = []
    if old.classes != new.classes:
        changes.append(f"classes {list_names(old.classes)} -> {list_names(new.classes)}")
    for name, before, after in (("train", old.train, new.train), ("val", old.val, new.val)):
        if before.images != after.images:
            changes.append(f"{name} {_count(before)} -> {_count(after)}")
        elif before.digest != after.digest:
            gone = sorted(before.sizes.keys() - after.sizes.keys())
            such = f", such as {gone[0]} before" if gone else ""
            changes.append(f"{name} {before.images:,} images of other names or classes{such}")
        elif len(resized := _find_resized(before, after)) > len(before.sizes) / 2:
            changes.append(
                f"{name} {before.images:,} images of the same names and other sizes, such as {resized[0]}"
            )
    return changes


def describe_replaced(old: DataRecord, new: DataRecord) -> list[str]:
    """Return a warning for each part in which some files changed in size, as if damaged ones had been replaced."""
    return [
        f"{len(resized)} of {len(before.sizes)} {name} files have another size than when the run began: "
        f"{list_names(resized)}"
        for name, before, after in (("train", old.train, new.train), ("val", old.val, new.val))
        if (resized := _find_resized(before, after))
    ]


def _find_resized(before: PartRecord, after: PartRecord) -> Sequence[str]:
    return [name for name, size in before.sizes.items() if after.sizes.get(name, size) != size]


def _count(part: PartRecord) -> str:
    skipped = f" ({part.skipped:,} more skipped)" if part.skipped else ""
    return f"{part.images:,} images{skipped}"
