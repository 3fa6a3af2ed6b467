"""The inputs on which files are timed: samples of a data set, or drawn ones whose keys the model knows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from onnx import helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.errors import FeedError
from hugectr2onnx.frontend.embeddings.interface import ALL_KEYS, ALL_OFFSETS, DENSE
from hugectr2onnx.frontend.graph_json import data_metadata
from hugectr2onnx.frontend.graph_json.clauses import DataClause
from hugectr2onnx.ir.feeds import PADDING
from hugectr2onnx.ir.given_feeds import OFFSETS
from hugectr2onnx.ir.types import Array
from hugectr2onnx.latency.bound_calls import Feed
from hugectr2onnx.latency.known_keys import KeySource, KnownKeys, known_keys

MAX_FEEDS = 8
_MAX_SAMPLES = 8192
"""Samples of all feeds of a batch together: those of a large one are fewer, for their keys differ enough among themselves."""
_DIM = re.compile(r"([1-9][0-9]*)?N(?:/([1-9][0-9]*))?")


def feed_count(batch: int) -> int:
    """Tell how many feeds of a batch take turns."""
    return max(1, min(MAX_FEEDS, _MAX_SAMPLES // batch))


@dataclass(frozen=True)
class FileInput:
    """One input of a file; a dimension is a number, or the name of a free one."""

    name: str
    dtype: np.dtype[Any]
    dims: tuple[int | str, ...]

    def shape(self, batch: int, width: int = 1) -> tuple[int, ...]:
        """Return the shape at a batch; other free dimensions get `width`. Raises FeedError for a batch the file refuses."""
        first = self.dims[0] if self.dims else None
        if isinstance(first, int) and first != batch and len(self.dims) > 1:
            raise FeedError(f"input {self.name} takes batches of {first} alone: measure that batch")
        return tuple(_length(dim, axis, batch, width) for axis, dim in enumerate(self.dims))


def _length(dim: int | str, axis: int, batch: int, width: int) -> int:
    if isinstance(dim, int):
        return dim
    match = _DIM.fullmatch(dim)
    if match:
        return batch * int(match[1] or 1) // int(match[2] or 1)
    return batch if axis == 0 else width


def entries_of(artifact: Artifact) -> list[FileInput]:
    """Return the inputs of a file; old ones list their constants among them."""
    graph = artifact.skeleton.graph
    constants = {tensor.name for tensor in graph.initializer}
    found = []
    for value in graph.input:
        if value.name not in constants:
            tensor = value.type.tensor_type
            dims = tuple(
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim
            )
            found.append(FileInput(value.name, np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)), dims))
    return found


@dataclass(frozen=True, eq=False)
class DrawnFeeds:
    """Random inputs of a file: keys that it knows, each as likely as the others, and dense values like log(1 + count)."""

    artifact: Artifact
    seed: int = 0

    @cached_property
    def entries(self) -> Mapping[str, FileInput]:
        return {entry.name: entry for entry in entries_of(self.artifact)}

    @cached_property
    def _data(self) -> DataClause | None:
        """What the file records of the Data layer that it came from."""
        props = {entry.key: entry.value for entry in self.artifact.skeleton.metadata_props}
        recorded = props.get(data_metadata.DATA_METADATA_KEY)
        return data_metadata.from_metadata(recorded) if recorded is not None else None

    @cached_property
    def _known(self) -> list[tuple[KeySource, KnownKeys]]:
        return [(source, known_keys(self.artifact, source, self.seed)) for source in self._sources()]

    @property
    def name(self) -> str:
        """What the inputs are."""
        told = all(known.asked for _, known in self._known)
        return (
            "drawn inputs, with keys that the model knows"
            if told
            else "drawn inputs; whether it knows the keys is not told"
        )

    def feed(self, batch: int, seed: int = 0) -> dict[str, Array]:
        """Return one feed. Raises FeedError for a batch that the file does not take."""
        generator = np.random.default_rng([self.seed, batch, seed])
        feed: dict[str, Array] = {}
        for source, known in self._known:
            keys = self._keys(source, known, batch, generator)
            if len(source.inputs) > 1:
                values, offsets = _compressed(keys, keys != PADDING)
                feed |= {source.inputs[0]: values, source.inputs[1]: offsets}
            else:
                feed |= source.feed(keys)
        if ALL_KEYS in self.entries:
            drawn = {source.name: self._keys(source, known, batch, generator) for source, known in self._known}
            feed |= _client_request({top: (keys, keys != PADDING) for top, keys in drawn.items()})
        for entry in self.entries.values():
            if entry.name not in feed:
                feed[entry.name] = self._numbers(entry, batch, generator)
        return {name: feed[name] for name in self.entries}

    def feeds(self, batch: int) -> list[dict[str, Array]]:
        """Return feeds of a batch that take turns."""
        return [self.feed(batch, seed) for seed in range(feed_count(batch))]

    # Keys

    def _sources(self) -> list[KeySource]:
        recorded = {sparse.top: sparse for sparse in self._data.sparse} if self._data is not None else {}
        if ALL_KEYS in self.entries:
            return [
                KeySource(top, (ALL_KEYS, ALL_OFFSETS), sparse.slot_num, 1, self._joined_alone(top))
                for top, sparse in recorded.items()
            ]
        found = []
        for entry in self.entries.values():
            top, shape = entry.name, entry.shape(entry.dims[0] if entry.dims and isinstance(entry.dims[0], int) else 1)
            if top in recorded and f"{top}{OFFSETS}" in self.entries:
                slots = recorded[top].slot_num
                found.append(KeySource(top, (top, f"{top}{OFFSETS}"), slots, 1, _sparse_rows(top)))
            elif entry.dtype.kind in "iu" and len(shape) >= 2 and 0 not in shape:
                width = shape[2] if len(shape) > 2 else 1
                found.append(KeySource(top, (top,), shape[1], width, _padded(entry)))
        return found

    def _keys(self, source: KeySource, known: KnownKeys, batch: int, generator: np.random.Generator) -> Array:
        """i64[batch, slots, width]: as many keys as the largest slot of training had, or fewer where their number is free."""
        most, is_free = self._hotness(source)
        shape = (batch, most)
        keys = np.stack([generator.choice(own, shape) for own in known.slots], axis=1)
        if is_free and most > 1:
            counts = generator.integers(1, most + 1, (batch, source.slots, 1))
            keys = np.where(np.arange(most) < counts, keys, PADDING)
        return keys.astype(np.int64)

    def _hotness(self, source: KeySource) -> tuple[int, bool]:
        entry = self.entries.get(source.name)
        if entry is not None and len(entry.dims) > 2 and isinstance(entry.dims[2], int):
            return entry.dims[2], False
        sparse = next((each for each in self._data.sparse if each.top == source.name), None) if self._data else None
        most = max(sparse.nnz_per_slot, default=1) if sparse is not None else 1
        return (1, False) if entry is not None and len(entry.dims) == 2 else (most, True)

    def _joined_alone(self, top: str) -> Any:
        """Makes the inputs of HugeCTR's clients from the keys of one top; the others get none."""
        assert self._data is not None
        slots = {sparse.top: sparse.slot_num for sparse in self._data.sparse}

        def feed(keys: Array) -> dict[str, Array]:
            empty = {name: np.full((len(keys), count, 1), PADDING, np.int64) for name, count in slots.items()}
            sent = {name: (array, array != PADDING) for name, array in empty.items()}
            return _client_request({**sent, top: (keys, np.ones(keys.shape, bool))})

        return feed

    # Numbers

    def _numbers(self, entry: FileInput, batch: int, generator: np.random.Generator) -> Array:
        columns = self._data.dense_dim if self._data is not None else 1
        shape = (batch * columns,) if entry.name == DENSE else entry.shape(batch)
        is_dense = self._data is not None and entry.name in (DENSE, self._data.dense_top)
        numbers = np.log1p(generator.lognormal(0, 1, shape)) if is_dense else generator.normal(0, 1, shape)
        return numbers.astype(entry.dtype)


