"""HugeCTR's Norm format, with and without check sums (formats 4.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hugectr2onnx.datasets.rows import Lists, OneKeyEach, Rows, before_damage, up_to_damage
from hugectr2onnx.datasets.schema import Schema
from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables.regular_file import open_regular

HEADER_BYTES = 64
WRAPPED_BYTES = 4 + HEADER_BYTES + 1
BLOCK_BYTES = 2 << 20
"""What stays in a processor's cache while the slots are gone through one after the other."""
_MAX_SAMPLE_BYTES = 128 << 20
WORD = 4
MAX_KEYS_PER_SLOT = 1 << 20


@dataclass(frozen=True)
class NormHeader:
    """The first record of a file. `has_sums`: every record has its length before it and the sum of its bytes behind."""

    has_sums: bool
    records: int
    label_dim: int
    dense_dim: int
    slots: int

    @property
    def start(self) -> int:
        """Where the first sample begins."""
        return WRAPPED_BYTES if self.has_sums else HEADER_BYTES


def read_header(head: bytes) -> NormHeader | None:
    """Return the header that a file begins with; None where these bytes are none. Raises FeedError for a wrong check sum."""
    wrapped = len(head) >= WRAPPED_BYTES and struct.unpack_from("<i", head)[0] == HEADER_BYTES
    payload = head[4 : 4 + HEADER_BYTES] if wrapped else head[:HEADER_BYTES]
    if len(payload) < HEADER_BYTES:
        return None
    check, records, label_dim, dense_dim, slots, *_ = struct.unpack("<8q", payload)
    if check != int(wrapped) or records < 0 or not (0 <= label_dim < 1 << 20 and 0 <= dense_dim < 1 << 20):
        return None
    if not 0 <= slots < 1 << 20 or label_dim + dense_dim + slots == 0:
        return None
    if wrapped and sum(payload) & 0xFF != head[4 + HEADER_BYTES]:
        raise FeedError("the check sum of the header is wrong: the file is damaged, or not in the Norm format")
    return NormHeader(wrapped, records, label_dim, dense_dim, slots)


@dataclass(frozen=True)
class NormSource:
    """Norm files, one after the other. `key_bytes` is 4 (uint32) or 8 (int64), the same in all."""

    paths: tuple[Path, ...]
    headers: tuple[NormHeader, ...]
    key_bytes: int
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(header.records for header in self.headers)

    def pieces(self, size: int) -> Iterator[Rows]:
        """Yield the samples in order, a block of the file at a time."""
        for path, header in zip(self.paths, self.headers, strict=True):
            try:
                with open_regular(path, FeedError, "a Norm file") as file:
                    yield from _NormFile(path, header, self.key_bytes, file).pieces()
            except OSError as error:
                raise FeedError(f"{path}: cannot be read: {error.strerror}") from error


def open_norm(paths: Sequence[Path], schema: Schema, key_bytes: int | None = None) -> NormSource:
    """Norm files that fit the model. Raises FeedError with both sides where they do not.

    `key_bytes` None: told by the first samples, which one width of keys alone can explain.
    """
    headers = tuple(_header(path) for path in paths)
    for path, header in zip(paths, headers, strict=True):
        found, wanted = (
            (header.label_dim, header.dense_dim, header.slots),
            (
                schema.label_columns,
                schema.dense_dim,
                schema.slots,
            ),
        )
        if found != wanted:
            raise FeedError(
                f"{path}: has label_dim {found[0]}, dense_dim {found[1]} and {found[2]} slots; the model takes {schema}"
            )
    return NormSource(tuple(paths), headers, key_bytes or _told_key_bytes(paths, headers))


def _header(path: Path) -> NormHeader:
    with open_regular(path, FeedError, "a Norm file") as file:
        try:
            header = read_header(file.read(WRAPPED_BYTES))
        except FeedError as error:
            raise FeedError(f"{path}: {error}") from None
    if header is None:
        raise FeedError(f"{path}: does not begin with the header of a Norm file")
    return header


def _told_key_bytes(paths: Sequence[Path], headers: Sequence[NormHeader]) -> int:
    """4 or 8, whichever reads more samples of the first blocks of the first file that has some; 8 where both read as many."""
    for path, header in zip(paths, headers, strict=True):
        if not header.records:
            continue
        return max((8, 4), key=lambda width: _readable(path, header, width))
    return 4


def _readable(path: Path, header: NormHeader, key_bytes: int) -> tuple[int, bool]:
    """Return how many samples keys of this width explain, and whether nothing stands against them."""
    samples, failure = 0, list[FeedError]()
    with open_regular(path, FeedError, "a Norm file") as file:
        # Three pieces: what comes before damage, and the end of a small file.
        pieces = islice(_NormFile(path, header, key_bytes, file).pieces(), 3)
        for piece in up_to_damage(pieces, failure):
            samples += len(piece)
    return samples, not failure


