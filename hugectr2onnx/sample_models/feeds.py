"""Inputs as they come in service: known keys, few of them often and most of them seldom, and plausible dense values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import FeedError
from hugectr2onnx.frontend import loading
from hugectr2onnx.frontend.extra_inputs import extra_inputs
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.graph_json.clauses import EmbeddingClause, GraphClauses, SparseInput
from hugectr2onnx.frontend.graph_json.embedding import ONE_HOT
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.frontend.weights.snapshot import resolve
from hugectr2onnx.frontend.weights.sparse_table import SparseTable
from hugectr2onnx.ir.feeds import PADDING
from hugectr2onnx.ir.types import Array, Batch
from hugectr2onnx.options import Options
from hugectr2onnx.sample_models.catalog import SamplePaths
from hugectr2onnx.sample_models.plans import reader_sizes


def sample_feeds(sample: SamplePaths, batch: int, seed: int = 0) -> dict[str, Array]:
    """Return inputs of a sample model, by name: see `random_feeds`."""
    return random_feeds(sample.graph, sample.weights, batch, seed, slot_size_array=sample.slot_size_array)


def random_feeds(
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: object,
    batch: int,
    seed: int = 0,
    *,
    input_shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    slot_size_array: Sequence[int] | None = None,
) -> dict[str, Array]:
    """Return inputs for any model: `dense` float32 [batch, dense_dim], each sparse top int64 [batch, slot_num, max_nnz].

    Keys are those of the tables, the r-th most frequent one of a slot with a probability of about 1/r; each slot has
    favourites of its own. `slot_size_array` is the reader's list by which the keys in the tables were offset: a slot then
    gets keys of its own range, and padding where none was seen. Slots of variable length hold 1 to max_nnz keys, then padding.

    Dense values are like log(1 + count); where a SequenceMask reads them they are lengths. The tensors of `input_shapes`,
    as given to `compile`, are normal. Raises HugeCTR2ONNXError for files that cannot be read.
    """
    if batch < 1:
        raise FeedError(f"a batch of {batch} has no samples")
    generator = np.random.default_rng([seed % (1 << 64), batch])
    clauses = reader.read(graph, REGISTRY.keys())
    options = Options(input_shapes=input_shapes or {})
    shapes = extra_inputs(options.input_shapes, clauses)
    tables = loading.open_tables(clauses, resolve(weights), options)
    feeds = {clauses.data.dense_top: _dense(clauses, batch, generator)} if clauses.data.dense_dim else {}
    declared = dict(reader_sizes(clauses.data, slot_size_array or ()))
    for sparse in clauses.data.sparse:
        readers = [clause for clause in clauses.embeddings if clause.bottom == sparse.top and clause.top in tables]
        if readers:
            first, sizes = declared.get(sparse.top, (0, ()))
            known = _KnownKeys(sparse, readers[0], tables[readers[0].top], first, sizes)
            feeds[sparse.top] = _keys(known, batch, generator)
    for name, shape in shapes.items():
        concrete = [dim.at(batch) if isinstance(dim, Batch) else dim for dim in shape]
        feeds[name] = generator.normal(0, 1, concrete).astype(np.float32)
    return feeds


def _dense(clauses: GraphClauses, batch: int, generator: np.random.Generator) -> Array:
    shape = (batch, clauses.data.dense_dim)
    masks = [layer.params for layer in clauses.layers if layer.type == "SequenceMask"]
    if not masks:
        return np.log1p(generator.lognormal(0, 1, shape)).astype(np.float32)
    limit = masks[0].get("max_sequence_len", masks[0].get("max_sequence_len_to", 1))
    assert isinstance(limit, int)
    return generator.integers(1, limit + 1, shape).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _KnownKeys:
    """The table behind a sparse input; `first` and `sizes` are the ranges of its slots, where they are known."""

    sparse: SparseInput
    clause: EmbeddingClause
    table: SparseTable
    first: int
    sizes: tuple[int, ...]

    def of_slot(self, slot: int) -> Array:
        """Return the keys that a slot may hold, the most frequent one first."""
        if self.clause.type == ONE_HOT:
            return np.arange((self.clause.slot_size_array or ())[slot])
        keys: Array = np.asarray(self.table.keys)
        own: Array
        if self.table.slot_ids is not None:
            own = keys[np.asarray(self.table.slot_ids) == slot]
        elif any(self.sizes[slot : slot + 1]):
            start = self.first + sum(self.sizes[:slot])
            own = keys[(keys >= start) & (keys < start + self.sizes[slot])]
        else:
            own = np.roll(keys, -(slot * len(keys) // self.sparse.slot_num))
        return own


def _keys(known: _KnownKeys, batch: int, generator: np.random.Generator) -> Array:
    sparse = known.sparse
    keys = np.full((batch, sparse.slot_num, sparse.max_nnz), PADDING, np.int64)
    for slot, nnz in enumerate(sparse.nnz_per_slot):
        candidates = known.of_slot(slot)
        if len(candidates):
            keys[:, slot, :nnz] = candidates[_skewed(len(candidates), (batch, nnz), generator)]
    if not sparse.is_fixed_length:
        length = generator.integers(1, sparse.max_nnz + 1, (batch, sparse.slot_num, 1))
        keys[np.arange(sparse.max_nnz) >= length] = PADDING
    return keys


def _skewed(count: int, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Ranks from 0 to count - 1, rank r with a probability of about 1 / (r + 1)."""
    ranks: Array = np.exp(generator.random(shape) * np.log(count + 1)).astype(np.int64) - 1
    return ranks.clip(max=count - 1)
