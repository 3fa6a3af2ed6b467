"""HugeCTR's Raw and RawAsync formats: one flat file of records of one size, without a header (formats 4.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from hugectr2onnx.datasets.rows import Keys, Lists, OneKeyEach, Rows, before_damage
from hugectr2onnx.datasets.schema import Schema
from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables.regular_file import open_regular

MAX_COUNT = 1 << 23
"""Larger int32 values in a dense column are more likely the bits of floats (1.0 is 1,065,353,216)."""
SAMPLED_RECORDS = 1000


@dataclass(frozen=True)
class RawFormat:
    """The layout of a record: labels, dense values, then `hotness[s]` keys of each slot.

    `float_dense`: dense values are float32 as they are; otherwise int32 counts, of which HugeCTR feeds log(1 + x).
    `float_labels`: None where the first records tell. `key_bytes`: 4 (uint32) or 8 (int64).
    """

    float_dense: bool = False
    float_labels: bool | None = None
    key_bytes: int = 4
    hotness: tuple[int, ...] = ()
    samples: int | None = None


@dataclass(frozen=True)
class RawSource:
    """Raw files, one after the other."""

    paths: tuple[Path, ...]
    counts: tuple[int, ...]
    layout: RawFormat
    record: np.dtype[np.void]
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(self.counts)

    def pieces(self, size: int) -> Iterator[Rows]:
        """Yield the samples in order, `size` at a time."""
        for path, count in zip(self.paths, self.counts, strict=True):
            done = 0
            with open_regular(path, FeedError, "a Raw file") as file:
                while done < count:
                    take = min(size, count - done)
                    block = np.fromfile(file, self.record, take)
                    if len(block) < take:
                        raise FeedError(f"{path}: ends in record {done + len(block)} of {count}: it has become shorter")
                    yield from before_damage(partial(self._first_rows, block, path, done), take)
                    done += take

    def _first_rows(self, block: Array, path: Path, done: int, count: int) -> Rows:
        return self._rows(block[:count], path, done)

    def _rows(self, block: Array, path: Path, done: int) -> Rows:
        labels = block["label"].astype(np.float32)
        dense = _dense(block["dense"])
        for what, values in (("label", labels), ("dense value", dense)):
            # The sum of values with NaN or infinity is not finite: one pass, no array of flags.
            if not np.isfinite(values.sum(dtype=np.float64)):
                record = done + int(np.argmax(~np.isfinite(values).all(1)))
                raise FeedError(f"{path}: record {record} has a {what} that is not finite; is --float-dense right?")
        return Rows(labels, dense, self._keys(block["keys"]))

    def _keys(self, keys: Array) -> Keys:
        if all(each == 1 for each in self.layout.hotness):
            return OneKeyEach((keys,))
        slots, at = [], 0
        for hot in self.layout.hotness:
            slots.append(Lists(keys[:, at : at + hot].astype(np.int64).ravel(), np.arange(len(keys) + 1) * hot))
            at += hot
        return tuple(slots)


def _dense(values: Array) -> Array:
    """float32 as it is; int32 counts as log(1 + x), in float32."""
    if values.dtype.kind == "f":
        plain: Array = np.ascontiguousarray(values)
        return plain
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: Array = np.log(values.astype(np.float32) + np.float32(1))
    return logs


def open_raw(paths: Sequence[Path], schema: Schema, layout: RawFormat) -> RawSource:
    """Raw files that fit the model. Raises FeedError for a size that is no multiple of the record's."""
    hotness = layout.hotness or tuple(
        hot for each in schema.sparse for hot in each.hotness or [each.width or 1] * each.slots
    )
    if len(hotness) != schema.slots:
        raise FeedError(f"hotness has {len(hotness)} entries for {schema.slots} slots; give one for each")
    layout = RawFormat(layout.float_dense, layout.float_labels, layout.key_bytes, hotness, layout.samples)
    record = _record(layout, schema)
    counts = tuple(_count(path, record, schema) for path in paths)
    if layout.samples is not None:
        counts = _limited(counts, layout.samples)
    if layout.float_labels is None:
        layout = _with_told_labels(layout, schema, paths, record)
        record = _record(layout, schema)
    return RawSource(tuple(paths), counts, layout, record, tuple(_doubts(paths, layout, record)))


def _record(layout: RawFormat, schema: Schema) -> np.dtype[np.void]:
    return np.dtype(
        [
            ("label", "<f4" if layout.float_labels else "<i4", (schema.label_columns,)),
            ("dense", "<f4" if layout.float_dense else "<i4", (schema.dense_dim,)),
            ("keys", "<i8" if layout.key_bytes == 8 else "<u4", (sum(layout.hotness),)),
        ]
    )


def _count(path: Path, record: np.dtype[np.void], schema: Schema) -> int:
    size = path.stat().st_size
    count, odd = divmod(size, record.itemsize)
    if odd:
        raise FeedError(
            f"{path}: has {size} bytes, which is not a multiple of the {record.itemsize} bytes of a record "
            f"({schema.label_columns} labels, {schema.dense_dim} dense values, {record['keys'].shape[0]} keys of "
            f"{record['keys'].base.itemsize} bytes); is it in the Raw format, and are its keys of this size?"
        )
    return count


def _limited(counts: Sequence[int], samples: int) -> tuple[int, ...]:
    limited, left = [], samples
    for count in counts:
        limited.append(min(count, left))
        left -= limited[-1]
    if left > 0:
        raise FeedError(f"num_samples is {samples} and the files hold {sum(counts)} records")
    return tuple(limited)


def _sampled(paths: Sequence[Path], record: np.dtype[np.void]) -> Array:
    with open_regular(paths[0], FeedError, "a Raw file") as file:
        return np.fromfile(file, record, SAMPLED_RECORDS)


def _with_told_labels(layout: RawFormat, schema: Schema, paths: Sequence[Path], record: np.dtype[np.void]) -> RawFormat:
    """Labels are int32 unless the first ones are too large to be classes, as the bits of 1.0 are."""
    labels = _sampled(paths, record)["label"] if schema.label_columns else np.empty(0)
    floats = bool(labels.size and np.abs(labels.astype(np.int64)).max() > MAX_COUNT)
    return RawFormat(layout.float_dense, floats, layout.key_bytes, layout.hotness, layout.samples)


def _doubts(paths: Sequence[Path], layout: RawFormat, record: np.dtype[np.void]) -> Iterator[str]:
    """Yield a warning where dense values look like the other type."""
    dense = _sampled(paths, record)["dense"]
    if not dense.size:
        return
    if layout.float_dense:
        bits = np.ascontiguousarray(dense).view("<i4")
        if (np.abs(bits) < MAX_COUNT).all() and bits.any():
            yield f"{paths[0]}: its dense values look like int32 counts, but float_dense was given"
    elif (np.abs(dense.astype(np.int64)) > MAX_COUNT).mean() > 0.5:
        yield f"{paths[0]}: its dense values look like float32, not int32 counts; give float_dense (--float-dense)"
