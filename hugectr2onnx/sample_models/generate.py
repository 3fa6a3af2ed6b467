"""Random weights for any graph JSON: the snapshot that HugeCTR would have written."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from hugectr2onnx.errors import WeightsError
from hugectr2onnx.frontend import graph_json
from hugectr2onnx.frontend.clauses import EmbeddingClause, GraphClauses
from hugectr2onnx.frontend.dense_file import DenseRecorder
from hugectr2onnx.frontend.embedding import HYBRID, ONE_HOT
from hugectr2onnx.frontend.importer import Importer, ImportOptions, Sources
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.frontend.statistics import InventedStatistics
from hugectr2onnx.frontend.weights import Weights
from hugectr2onnx.sample_models import tables, writer
from hugectr2onnx.sample_models.tables import KEY_STYLES, KeyStyle

DEFAULT_ROWS = 1000

Rows = int | Mapping[str, int] | None
Keys = KeyStyle | Mapping[str, KeyStyle] | None


def generate_weights(
    graph: str | os.PathLike[str] | Mapping[str, object],
    folder: str | os.PathLike[str],
    *,
    seed: int = 0,
    rows: Rows = None,
    keys: Keys = None,
    prefix: str = "model",
    iteration: int = 0,
    layer_attrs: Mapping[str, Mapping[str, object]] | None = None,
    input_shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    slot_size_array: Sequence[int] | None = None,
) -> Weights:
    """Write the snapshot files of a graph with random weights that keep activations of the order of one.

    graph: path of the graph JSON, or the parsed dict. rows: of every table, or by the embedding's top; 1000 unless told.
    A OneHot table always holds its whole vocabulary. keys: "offsets", "hashes" or "ids", for every table or by top; from
    table to table in turn unless told (`tables.invent_keys`). layer_attrs, input_shapes: as for `compile`.
    slot_size_array: the reader's list, which the keys in style "offsets" then fit. The same arguments give the same bytes.

    HybridSparseEmbedding gets no table, as HugeCTR writes none (formats 2.4). Raises HugeCTR2ONNXError for a graph that
    cannot be imported, and OutputError for a folder that cannot be written.
    """
    clauses = graph_json.read(graph, REGISTRY.keys())
    dense, statistics = _invent_dense(clauses, layer_attrs or {}, input_shapes or {}, seed)
    plans = [_plan(clauses, clause, place, rows, keys) for place, clause in enumerate(clauses.embeddings)]
    target = writer.make_folder(Path(folder))
    path = target / writer.snapshot_name(prefix, "_dense", iteration)
    writer.make_folder(path.parent)
    writer.write_array(path, dense.array(), "<f4")
    ntp = Path(f"{path}.ntp.json")
    if statistics.entries:
        writer.write_text(ntp, writer.ntp_text(statistics.entries))
    sizes = _slot_sizes(clauses, slot_size_array)
    written = [
        _write_table(
            target / writer.snapshot_name(prefix, f"{place}_sparse", iteration), clauses, clause, plan, sizes, seed
        )
        for place, (clause, plan) in enumerate(zip(clauses.embeddings, plans, strict=True))
        if clause.type != HYBRID
    ]
    return Weights(dense=path, sparse=written, ntp=ntp if statistics.entries else None)


def _invent_dense(
    clauses: GraphClauses,
    layer_attrs: Mapping[str, Mapping[str, object]],
    input_shapes: Mapping[str, Sequence[object]],
    seed: int,
) -> tuple[DenseRecorder, InventedStatistics]:
    """A dry import that asks for weights layer by layer and is given invented ones."""
    options = ImportOptions(convert_embedding=False, layer_attrs=layer_attrs, input_shapes=input_shapes)
    dense, statistics = DenseRecorder(_generator(seed, "dense")), InventedStatistics(_generator(seed, "ntp"))
    importer = Importer(clauses, Sources(dense, statistics), options)
    importer.run()
    for error in importer.errors:
        raise error
    return dense, statistics


def _plan(
    clauses: GraphClauses, clause: EmbeddingClause, place: int, rows: Rows, keys: Keys
) -> tuple[int, KeyStyle]:
    """How many rows a table gets, and which keys; checked before anything is written."""
    _check_names("rows", rows, clauses)
    _check_names("keys", keys, clauses)
    wanted = rows.get(clause.top) if isinstance(rows, Mapping) else rows
    count = tables.vocabulary(clause) if clause.type == ONE_HOT else DEFAULT_ROWS if wanted is None else wanted
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise WeightsError(f"rows of {clause.top}: expected a number from 0 up, found {count!r}")
    tables.check_rows(clause, count)
    style = keys.get(clause.top) if isinstance(keys, Mapping) else keys
    if style is not None and style not in KEY_STYLES:
        raise WeightsError(f"keys of {clause.top}: expected one of {', '.join(KEY_STYLES)}, found {style!r}")
    return count, style or KEY_STYLES[place % len(KEY_STYLES)]


def _check_names(what: str, given: object, clauses: GraphClauses) -> None:
    tops = [clause.top for clause in clauses.embeddings]
    for name in given if isinstance(given, Mapping) else ():
        if name not in tops:
            raise WeightsError(f"{what} names {name!r}, which is no embedding's top ({', '.join(tops) or 'none'})")


def _slot_sizes(clauses: GraphClauses, slot_size_array: Sequence[int] | None) -> dict[str, tuple[int, tuple[int, ...]]]:
    """For each sparse input: the offset of its first slot and the sizes of its slots, by the reader's list."""
    if not slot_size_array:
        return {}
    offsets = [0, *accumulate(slot_size_array)]
    sizes: dict[str, tuple[int, tuple[int, ...]]] = {}
    first = 0
    for sparse in clauses.data.sparse:
        if own := tuple(slot_size_array[first : first + sparse.slot_num]):
            sizes[sparse.top] = (offsets[first], own)
        first += sparse.slot_num
    return sizes


def _write_table(
    folder: Path,
    clauses: GraphClauses,
    clause: EmbeddingClause,
    plan: tuple[int, KeyStyle],
    reader_sizes: Mapping[str, tuple[int, tuple[int, ...]]],
    seed: int,
) -> Path:
    rows, style = plan
    sparse = next(entry for entry in clauses.data.sparse if entry.top == clause.bottom)
    first, sizes = reader_sizes.get(sparse.top, (0, clause.slot_size_array))
    if sizes is None or not any(sizes):
        first, sizes = 0, None
    invented = tables.invent_keys(clause, sparse, rows, style, sizes, first, _generator(seed, f"{clause.top}.keys"))
    writer.make_folder(folder)
    writer.write_array(folder / "key", invented.keys, "<i8")
    if clause.type.startswith("Localized"):
        writer.write_array(folder / "slot_id", invented.slots, "<u8")
    scale, generator = tables.scale_of(clause, sparse), _generator(seed, f"{clause.top}.vectors")
    writer.write_vectors(folder / "emb_vector", len(invented.keys), clause.vec_size, scale, generator)
    return folder


def _generator(seed: int, name: str) -> np.random.Generator:
    """A stream of its own for each file, whatever else the model holds."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
