"""Tell how large the tables of a model are, by the sizes of their files: only the graph JSON is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from hugectr2onnx.frontend import loading
from hugectr2onnx.frontend.embeddings.table_options import format_of
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.layers.registration import layer_types
from hugectr2onnx.frontend.weights.snapshot import Weights
from hugectr2onnx.options import Options
from hugectr2onnx.tables.row_format import RowFormat


def table_sizes(
    graph: str | os.PathLike[str] | Mapping[str, object], weights: Weights, options: Options
) -> Iterator[tuple[str, int, RowFormat, int]]:
    """(embedding top, bytes of the float32 vectors, format, width) of each table folder. Raises HugeCTR2ONNXError."""
    clauses = reader.read(graph, layer_types(options))
    if not options.convert_embedding or not weights.tables:
        return
    for clause, path in zip(loading.table_owners(clauses, weights, options), weights.tables, strict=False):
        if clause.top in options.input_shapes:
            continue
        try:
            size = (path / "emb_vector").stat().st_size
        except (OSError, ValueError):
            # A file that is not there, or a table of another version: opening it tells.
            continue
        yield clause.top, size, format_of(options.embedding, clause.top, clause.vec_size), clause.vec_size
