"""Inputs as they come in service: known keys, few of them often and most of them seldom, and plausible dense values."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np

from hugectr2onnx.errors import FeedError
from hugectr2onnx.frontend import graph_json, opening
from hugectr2onnx.frontend.clauses import EmbeddingClause, GraphClauses, SparseInput
from hugectr2onnx.frontend.embedding import ONE_HOT
from hugectr2onnx.frontend.importer import ImportOptions
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.frontend.sparse_table import SparseTable
from hugectr2onnx.frontend.weights import resolve
from hugectr2onnx.ir.types import Array
from hugectr2onnx.sample_models.catalog import SamplePaths

PADDING = -1


def sample_feeds(sample: SamplePaths, batch: int, seed: int = 0) -> dict[str, Array]:
    """Inputs of a sample model, by name: see `random_feeds`."""
    return random_feeds(sample.graph, sample.weights, batch, seed)


def random_feeds(
    graph: str | os.PathLike[str] | Mapping[str, object], weights: object, batch: int, seed: int = 0
) -> dict[str, Array]:
    """Inputs for any model: `dense` float32 [batch, dense_dim], each sparse top int64 [batch, slot_num, max_nnz].

    Keys are those of the tables, the r-th most frequent one of a slot with a probability of about 1/r; each slot has
    favourites of its own. Slots of variable length hold 1 to max_nnz keys, then padding. Dense values are like
    log(1 + count); where a SequenceMask reads them they are lengths.
    """
    if batch < 1:
        raise FeedError(f"a batch of {batch} has no samples")
    generator = np.random.default_rng([seed % (1 << 64), batch])
    clauses = graph_json.read(graph, REGISTRY.keys())
    opened = opening.open_tables(clauses, resolve(weights), ImportOptions())
    feeds = {clauses.data.dense_top: _dense(clauses, batch, generator)} if clauses.data.dense_dim else {}
    for sparse, clause in _readers(clauses):
        feeds[sparse.top] = _keys(sparse, clause, opened[clause.top], batch, generator)
    return feeds


def _readers(clauses: GraphClauses) -> Iterator[tuple[SparseInput, EmbeddingClause]]:
    """Each sparse input with the first embedding that reads it."""
    for sparse in clauses.data.sparse:
        readers = [clause for clause in clauses.embeddings if clause.bottom == sparse.top]
        if readers:
            yield sparse, readers[0]


def _dense(clauses: GraphClauses, batch: int, generator: np.random.Generator) -> Array:
    shape = (batch, clauses.data.dense_dim)
    masks = [layer.params for layer in clauses.layers if layer.type == "SequenceMask"]
    if not masks:
        return np.log1p(generator.lognormal(1, 1.5, shape)).astype(np.float32)
    limit = masks[0].get("max_sequence_len", masks[0].get("max_sequence_len_to", 1))
    assert isinstance(limit, int)
    return generator.integers(1, limit + 1, shape).astype(np.float32)


def _keys(
    sparse: SparseInput, clause: EmbeddingClause, table: SparseTable, batch: int, generator: np.random.Generator
) -> Array:
    keys = np.full((batch, sparse.slot_num, sparse.max_nnz), PADDING, np.int64)
    for slot, nnz in enumerate(sparse.nnz_per_slot):
        keys[:, slot, :nnz] = _slot_keys(sparse, clause, table, slot, (batch, nnz), generator)
    if not sparse.is_fixed_length:
        length = generator.integers(1, sparse.max_nnz + 1, (batch, sparse.slot_num, 1))
        keys[np.arange(sparse.max_nnz) >= length] = PADDING
    return keys


def _slot_keys(
    sparse: SparseInput,
    clause: EmbeddingClause,
    table: SparseTable,
    slot: int,
    shape: tuple[int, int],
    generator: np.random.Generator,
) -> Array:
    if clause.type == ONE_HOT:
        return _skewed((clause.slot_size_array or ())[slot], shape, generator)
    count = len(table.keys)
    if table.slot_ids is None:
        rows = (_skewed(count, shape, generator) + slot * count // sparse.slot_num) % max(count, 1)
    else:
        own = np.flatnonzero(np.asarray(table.slot_ids) == slot)
        count, rows = len(own), own[_skewed(len(own), shape, generator)] if len(own) else own
    return table.keys[rows] if count else np.zeros(shape, np.int64)


def _skewed(count: int, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Ranks from 0 to count - 1, rank r with a probability of about 1 / (r + 1)."""
    ranks = np.exp(generator.random(shape) * np.log(max(count, 1) + 1)).astype(np.int64) - 1
    return np.minimum(ranks, max(count, 1) - 1)