def _padded(entry: FileInput) -> Any:
    """Makes an input of padded keys in the rank and the type of the file."""

    def feed(keys: Array) -> dict[str, Array]:
        shaped = keys if len(entry.dims) > 2 else keys[..., 0]
        return {entry.name: np.ascontiguousarray(shaped, entry.dtype)}

    return feed


def _sparse_rows(top: str) -> Any:
    """Makes compressed sparse rows in which every place of padded keys is a key."""

    def feed(keys: Array) -> dict[str, Array]:
        values, offsets = _compressed(keys, np.ones(keys.shape, bool))
        return {top: values, f"{top}{OFFSETS}": offsets}

    return feed


def _compressed(keys: Array, sent: Array) -> tuple[Array, Array]:
    """Return the keys that are sent, slot by slot, and where each slot begins."""
    counts = sent.sum(axis=-1).reshape(-1)
    return keys[sent], np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _client_request(keys: Mapping[str, tuple[Array, Array]]) -> dict[str, Array]:
    parts = [_compressed(*each) for each in keys.values()]
    return {
        ALL_KEYS: np.concatenate([values for values, _ in parts]),
        ALL_OFFSETS: np.concatenate([offsets for _, offsets in parts]).astype(np.int32),
    }


# Samples of a data set


@dataclass(frozen=True, eq=False)
class DatasetFeeds:
    """The first samples of a data set; from the first on again where there are fewer than a batch needs."""

    name: str
    inputs: Feed
    rows: int

    @staticmethod
    def open(data: Any, model: Any, batches: Sequence[int], **options: Any) -> DatasetFeeds:
        """Raises FeedError for data that does not fit the model or holds no samples."""
        from hugectr2onnx.datasets.dataset import open_dataset

        needed = max(batch * feed_count(batch) for batch in batches)
        dataset = open_dataset(data, model, **{**options, "batch_size": needed})
        name = os.fspath(data) if isinstance(data, str | os.PathLike) else dataset.name
        for batch in dataset.batches():
            inputs = {name: np.asarray(array) for name, array in batch.inputs.items()}
            lengths = {len(array) for array in inputs.values()}
            if len(lengths) != 1:
                raise FeedError(
                    f"{name}: the inputs hold no row for each sample: give data for a model with padded keys"
                )
            return DatasetFeeds(f"samples of {name}", inputs, lengths.pop())
        raise FeedError(f"{name}: holds no samples")

    def feeds(self, batch: int) -> list[dict[str, Array]]:
        """Return feeds of a batch that take turns, one behind the other in the data."""
        starts = (batch * number for number in range(feed_count(batch)))
        places = [np.arange(start, start + batch) % self.rows for start in starts]
        return [{name: array[each] for name, array in self.inputs.items()} for each in places]
