"""Find keys that an ONNX file knows, slot by slot, by asking its own key maps: no snapshot is needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime.touched_rows import rows_of
from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables.key_index import MAX_KEY
from hugectr2onnx.verification.row_finder import Feeder, RowFinder
from hugectr2onnx.verification.table_gathers import TableGathers

DRAWN_CANDIDATES = 1 << 14
"""Keys that are tried of each constant that may hold some; fewer where a model has many slots."""
MAX_LOOKUPS = 1 << 23
"""Look-ups that all tries of one input may take together."""
MAX_SCALARS = 16
_UNKNOWN = (1 << 62) - 1
"""A key that no table of HugeCTR holds; still one where an offset is added to it."""


@dataclass(frozen=True, eq=False)
class KeySource:
    """The keys of one sparse top: the inputs that they come in by, and how those are made of keys i64[n, slots, width]."""

    name: str
    inputs: tuple[str, ...]
    slots: int
    width: int
    feed: Feeder


@dataclass(frozen=True, eq=False)
class KnownKeys:
    """Keys by slot; `asked` is whether the file's key maps have told them apart from keys that it lacks."""

    slots: tuple[Array, ...]
    asked: bool


def known_keys(artifact: Artifact, source: KeySource, seed: int = 0) -> KnownKeys:
    """Return some keys for each slot of a source: those that find a row where the file can be asked, else likely ones."""
    generator = np.random.default_rng(seed)
    indices = TableGathers(artifact).indices_of(source.inputs)
    if not indices:
        return KnownKeys((np.arange(1),) * source.slots, asked=False)
    if source.inputs[0] in indices:
        rows = np.arange(_fewest_rows(artifact, source.inputs[0]))
        return KnownKeys((rows,) * source.slots, asked=True)
    part = rows_of(artifact, [index for index in indices if index not in source.inputs])
    limit = max(64, min(DRAWN_CANDIDATES, MAX_LOOKUPS // (2 * source.slots * source.slots * source.width)))
    likely = _sample(np.unique(np.concatenate(list(_likely(artifact, part, limit, generator)))), 2 * limit, generator)
    try:
        finder = RowFinder(artifact, source.inputs, (1, source.slots, source.width), indices, source.feed)
        found = [_known(finder, source, slot, own) for slot, own in enumerate(_by_slot(part, source, likely))]
    except HugeCTR2ONNXError:
        # A file of another converter may fail on a key that it lacks.
        return KnownKeys((_sure(part, likely),) * source.slots, asked=False)
    return KnownKeys(tuple(keys if len(keys) else likely[:1] for keys in found), asked=True)


def _known(finder: RowFinder, source: KeySource, slot: int, keys: Array) -> Array:
    """Return the keys that find another row in a slot than a key that the table lacks; all other slots hold none."""
    tried = np.full((len(keys), source.slots, source.width), _UNKNOWN, np.int64)
    strange = finder.rows(tried[:1].reshape(1, -1))
    tried[:, slot, 0] = keys
    rows = finder.rows(tried.reshape(len(keys), -1))
    # A row below 0 is what a direct map gives for a key below its own.
    known: Array = keys[((rows != strange) & (rows >= 0)).any(axis=1)]
    return known


def _likely(artifact: Artifact, part: Artifact, limit: int, generator: np.random.Generator) -> Iterator[Array]:
    """Yield keys that encoders and hashes hold, and the numbers of as many rows as tables have, from every bound on."""
    yield np.arange(min(limit, _most_rows(artifact)))
    yield generator.integers(0, max(1, _most_rows(artifact)), limit)
    yield from (_sample(keys, limit, generator) for keys in _encoded(part))
    scalars: list[int] = []
    for tensor in part.skeleton.graph.initializer:
        if tensor.data_type != onnx.TensorProto.INT64:
            continue
        if math.prod(tensor.dims) == 1:
            scalars.append(int(numpy_helper.to_array(tensor).reshape(-1)[0]))
        elif tensor.name in part.tensors:
            blob = part.tensors[tensor.name]
            yield blob.rows(np.unique(generator.integers(0, blob.shape[0], limit))).reshape(-1)
        else:
            yield _sample(numpy_helper.to_array(tensor).reshape(-1), limit, generator)
    for low in list(dict.fromkeys(scalars))[:MAX_SCALARS]:
        if -1 <= low < 1 << 61:
            yield low + np.arange(limit)


def _encoded(part: Artifact) -> Iterator[Array]:
    for node in part.skeleton.graph.node:
        for attribute in node.attribute if node.op_type == "LabelEncoder" else ():
            if attribute.name == "keys_tensor" and attribute.t.data_type == onnx.TensorProto.INT64:
                yield numpy_helper.to_array(attribute.t).reshape(-1)
            elif attribute.name == "keys_int64s":
                yield np.asarray(attribute.ints, np.int64)


def _sure(part: Artifact, likely: Array) -> Array:
    """Return the keys of encoders, where there are any."""
    encoded = list(_encoded(part))
    return np.concatenate(encoded) if encoded else likely[:1]


def _by_slot(part: Artifact, source: KeySource, likely: Array) -> Iterator[Array]:
    """Yield the likely keys of each slot: as the table holds them, and less what the slot adds to its keys."""
    columns = [column for column in _columns(part, source.slots) if (np.abs(column) < 1 << 61).all()]
    for slot in range(source.slots):
        moved = [likely - column[slot] for column in columns]
        keys = np.unique(np.concatenate([likely, *moved]))
        yield keys[(keys >= 0) & (keys < _UNKNOWN)]


def _columns(part: Artifact, slots: int) -> Iterator[Array]:
    """Yield constants with a number for each slot: offsets, or the largest keys to which they can be added."""
    for tensor in part.skeleton.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT64 and math.prod(tensor.dims) == slots > 1:
            column = (
                part.tensors[tensor.name].materialise()
                if tensor.name in part.tensors
                else numpy_helper.to_array(tensor)
            ).reshape(-1)
            yield column
            yield MAX_KEY - np.abs(column)


def _most_rows(artifact: Artifact) -> int:
    return max((int(each.dims[0]) for each in artifact.skeleton.graph.initializer if len(each.dims) == 2), default=1)


def _fewest_rows(artifact: Artifact, index: str) -> int:
    """Return rows that every table has which is gathered from by an input itself."""
    rows = {each.name: int(each.dims[0]) for each in artifact.skeleton.graph.initializer if each.dims}
    tables = [n.input[0] for n in artifact.skeleton.graph.node if n.op_type == "Gather" and index in n.input]
    return min((rows[name] for name in tables if name in rows), default=1)


def _sample(keys: Array, limit: int, generator: np.random.Generator) -> Array:
    return keys if len(keys) <= limit else generator.choice(keys, limit, replace=False)
