"""Embedding layers -> look-ups on the keys of the interface, or their vectors as inputs (formats 1.4, 2, 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from hugectr2onnx.errors import HugeCTR2ONNXError, OptionError, Setting, UnsupportedError, WeightsError
from hugectr2onnx.frontend.embeddings.keys import Keys, check_padding, exclusive_sum, table_column
from hugectr2onnx.frontend.embeddings.table_options import TableOptions
from hugectr2onnx.frontend.graph_json.clauses import DataClause, EmbeddingClause, SparseInput
from hugectr2onnx.frontend.graph_json.embedding import HYBRID, LOCALIZED, ONE_HOT
from hugectr2onnx.frontend.weights.key_filter import few_kept, keep
from hugectr2onnx.frontend.weights.localized import check_gpus, check_slot_ids, infer_gpus
from hugectr2onnx.frontend.weights.sparse_table import SparseTable
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.lookup import VECTORS, Embedding, LocalizedEmbedding
from hugectr2onnx.ir.types import Array, N, f32
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.vectors import vectors_of

_CHECKED_BYTES = 1 << 20
_THREADED_BYTES = 32 << 20


def check_slot_sizes(sizes: Sequence[int], data: DataClause) -> str | None:
    """Return a warning where the reader's list has fewer entries than there are slots. Raises OptionError where it has more."""
    slots = sum(sparse.slot_num for sparse in data.sparse)
    if len(sizes) > slots:
        raise OptionError(f"slot_size_array has {len(sizes)} entries for {slots} slots", option="slot_size_array")
    if 0 < len(sizes) < slots:
        return f"slot_size_array has {len(sizes)} entries for {slots} slots: nothing is added to the keys of the others"
    return None


def look_up(
    graph: Graph,
    clause: EmbeddingClause,
    keys: Keys,
    table: SparseTable,
    options: TableOptions,
    warn: Callable[[str], None],
) -> Value:
    """Return the pooled vectors f32[N, slot, vec] of one embedding layer."""
    with ThreadPoolExecutor(1) as pool:
        damaged = pool.submit(has_nan, table.vectors)
        unique = table_column(table.keys, keys.padding_key).index.unique
    slots = keys.slots
    _check_table(clause, table, keys, damaged.result(), warn)
    # Which row a repeated key means is found out from all rows, those that nobody asks for among them.
    by_slot = not unique or (clause.type == LOCALIZED and (options.n_gpus or 1) > 1)
    gpus = _gpus(clause, table, slots, options.n_gpus, warn) if by_slot else 1
    if options.keep is not None:
        table = _kept(clause, table, options.keep, warn)
    if clause.type == ONE_HOT:
        keys = keys.moved(exclusive_sum(clause.slot_size_array or ()))
    operands = [
        keys.column(graph, table.keys, f"{clause.top}.keys"),
        graph.const(vectors_of(table.vectors), f"{clause.top}{VECTORS}"),
    ]
    format = options.row_format
    if not by_slot:
        return keys.look_up(Embedding(clause.combiner, clause.default_value, row_format=format), *operands)
    operands.append(graph.const(np.asarray(table.slot_ids), f"{clause.top}.slot_ids"))
    op = LocalizedEmbedding(clause.combiner, clause.default_value, gpus, tuple(range(slots)), row_format=format)
    return keys.look_up(op, *operands)


def vector_input(graph: Graph, clause: EmbeddingClause, sparse: SparseInput) -> Value:
    """Return the input f32[N, slot, vec] that stands for an embedding layer which is not converted."""
    return graph.input(clause.top, f32(N, sparse.slot_num, clause.vec_size))


def refuse_hybrid(clause: EmbeddingClause, sparse: SparseInput) -> HugeCTR2ONNXError:
    """HybridSparseEmbedding never writes its table (formats 2.4), so only its vectors can come in."""
    return UnsupportedError(
        f"layers[{clause.index}] {HYBRID} {clause.top}: HugeCTR never writes the tables of this type, so its look-up "
        "cannot be converted. To convert the dense part, feed the vectors yourself: ",
        Setting("input_shapes", {clause.top: ("N", sparse.slot_num, clause.vec_size)}),
    )


def _gpus(
    clause: EmbeddingClause, table: SparseTable, slots: int, n_gpus: int | None, warn: Callable[[str], None]
) -> int:
    """Return the GPUs of a table whose rows depend on the slot: as given, else as its repeated keys tell."""
    where = _where(clause)
    if table.slot_ids is None:
        raise WeightsError(
            f"{where}: {table.path} has no slot_id file, which tells on which GPU a row was", option="n_gpus"
        )
    keys, slot_ids = np.asarray(table.keys), np.asarray(table.slot_ids)
    if n_gpus:
        check_gpus(keys, slot_ids, n_gpus, where)
    gpus = n_gpus or infer_gpus(keys, slot_ids, slots, where)
    warn(f"{where}: a slot s reads only the rows whose slot_id is s modulo {gpus} GPUs")
    return gpus


def _kept(clause: EmbeddingClause, table: SparseTable, wanted: Array, warn: Callable[[str], None]) -> SparseTable:
    kept = keep(table, wanted)
    if doubt := few_kept(table, kept, wanted):
        warn(f"{_where(clause)}: {doubt}")
    return kept


def _where(clause: EmbeddingClause) -> str:
    return f"layers[{clause.index}] {clause.type} {clause.top}"


def _check_table(
    clause: EmbeddingClause, table: SparseTable, keys: Keys, damaged: bool, warn: Callable[[str], None]
) -> None:
    where = _where(clause)
    if table.slot_ids is not None:
        check_slot_ids(table.slot_ids, keys.slots, where)
    if doubt := check_padding(table.keys, keys.padding_key, where):
        warn(doubt)
    if damaged:
        warn(f"{where}: the vectors in {table.path} hold NaN or infinite numbers")


def has_nan(array: Array) -> bool:
    """Tell whether anything is not finite: one pass over a memory map that keeps none of it in memory, by two threads."""
    half = len(array) // 2 if array.nbytes > _THREADED_BYTES else 0
    with ThreadPoolExecutor(2) as pool:
        return any(pool.map(_has_nan, (array[:half], array[half:])))


def _has_nan(array: Array) -> bool:
    step = max(1, _CHECKED_BYTES * len(array) // max(array.nbytes, 1))
    buffer = paging.buffer((min(step, len(array)), *array.shape[1:]), array.dtype)
    zeros = np.zeros(buffer.size, array.dtype)
    for start in range(0, len(array), step):
        chunk = array[start : start + step]
        rows = buffer[: len(chunk)].reshape(-1)
        paging.read(chunk, buffer[: len(chunk)])
        # A product with zeros is NaN where a factor is not finite, and it is quicker than looking at each number.
        with np.errstate(invalid="ignore"):
            if np.dot(rows, zeros[: rows.size]) != 0:
                return True
    return False
