"""Record of a run's data (images, classes, names and some sizes), so that it is not resumed on other data.

It depends neither on the files' location nor on their order: a folder under another mount and an archive of it are
the same data.
"""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from roadmap.data.checked_dataset import CheckedDataset
from roadmap.data.classes import list_names

SAMPLED = 256  # files whose sizes are checked: a few may be replaced, but not all by shrunk copies


@dataclass(frozen=True)
class SplitRecord:
    """Record of the training or validation images."""

    images: int  # used for training or evaluation
    skipped: int  # left out under data.on_error=skip when the set was decoded
    digest: str  # of the images' classes and names
    sizes: dict[str, int]  # bytes of files, evenly spaced in the order of their names


@dataclass(frozen=True)
class DataRecord:
    classes: list[str]  # by index
    train: SplitRecord
    val: SplitRecord

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of everything except the sizes."""
        parts = [(part.images, part.digest) for part in (self.train, self.val)]
        return hashlib.sha256(repr((self.classes, parts)).encode(errors="surrogatepass")).hexdigest()[:12]

    def facts(self) -> dict[str, Any]:
        """Return the entries of a run's summary."""
        return {
            "train_images": self.train.images,
            "val_images": self.val.images,
            "data_fingerprint": self.fingerprint,
        }

    def to_checkpoint(self) -> dict[str, Any]:
        """Return the entries of a checkpoint: numbers, strings and containers."""
        values = asdict(self)
        return {"classes": values.pop("classes"), "data": values}

    @classmethod
    def from_checkpoint(cls, content: Mapping[str, Any]) -> "DataRecord | None":
        """Return the record in a checkpoint; None if an earlier version wrote it.

        Raises:
            KeyError, TypeError: it is damaged.
        """
        if "data" not in content:
            return None
        parts = (SplitRecord(**content["data"][name]) for name in ("train", "val"))
        return cls(list(content["classes"]), *parts)


def record_data(train: CheckedDataset, val: CheckedDataset, totals: tuple[int, int]) -> DataRecord:
    """Return the record of opened sets; `totals` are as in record_split."""
    return DataRecord(list(train.images.classes), record_split(train, totals[0]), record_split(val, totals[1]))


def record_split(images: CheckedDataset, total: int) -> SplitRecord:
    """Return the record of an opened set, of whose images `total` are used: all but those skipped by decoding."""
    skipped = images.skipped_indices() if total < len(images) else []
    kept = np.delete(np.arange(len(images)), skipped).tolist()
    entries = {index: images.images.entry_of(index) for index in kept}
    kept.sort(key=entries.__getitem__)
    digest = hashlib.blake2b(digest_size=16)
    for index in kept:
        digest.update(entries[index].encode(errors="surrogatepass") + b"\0")
    sizes = {}
    for index in kept[:: max(-(-len(kept) // SAMPLED), 1)]:
        with contextlib.suppress(OSError):  # reading it will raise a clear error
            sizes[entries[index]] = images.images.size_of(index)
    return SplitRecord(len(kept), len(skipped), digest.hexdigest(), sizes)


def describe_changes(old: DataRecord, new: DataRecord) -> list[str]:
    """Return the differences between two records, except for single replaced files."""
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
                f"{name} {before.images:,} images of the same names but other sizes, such as {resized[0]}"
            )
    return changes


def describe_replaced(old: DataRecord, new: DataRecord) -> list[str]:
    """Return a warning for each split of which some files have changed in size, such as replaced ones."""
    return [
        f"{len(resized)} of {len(before.sizes)} {name} files have another size than when the run began: "
        f"{list_names(resized)}"
        for name, before, after in (("train", old.train, new.train), ("val", old.val, new.val))
        if (resized := _find_resized(before, after))
    ]


def _find_resized(before: SplitRecord, after: SplitRecord) -> Sequence[str]:
    return [name for name, size in before.sizes.items() if after.sizes.get(name, size) != size]


def _count(part: SplitRecord) -> str:
    skipped = f" ({part.skipped:,} more skipped)" if part.skipped else ""
    return f"{part.images:,} images{skipped}"