@dataclass(frozen=True)
class _NormFile:
    """One opened file; samples come out a block at a time."""

    path: Path
    header: NormHeader
    key_bytes: int
    file: BinaryIO

    def pieces(self) -> Iterator[Rows]:
        left, carried, done = self.header.records, b"", 0
        self.file.seek(self.header.start)
        while left:
            # More each time that a record does not end in what was read: it is looked through again.
            block = self.file.read(max(BLOCK_BYTES, len(carried)))
            data = np.frombuffer(carried + block, np.uint8)
            used = 0
            for found in before_damage(partial(self._samples, data, done), left):
                if found is None and not block:
                    raise FeedError(
                        f"{self.path}: ends in record {done} of {self.header.records}: the file is truncated, or its keys "
                        f"are not of {self.key_bytes} bytes"
                    )
                if found is not None:
                    rows, used = found
                    yield rows
                    left -= len(rows)
                    done += len(rows)
            carried = data[used:].tobytes()
        if carried or self.file.read(1):
            raise FeedError(
                f"{self.path}: has bytes behind its {self.header.records} records: it is damaged, or its keys are not of "
                f"{self.key_bytes} bytes"
            )

    def _samples(self, data: Array, done: int, most: int) -> tuple[Rows, int] | None:
        """Return at most so many samples of a block and the bytes that they take; None where it holds no whole one."""
        return self._one_key_each(data, most, done) or self._of_lists(data, most, done)

    def _one_key_each(self, data: Array, left: int, done: int) -> tuple[Rows, int] | None:
        """Return the samples of a block and its bytes, if every slot has one key: records of one length, read in place."""
        record = self._plain_record
        count = min(left, len(data) // record.itemsize)
        used = count * record.itemsize
        records = data[:used].view(record)
        slots = records["slots"]
        if not count or (slots["count"] != 1).any():
            return None
        if self.header.has_sums:
            if (records["length"] != self._plain_bytes).any():
                return None
            payload = data[:used].reshape(count, -1)[:, WORD:-1]
            self._compare_sums(np.add.reduce(payload, axis=1, dtype=np.uint8), records["sum"], done)
        labels, dense = (np.ascontiguousarray(records[name], np.float32) for name in ("labels", "dense"))
        self._refuse_nan(labels, dense, done)
        return Rows(labels, dense, OneKeyEach((slots["key"],))), used

    @property
    def _plain_record(self) -> np.dtype[np.void]:
        slot = np.dtype([("count", "<i4"), ("key", self._key_type)])
        payload = [
            ("labels", "<f4", (self.header.label_dim,)),
            ("dense", "<f4", (self.header.dense_dim,)),
            ("slots", slot, (self.header.slots,)),
        ]
        return np.dtype([("length", "<i4"), *payload, ("sum", "u1")] if self.header.has_sums else payload)

    @property
    def _key_type(self) -> str:
        return "<i8" if self.key_bytes == 8 else "<u4"

    def _of_lists(self, data: Array, left: int, done: int) -> tuple[Rows, int] | None:
        """Return the samples of a block and its bytes, whatever number of keys its slots have."""
        starts, ends, used = self._records(data, left, done)
        return (self._rows(data, starts, ends, done), used) if len(starts) else None

    # Where records begin

    def _records(self, data: Array, left: int, done: int) -> tuple[Array, Array, int]:
        """Payload starts and ends of the whole records in `data`, at most `left`, and how many bytes they take."""
        return self._wrapped(data, left, done) if self.header.has_sums else self._bare_lists(data, left, done)

    @property
    def _plain_bytes(self) -> int:
        """The payload of a sample with one key in every slot."""
        return WORD * (self.header.label_dim + self.header.dense_dim) + self.header.slots * (WORD + self.key_bytes)

    def _wrapped(self, data: Array, left: int, done: int) -> tuple[Array, Array, int]:
        """Length, payload, sum: the lengths lead from record to record."""
        starts: list[int] = []
        at, raw = 0, data.data
        while len(starts) < left and at + 4 <= len(raw):
            (length,) = struct.unpack_from("<i", raw, at)
            least = WORD * (self.header.label_dim + self.header.dense_dim + self.header.slots)
            if length < least:
                raise FeedError(f"{self.path}: record {done + len(starts)} has the impossible length {length}")
            if at + 4 + length + 1 > len(raw):
                if length > _MAX_SAMPLE_BYTES:
                    raise FeedError(f"{self.path}: record {done + len(starts)} has the impossible length {length}")
                break
            starts.append(at + 4)
            at += 4 + length + 1
        found = np.asarray(starts, np.int64)
        ends = np.append(found[1:] - 4, at)[: len(found)] - 1
        self._check_sums(data, found, ends, done)
        return found, ends, at

    def _check_sums(self, data: Array, starts: Array, ends: Array, done: int) -> None:
        """Raise FeedError for the first record whose bytes do not add up to its check byte."""
        if len(starts):
            between = np.stack([starts, ends], axis=1).ravel()
            self._compare_sums(np.add.reduceat(data, between, dtype=np.uint8)[::2], data[ends], done)

    def _compare_sums(self, found: Array, stated: Array, done: int) -> None:
        wrong = found != stated
        if wrong.any():
            raise FeedError(f"{self.path}: the check sum of record {done + int(np.argmax(wrong))} is wrong")

    def _bare_lists(self, data: Array, left: int, done: int) -> tuple[Array, Array, int]:
        """Follow the records by a table of jumps: from a word that is a key count to the next key count, `slots` times."""
        words = data[: len(data) // WORD * WORD].view("<i4").astype(np.int64)
        end = len(words)
        jump = np.arange(end + 1) + 1
        counts = np.where((words >= 0) & (words <= MAX_KEYS_PER_SLOT), words, end)
        jump[:-1] += counts * (self.key_bytes // WORD)
        jump = np.minimum(jump, end + 1)
        jump[end] = end + 1
        beyond = np.append(jump, end + 1)
        steps, power, n = np.arange(end + 2), beyond, self.header.slots
        while n:
            if n & 1:
                steps = power[steps]
            power, n = power[power], n >> 1
        starts: list[int] = []
        lead, at = self.header.label_dim + self.header.dense_dim, 0
        following = steps.tolist()
        while len(starts) < left and at + lead <= end:
            after = following[at + lead]
            if after > end:
                self._refuse_impossible(words, at + lead, done + len(starts))
                break
            starts.append(at * WORD)
            at = after
        found = np.asarray(starts, np.int64)
        return found, np.append(found[1:], at * WORD)[: len(found)], at * WORD

    def _refuse_impossible(self, words: Array, at: int, record: int) -> None:
        """Raise FeedError where a record breaks off at a key count that cannot be one, not at the end of the block."""
        for _ in range(self.header.slots):
            if at >= len(words):
                return
            count = int(words[at])
            if not 0 <= count <= MAX_KEYS_PER_SLOT:
                raise FeedError(
                    f"{self.path}: record {record} has a slot of {count} keys: the file is damaged, or its keys are not of "
                    f"{self.key_bytes} bytes"
                )
            at += 1 + count * (self.key_bytes // WORD)

    # What records hold

    def _rows(self, data: Array, starts: Array, ends: Array, done: int) -> Rows:
        label_bytes, dense_bytes = WORD * self.header.label_dim, WORD * self.header.dense_dim
        labels = _gathered(data, starts, "<f4", self.header.label_dim)
        dense = _gathered(data, starts + label_bytes, "<f4", self.header.dense_dim)
        self._refuse_nan(labels, dense, done)
        return Rows(labels, dense, self._keys(data, starts + label_bytes + dense_bytes, ends, done))

    def _refuse_nan(self, labels: Array, dense: Array, done: int) -> None:
        for what, values in (("label", labels), ("dense value", dense)):
            if np.isnan(values.sum()):
                record = int(np.argmax(np.isnan(values).any(1)))
                raise FeedError(f"{self.path}: record {done + record} has a {what} that is NaN")

    def _keys(self, data: Array, at: Array, ends: Array, done: int) -> tuple[Lists, ...]:
        """Return each slot's lists; `at` is where the first slot of every record begins, `ends` where the record ends."""
        slots = []
        for _ in range(self.header.slots):
            self._require(at + WORD <= ends, done)
            counts = _gathered(data, at, "<i4", 1)[:, 0].astype(np.int64)
            self._require((counts >= 0) & (at + WORD + counts * self.key_bytes <= ends), done)
            offsets = np.zeros(len(at) + 1, np.int64)
            np.cumsum(counts, out=offsets[1:])
            firsts = at + WORD - offsets[:-1] * self.key_bytes
            places = np.repeat(firsts, counts) + np.arange(offsets[-1]) * self.key_bytes
            slots.append(Lists(_gathered(data, places, self._key_type, 1)[:, 0].astype(np.int64, copy=False), offsets))
            at = at + WORD + counts * self.key_bytes
        self._require(at == ends, done)
        return tuple(slots)

    def _require(self, holds: Array, done: int) -> None:
        """Raise FeedError for the first record whose slots do not fill it."""
        if not holds.all():
            raise FeedError(
                f"{self.path}: the slots of record {done + int(np.argmin(holds))} do not fill it: the file is damaged, or its "
                f"keys are not of {self.key_bytes} bytes"
            )


def _gathered(data: Array, starts: Array, kind: str, count: int) -> Array:
    """`count` numbers at each of the starts, which need not be aligned, as [n, count]."""
    dtype = np.dtype(kind)
    if not len(starts):
        return np.empty((0, count), dtype)
    positions = len(data) - dtype.itemsize * count + 1
    return np.ndarray((positions, count), dtype, data, strides=(1, dtype.itemsize))[starts]
