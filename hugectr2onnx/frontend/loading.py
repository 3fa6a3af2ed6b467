"""`load`: from the files of a HugeCTR model, and the caller's options, to a graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hugectr2onnx.errors import Setting, WeightsError
from hugectr2onnx.frontend import importer
from hugectr2onnx.frontend.embeddings.embedding import has_nan
from hugectr2onnx.frontend.embeddings.embedding_collection import Collection
from hugectr2onnx.frontend.extra_inputs import unread_names
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.graph_json.clauses import EmbeddingClause, GraphClauses
from hugectr2onnx.frontend.graph_json.embedding import HYBRID
from hugectr2onnx.frontend.importer import LayerSummary, Sources
from hugectr2onnx.frontend.layers.registration import layer_types
from hugectr2onnx.frontend.recovery import recover
from hugectr2onnx.frontend.resolved_options import ResolvedOptions, resolve_options
from hugectr2onnx.frontend.weights import snapshot as weights_module
from hugectr2onnx.frontend.weights.dense_file import DenseFile
from hugectr2onnx.frontend.weights.ntp_file import read_ntp
from hugectr2onnx.frontend.weights.snapshot import Weights, missing_table, refuse_optimizer_file
from hugectr2onnx.frontend.weights.source_files import TABLE_FILES
from hugectr2onnx.frontend.weights.sparse_table import SparseTable, open_table
from hugectr2onnx.frontend.weights.statistics import NtpStatistics
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.options import Options

StageTimer = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True)
class Loaded:
    """A HugeCTR model as IR, before any pass, with what it was made of."""

    graph: Graph
    clauses: GraphClauses
    sources: Sources
    resolved: ResolvedOptions
    """The options as given, with what was recovered of `layer_attrs`."""
    layers: tuple[LayerSummary, ...]
    values: Mapping[str, Value]
    """What each name of the graph JSON stands for, before any pass."""
    dense_floats: int
    recovered: tuple[str, ...] = ()
    """A sentence for each attribute that the size of the dense file told."""
    warnings: tuple[str, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)
    """Bytes of each file of weights, by its name; files of a table as folder/file."""

    @property
    def ignored_feeds(self) -> frozenset[str]:
        """Names that a caller may feed though the model has no such input: labels, and `input_shapes` that nothing reads."""
        losses = [clause for clause in self.clauses.layers if clause.type.endswith("Loss") and clause.bottoms[1:]]
        unread = unread_names(self.resolved.options.input_shapes, self.clauses)
        return frozenset([*self.clauses.label_of, *unread, *(clause.bottoms[1] for clause in losses)])


def load(
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: object,
    options: Options | ResolvedOptions | None = None,
    *,
    stage: StageTimer = lambda name: nullcontext(),
) -> Loaded:
    """Read a HugeCTR model into a graph: the one way from its files to IR.

    graph: path of the graph JSON, or the parsed dict. weights: a snapshot folder, `Weights`, or a mapping with the keys dense,
    sparse, ntp. The dense weights and the tables are mapped, not read into memory. stage: entered as `stage("read")` and
    `stage("import")` around these parts. Raises HugeCTR2ONNXError; `checking.dry_run` collects all errors instead.
    """
    with stage("read"):
        resolved = options if isinstance(options, ResolvedOptions) else resolve_options(options)
        clauses = reader.read(graph, layer_types(resolved.options))
        files = weights_module.resolve(weights)
        dense = open_dense(files)
        tables = open_tables(clauses, files, resolved.options)
        recovered = recover(clauses, resolved, dense.size)
        statistics = NtpStatistics(read_ntp(files.ntp) if files.ntp is not None else None)
        sources = Sources(dense, statistics, tables)
        warnings = (*_dense_warnings(dense, files), *collection_warnings(resolved.collection))
    with stage("import"):
        imported = importer.build(clauses, sources, recovered.resolved)
        verify(imported.graph)
    return Loaded(
        graph=imported.graph,
        clauses=clauses,
        sources=sources,
        resolved=recovered.resolved,
        layers=imported.layers,
        values=imported.values,
        dense_floats=imported.floats,
        recovered=recovered.notes,
        warnings=(*warnings, *imported.warnings),
        files=_sizes(files, resolved.collection),
    )


def _sizes(files: Weights, collection: Collection | None) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for id, table in collection.tables.items() if collection else ():
        parts = [table.path.with_name(name) for name in (f"key{id}", f"weight{id}")] if table.path else []
        sizes |= {f"{part.parent.name}/{part.name}": part.stat().st_size for part in parts if part.is_file()}
    for path in (Path(given) for given in (files.dense, files.ntp, *files.tables) if given is not None):
        parts = [path / name for name in TABLE_FILES] if path.is_dir() else [path]
        sizes |= {str(part.relative_to(path.parent)): part.stat().st_size for part in parts if part.is_file()}
    return sizes


def open_dense(files: Weights) -> DenseFile:
    """Return the dense file, or an empty one where none was given. Raises WeightsError for an optimizer's state."""
    if files.dense is not None:
        refuse_optimizer_file(Path(files.dense))
    return DenseFile.open(files.dense if files.dense is not None else np.empty(0, np.float32))


def open_tables(clauses: GraphClauses, files: Weights, options: Options) -> dict[str, SparseTable]:
    """Return the table of each embedding layer that is converted, by its top."""
    if not options.convert_embedding:
        return {}
    pairs = zip(table_owners(clauses, files, options), files.tables, strict=True)
    return {
        clause.top: open_for(clause, path, files.key_bytes or clauses.key_bytes)
        for clause, path in pairs
        if is_converted(clause, options)
    }


def is_converted(clause: EmbeddingClause, options: Options) -> bool:
    """Tell whether the model looks keys up in the table of an embedding layer, rather than take its vectors as an input."""
    return options.convert_embedding and clause.top not in options.input_shapes


def table_owners(clauses: GraphClauses, files: Weights, options: Options) -> list[EmbeddingClause]:
    """Return the embedding layers that the given tables belong to, in order; Hybrid ones never write any (formats 2.4)."""
    written = [clause for clause in clauses.embeddings if clause.type != HYBRID]
    needed = [clause for clause in written if clause.top not in options.input_shapes]
    for owners in (needed, written):
        if len(owners) == len(files.tables):
            return owners
    listed = "; ".join(clause.where for clause in needed)
    missing = missing_table(files) if len(files.tables) < len(needed) else None
    where = f" (the snapshot has no {missing})" if missing else ""
    raise WeightsError(
        f"{len(files.tables)} tables were given for {len(needed)} embedding layers ({listed or 'none'}){where}: give one for "
        "each, in JSON order, or ",
        Setting("convert_embedding", False),
        " to feed the vectors yourself",
        option="sparse",
    )


def open_for(clause: EmbeddingClause, path: os.PathLike[str], key_bytes: int | None) -> SparseTable:
    try:
        refuse_optimizer_file(Path(path))
        return open_table(path, clause.vec_size, clause.type, key_bytes)
    except Exception as error:
        error.add_note(f"while opening the table of {clause.where}")
        raise


def _dense_warnings(dense: DenseFile, files: Weights) -> Iterator[str]:
    if has_nan(dense.floats):
        yield f"the dense file {files.dense} holds NaN or infinite numbers, and so will the predictions that they reach"


def collection_warnings(collection: Collection | None) -> Iterator[str]:
    """About the tables of an EmbeddingCollection."""
    yield from collection.warnings if collection else ()
    for table, opened in (collection.tables if collection else {}).items():
        if has_nan(opened.vectors):
            yield f"table {table} in {opened.path} holds NaN or infinite numbers"
