"""Some samples as a reader found them, and the batches that a model is fed with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from hugectr2onnx.datasets.request_forms import as_fed
from hugectr2onnx.datasets.row_batch import RowBatch
from hugectr2onnx.datasets.schema import KeyInput, Schema
from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array


@dataclass(frozen=True, eq=False)
class Lists:
    """The keys of one slot: sample i has `values[offsets[i]:offsets[i + 1]]`, int64."""

    values: Array
    offsets: Array

    def part(self, start: int, stop: int) -> Lists:
        first, last = self.offsets[start], self.offsets[stop]
        return Lists(self.values[first:last], self.offsets[start : stop + 1] - first)

    @property
    def counts(self) -> Array:
        return np.diff(self.offsets)

    @staticmethod
    def joined(parts: Sequence[Lists]) -> Lists:
        counts = np.concatenate([part.counts for part in parts])
        offsets = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        return Lists(np.concatenate([part.values for part in parts]), offsets)


Block = Array | tuple[Array, ...]
"""Integer keys of some samples, one in every slot: [n, slots], or a column [n] for each slot."""


@dataclass(frozen=True, eq=False)
class OneKeyEach:
    """One key in every slot, in blocks of consecutive samples as the reader found them, strided views included.

    Joining and cutting copy nothing: a key is copied once, to where the model takes it.
    """

    blocks: tuple[Block, ...]

    def part(self, start: int, stop: int) -> OneKeyEach:
        blocks, first = [], 0
        for block in self.blocks:
            last = first + _samples(block)
            if first < stop and last > start:
                blocks.append(_rows_of(block, max(start - first, 0), min(stop, last) - first))
            first = last
        return OneKeyEach(tuple(blocks))

    @staticmethod
    def joined(parts: Sequence[OneKeyEach]) -> OneKeyEach:
        return OneKeyEach(tuple(block for part in parts for block in part.blocks))

    def __len__(self) -> int:
        return sum(map(_samples, self.blocks))

    def lists(self) -> tuple[Lists, ...]:
        """Return the keys slot by slot."""
        offsets = np.arange(len(self) + 1)
        slots = zip(*(block if isinstance(block, tuple) else block.T for block in self.blocks), strict=True)
        return tuple(Lists(np.concatenate(each), offsets) for each in slots)


def _samples(block: Block) -> int:
    return len(block[0]) if isinstance(block, tuple) else len(block)


def _rows_of(block: Block, start: int, stop: int) -> Block:
    return tuple(column[start:stop] for column in block) if isinstance(block, tuple) else block[start:stop]


Keys = OneKeyEach | tuple[Lists, ...]
"""One key in every slot, or the lists of each slot."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Samples in the terms of HugeCTR's data formats: label columns, dense columns, slots.

    `labels` float32 [n, label columns], None where the data has none; `dense` float32 [n, dense columns]; `ids` are
    columns that pass through to the predictions.
    """

    labels: Array | None
    dense: Array
    keys: Keys
    ids: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.dense)

    def part(self, start: int, stop: int) -> Rows:
        return Rows(
            None if self.labels is None else self.labels[start:stop],
            self.dense[start:stop],
            _part_of_keys(self.keys, start, stop),
            {name: column[start:stop] for name, column in self.ids.items()},
        )

    @staticmethod
    def joined(parts: Sequence[Rows]) -> Rows:
        first = parts[0]
        labels = (
            None if first.labels is None else np.concatenate([part.labels for part in parts if part.labels is not None])
        )
        ids = {name: np.concatenate([part.ids[name] for part in parts]) for name in first.ids}
        return Rows(labels, np.concatenate([part.dense for part in parts]), _joined_keys(parts), ids)


def _part_of_keys(keys: Keys, start: int, stop: int) -> Keys:
    return tuple(each.part(start, stop) for each in keys) if isinstance(keys, tuple) else keys.part(start, stop)


def _joined_keys(parts: Sequence[Rows]) -> Keys:
    plain = [part.keys for part in parts if isinstance(part.keys, OneKeyEach)]
    if len(plain) == len(parts):
        return OneKeyEach.joined(plain)
    listed = [part.keys if isinstance(part.keys, tuple) else part.keys.lists() for part in parts]
    return tuple(Lists.joined(slot) for slot in zip(*listed, strict=True))


class Divisible(Protocol):
    """Samples that can be cut and joined."""

    def __len__(self) -> int: ...
    def part(self, start: int, stop: int) -> Self: ...
    @staticmethod
    def joined(parts: Sequence[Any]) -> Any: ...


D = TypeVar("D", bound=Divisible)
T = TypeVar("T")


def in_batches(pieces: Iterable[D], size: int, limit: int | None = None) -> Iterator[D]:
    """Yield the same samples in pieces of `size`, the last one smaller; at most `limit` samples.

    Where reading fails, the samples before come first.
    """
    held: list[D] = []
    have = 0
    left = limit
    failure: list[FeedError] = []
    for given in up_to_damage(pieces, failure):
        piece = given
        if left is not None:
            piece = piece if len(piece) <= left else piece.part(0, left)
            left -= len(piece)
        while have + len(piece) >= size:
            cut = size - have
            head = piece if cut == len(piece) else piece.part(0, cut)
            yield head if not held else head.joined([*held, head])
            piece = piece.part(cut, len(piece))
            held, have = [], 0
        if len(piece):
            held.append(piece)
            have += len(piece)
        if left == 0:
            break
    if held:
        yield held[0] if len(held) == 1 else held[0].joined(held)
    for error in failure:
        raise error


def up_to_damage(pieces: Iterable[T], failure: list[FeedError]) -> Iterator[T]:
    """Tell what comes before damage, whose error goes to `failure`: the caller may want to keep what it gives."""
    try:
        yield from pieces
    except FeedError as error:
        failure.append(error)


def before_damage(read: Callable[[int], T], count: int) -> Iterator[T]:
    """Yield the first `count` samples; where they are damaged, those before the damage, and raise its FeedError.

    `read(n)` gives the first n samples, or raises it.
    """
    try:
        whole = read(count)
    except FeedError:
        most = 0
        least_bad = count
        while least_bad - most > 1:
            middle = (most + least_bad) // 2
            with suppress(FeedError):
                read(middle)
                most = middle
            least_bad = least_bad if most == middle else middle
        if most:
            yield read(most)
        raise
    yield whole


def to_batch(rows: Rows, schema: Schema, start: int = 0) -> RowBatch:
    """Return offsets added, slots shared out among the sparse inputs in their order, lists padded to the batch's own width.

    `start` is the number of the first sample, for messages.
    """
    inputs: dict[str, Array] = {}
    if schema.dense is not None and schema.feeds_dense:
        inputs[schema.dense] = rows.dense
    first = 0
    for sparse in schema.sparse:
        if sparse.is_fed:
            inputs[sparse.name] = _keys_of(rows.keys, first, sparse, schema, start)
        first += sparse.slots
    labels: dict[str, Array] = {}
    if rows.labels is not None:
        at = 0
        for label in schema.labels:
            labels[label.name] = rows.labels[:, at : at + label.columns]
            at += label.columns
    return as_fed(RowBatch(inputs, labels, rows.ids), schema)


def _keys_of(keys: Keys, first: int, sparse: KeyInput, schema: Schema, start: int) -> Array:
    slots = slice(first, first + sparse.slots)
    offsets = np.asarray(schema.offsets[slots], np.int64)
    if (offsets < 0).any():
        _require_offsets(keys, first, sparse, offsets)
    if isinstance(keys, tuple):
        return _padded(keys[slots], offsets, sparse, schema.padding, start)
    width = 1 if sparse.width is None else sparse.width
    shape = (len(keys), sparse.slots, width)
    out = np.empty(shape, np.int64) if width == 1 else np.full(shape, schema.padding, np.int64)
    at = 0
    for block in keys.blocks:
        place = out[at : at + _samples(block), :, 0]
        _copy(block[slots] if isinstance(block, tuple) else block[:, slots], offsets if offsets.any() else None, place)
        at += len(place)
    return out


def _require_offsets(keys: Keys, first: int, sparse: KeyInput, offsets: Array) -> None:
    """Raise FeedError for a key that is below the offset which is taken off it."""
    lists = keys if isinstance(keys, tuple) else keys.lists()
    for slot, each in enumerate(lists[first : first + sparse.slots]):
        least = int(each.values.min(initial=-int(offsets[slot])))
        if least + offsets[slot] < 0:
            raise FeedError(
                f"slot {slot} of {sparse.name} has the key {least}, and the offset of the slot is {-offsets[slot]}: Norm and "
                "Raw files hold keys with their offsets, which the model adds itself; where these lack them, give the "
                "slot_size_array (--slot-size-array)"
            )


def _copy(block: Block, offsets: Array | None, place: Array) -> None:
    """Copy keys to their place, with the offset of each slot added on the way."""
    if not isinstance(block, tuple):
        place[:] = block if offsets is None else block + offsets
        return
    for slot, column in enumerate(block):
        if offsets is None or not offsets[slot]:
            place[:, slot] = column
        else:
            np.add(column, offsets[slot], out=place[:, slot])


def _padded(slots: Sequence[Lists], offsets: Array, sparse: KeyInput, padding: int, start: int) -> Array:
    widest = max((int(each.counts.max(initial=0)) for each in slots), default=0)
    if sparse.width is not None and widest > sparse.width:
        slot, sample = next((s, int(each.counts.argmax())) for s, each in enumerate(slots) if widest in each.counts)
        raise FeedError(
            f"sample {start + sample} has {widest} keys in slot {slot} of {sparse.name}; the model takes at most "
            f"{sparse.width} (nnz_per_slot of its graph)"
        )
    width = max(1, widest) if sparse.width is None else sparse.width
    padded = np.full((len(slots[0].offsets) - 1, len(slots), width), padding, np.int64)
    places = np.arange(width)
    for slot, each in enumerate(slots):
        offset = int(offsets[slot]) if len(offsets) else 0
        padded[:, slot][places < each.counts[:, None]] = each.values + offset if offset else each.values
    return padded
