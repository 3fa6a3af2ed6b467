"""Data that is already in the form of the model's inputs: `.npz` files and iterators of `{name: array}`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from hugectr2onnx.datasets.row_batch import RowBatch
from hugectr2onnx.datasets.schema import KeyInput, Schema
from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.feeds import PADDING
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables.npy_file import header_of
from hugectr2onnx.tables.regular_file import open_regular

MAX_ROW_BYTES = 64 << 20


@dataclass(frozen=True)
class ArraySource:
    """`.npz` files, each with one array for each input, and for labels that it has."""

    paths: tuple[Path, ...]
    schema: Schema
    counts: tuple[int, ...]
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(self.counts)

    def pieces(self, size: int) -> Iterator[RowBatch]:
        """Yield the samples in order, `size` at a time; an array is never held as a whole."""
        for path in self.paths:
            with ExitStack() as stack:
                members = _opened(path, self.schema, stack)
                yield from _batches(path, members, self.schema, size)


@dataclass(frozen=True)
class Member:
    """One array of an archive, read row by row."""

    name: str
    stream: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def take(self, count: int, path: Path) -> Array:
        row = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        try:
            data = self.stream.read(count * row)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise FeedError(f"{path}: the array {self.name} is damaged: {error}") from error
        if len(data) < count * row:
            raise FeedError(f"{path}: the array {self.name} is shorter than its header says")
        return np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])


def open_npz(paths: Sequence[Path], schema: Schema) -> ArraySource:
    """Archives that hold every input of the model. Raises FeedError for those that do not."""
    counts = []
    for path in paths:
        with ExitStack() as stack:
            counts.append(_check(path, _opened(path, schema, stack), schema))
    return ArraySource(tuple(paths), schema, tuple(counts))


def _opened(path: Path, schema: Schema, stack: ExitStack) -> dict[str, Member]:
    """Return the arrays of an archive that the model knows by name, only their headers read."""
    try:
        file = stack.enter_context(open_regular(path, FeedError, "an .npz archive"))
        archive = stack.enter_context(zipfile.ZipFile(file))
        names = {name.removesuffix(".npy"): name for name in archive.namelist()}
        missing = [name for name in schema.inputs if name not in names]
        if missing:
            raise FeedError(f"{path}: lacks the array {', '.join(missing)}; it has {_listed(names)}")
        wanted = [*schema.inputs, *_labels_in(names, schema)]
        return {name: _member(names[name], archive, stack, path) for name in wanted}
    except FeedError:
        raise
    except Exception as error:
        # zipfile and numpy raise a dozen kinds of error for damaged archives.
        raise FeedError(f"{path}: is not an .npz archive that can be read: {error}") from error


def _member(name: str, archive: zipfile.ZipFile, stack: ExitStack, path: Path) -> Member:
    stream = stack.enter_context(archive.open(name))
    shape, fortran, dtype = header_of(stream)
    where = f"{path}: the array {name.removesuffix('.npy')}"
    if dtype.kind not in "fiub":
        raise FeedError(f"{where} is {dtype}; expected numbers")
    if fortran and len(shape) > 1:
        raise FeedError(f"{where} is in Fortran order; write it with numpy.ascontiguousarray")
    if not shape:
        raise FeedError(f"{where} has the shape {list(shape)}; expected one row a sample")
    if dtype.itemsize * int(np.prod(shape[1:], dtype=np.float64)) > MAX_ROW_BYTES:
        raise FeedError(f"{where} has rows of more than {MAX_ROW_BYTES} bytes")
    return Member(name.removesuffix(".npy"), stream, shape, dtype)


def _check(path: Path, members: Mapping[str, Member], schema: Schema) -> int:
    used = [members[name] for name in (*schema.inputs, *_labels_in(members, schema))]
    first = used[0]
    for each in used:
        if each.shape[0] != first.shape[0]:
            raise FeedError(
                f"{path}: {each.name} has {each.shape[0]} rows and {first.name} {first.shape[0]}; all need as many"
            )
    return int(first.shape[0])


def _labels_in(members: Mapping[str, Any], schema: Schema) -> list[str]:
    return [label.name for label in schema.labels if label.name in members]


def _batches(path: Path, members: Mapping[str, Member], schema: Schema, size: int) -> Iterator[RowBatch]:
    labels = _labels_in(members, schema)
    left = rows = members[schema.inputs[0]].shape[0]
    while left:
        count = min(size, left)
        inputs = {name: members[name].take(count, path) for name in schema.inputs}
        truth = {name: members[name].take(count, path) for name in labels}
        yield shaped(RowBatch(inputs, truth), schema, str(path), rows - left)
        left -= count


@dataclass(frozen=True)
class IterableSource:
    """An iterator of `{name: array}`, each a few samples in the form of the model's inputs."""

    batches: Iterable[Mapping[str, Any]]
    schema: Schema
    rows: int | None = None
    warnings: tuple[str, ...] = ()

    def pieces(self, size: int) -> Iterator[RowBatch]:
        """Yield the samples in order, as they come."""
        has: tuple[str, ...] | None = None
        for number, given in enumerate(self.batches):
            where = f"batch {number}"
            if not isinstance(given, Mapping):
                raise FeedError(f"{where} is a {type(given).__name__}; expected arrays by the names of the inputs")
            missing = [name for name in self.schema.inputs if name not in given]
            if missing:
                raise FeedError(f"{where} lacks the input {', '.join(missing)}")
            labels = {name: given[name] for name in _labels_in(given, self.schema)}
            arrays = _as_arrays({**{name: given[name] for name in self.schema.inputs}, **labels}, where)
            _require_rows(arrays, where)
            has = tuple(labels) if has is None else has
            if has != tuple(labels):
                raise FeedError(f"{where} has the labels {_listed(labels)}, and those before it {_listed(has)}")
            inputs = {name: arrays[name] for name in self.schema.inputs}
            batch = RowBatch(inputs, {name: arrays[name] for name in labels})
            for start in range(0, len(batch), size):
                yield shaped(batch.part(start, min(start + size, len(batch))), self.schema, where, start)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _as_arrays(given: Mapping[str, Any], where: str) -> dict[str, Array]:
    try:
        return {name: np.asarray(value) for name, value in given.items()}
    except (ValueError, TypeError, OverflowError) as error:
        raise FeedError(f"{where} holds something that is not an array: {error}") from None


def _require_rows(arrays: Mapping[str, Array], where: str) -> None:
    """Raise FeedError for arrays that do not have as many rows as each other."""
    rows = {name: len(array) if array.ndim else -1 for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        one, n = next(iter(rows.items()))
        other, m = next((name, count) for name, count in rows.items() if count != n)
        raise FeedError(f"{where}: {one} has {n} rows and {other} {m}; all inputs of a batch need as many")


def shaped(batch: RowBatch, schema: Schema, where: str, first: int = 0) -> RowBatch:
    """Return the batch in the types and ranks that the model takes: float32 values, int64 keys, [n, columns] labels.

    Keys [n, slots] stand for [n, slots, 1]. `first` is the number of its first row. Raises FeedError for arrays that do not
    fit, and for NaN.
    """
    inputs = dict(batch.inputs)
    if schema.dense is not None and schema.feeds_dense:
        inputs[schema.dense] = _floats(inputs[schema.dense], schema.dense_dim, f"{where}: {schema.dense}", first)
    for sparse in (each for each in schema.sparse if each.is_fed):
        keys = inputs[sparse.name]
        if keys.dtype.kind not in "iu":
            raise FeedError(f"{where}: {sparse.name} is {keys.dtype}; keys are integers")
        keys = keys[:, :, None] if keys.ndim == 2 else keys
        if keys.ndim != 3 or keys.shape[1] != sparse.slots or sparse.width not in (None, keys.shape[2]):
            wanted = f"[n, {sparse.slots}, {sparse.width or 'any'}]"
            raise FeedError(f"{where}: {sparse.name} has the shape {list(keys.shape)}; the model takes {wanted}")
        keys = keys.view(np.int64) if keys.dtype == np.uint64 else keys.astype(np.int64, copy=False)
        inputs[sparse.name] = _moved(keys, sparse, schema)
    labels = {
        label.name: _floats(batch.labels[label.name], label.columns, f"{where}: {label.name}", first)
        for label in schema.labels
        if label.name in batch.labels
    }
    return RowBatch(inputs, labels, batch.ids, padding=schema.padding)


def _moved(keys: Array, sparse: KeyInput, schema: Schema) -> Array:
    """Return keys [n, slots, width] with the offset of each slot added to all but padding."""
    if not schema.offsets:
        return keys
    first = sum(each.slots for each in schema.sparse[: schema.sparse.index(sparse)])
    offsets = np.asarray(schema.offsets[first : first + sparse.slots], np.int64)[:, None]
    is_padding = keys < 0 if schema.padding == PADDING else keys == schema.padding
    return np.where(is_padding, keys, keys + offsets)


def _floats(values: Array, columns: int, where: str, first: int) -> Array:
    if values.dtype.kind not in "fiub":
        raise FeedError(f"{where} is {values.dtype}; expected numbers")
    if values.size != len(values) * columns:
        raise FeedError(f"{where} has the shape {list(values.shape)}; the model takes [n, {columns}]")
    with np.errstate(over="ignore"):
        floats: Array = values.reshape(len(values), columns).astype(np.float32, copy=False)
    if np.isnan(floats.sum()) and np.isnan(floats).any():
        raise FeedError(f"{where} has NaN at row {first + int(np.argmax(np.isnan(floats).any(axis=1)))}")
    return floats
