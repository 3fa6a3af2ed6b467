"""`survey`: load a model that may be wrong in many places; collect each error and go on.

The steps are those of `load`. Two things differ, because the first error must not hide the others:
- the layers are imported with counted weights and tables of one row, so that a short file does not hide the layers behind it;
- the tables are not opened here: `check` opens one at a time, and keeps none in memory.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hugectr2onnx.errors import ErrorCollector, HugeCTR2ONNXError
from hugectr2onnx.frontend import loading
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.graph_json.clauses import EmbeddingClause, GraphClauses
from hugectr2onnx.frontend.graph_json.embedding import HYBRID
from hugectr2onnx.frontend.importer import Importer, Sources
from hugectr2onnx.frontend.layers.registration import layer_types
from hugectr2onnx.frontend.recovery import recover
from hugectr2onnx.frontend.resolved_options import ResolvedOptions, resolve_options
from hugectr2onnx.frontend.weights import snapshot
from hugectr2onnx.frontend.weights.dense_file import DenseCounter, DenseFile
from hugectr2onnx.frontend.weights.ntp_file import BatchNormStatistics, read_ntp
from hugectr2onnx.frontend.weights.snapshot import Weights
from hugectr2onnx.frontend.weights.sparse_table import SparseTable
from hugectr2onnx.frontend.weights.statistics import CountedStatistics
from hugectr2onnx.options import Options


@dataclass(frozen=True)
class SurveyedFiles:
    """The files of weights that could be opened; None for a file that was not given or is wrong."""

    given: Weights | None = None
    dense: DenseFile | None = None
    statistics: tuple[BatchNormStatistics, ...] | None = None


@dataclass(frozen=True)
class SurveyedLayers:
    """The layers of a graph JSON that could be read, as far as they could be imported."""

    clauses: GraphClauses
    importer: Importer
    """The import after its run, with the errors that it collected."""
    recovered: tuple[str, ...] = ()
    """A sentence for each attribute that follows from the size of the dense file."""
    unrecovered: HugeCTR2ONNXError | None = None
    """The question to the user if an attribute should follow from that size and does not."""


@dataclass(frozen=True)
class Survey:
    """A model as far as it can be loaded."""

    resolved: ResolvedOptions
    """The options as given, with what was recovered of `layer_attrs`."""
    files: SurveyedFiles
    layers: SurveyedLayers | None
    """None if the graph JSON cannot be read."""
    errors: tuple[HugeCTR2ONNXError, ...] = field(default=())
    """The errors of the options' files, the graph JSON and the weights' files; those of layers are the importer's."""


def survey(
    graph: str | os.PathLike[str] | Mapping[str, object], weights: object = None, options: Options | None = None
) -> Survey:
    """Load a HugeCTR model as far as possible. Never raises HugeCTR2ONNXError. weights: as for `load`, or None."""
    options = options or Options()
    collector = ErrorCollector()
    resolved = collector.attempt(resolve_options, options) or ResolvedOptions(options)
    clauses = collector.attempt(lambda: reader.read(graph, layer_types(options)))
    files = _open(weights, collector)
    errors = tuple(collector.errors)
    if clauses is None:
        return Survey(resolved, files, None, errors)
    notes: tuple[str, ...] = ()
    unrecovered = None
    if files.dense is not None:
        try:
            recovered = recover(clauses, resolved, files.dense.size)
            resolved, notes = recovered.resolved, recovered.notes
        except HugeCTR2ONNXError as error:
            unrecovered = error
    importer = _import_layers(clauses, resolved)
    return Survey(resolved, files, SurveyedLayers(clauses, importer, notes, unrecovered), errors)


def _open(weights: object, collector: ErrorCollector) -> SurveyedFiles:
    given = collector.attempt(snapshot.resolve, weights) if weights is not None else None
    if given is None:
        return SurveyedFiles()
    dense = collector.attempt(loading.open_dense, given) if given.dense is not None else None
    statistics = collector.attempt(read_ntp, given.ntp) if given.ntp is not None else None
    return SurveyedFiles(given, dense, statistics)


def _import_layers(clauses: GraphClauses, resolved: ResolvedOptions) -> Importer:
    """Import with tables of one row and counted weights."""
    sparse = {entry.top: entry for entry in clauses.data.sparse}
    # A Hybrid embedding cannot be converted; an input takes its place, so that the layers behind it are seen.
    hybrid = [c for c in clauses.embeddings if c.type == HYBRID and loading.is_converted(c, resolved.options)]
    vectors = {clause.top: ("N", sparse[clause.bottom].slot_num, clause.vec_size) for clause in hybrid}
    tables = {clause.top: _one_row(clause) for clause in clauses.embeddings}
    # A table of one row has no slot ids, which n_gpus would ask for.
    shapes = {**resolved.options.input_shapes, **vectors}
    importer = Importer(
        clauses,
        Sources(DenseCounter(), CountedStatistics(), tables),
        resolved.changed(input_shapes=shapes, n_gpus=None),
    )
    importer.run()
    return importer


def _one_row(clause: EmbeddingClause) -> SparseTable:
    return SparseTable(None, np.zeros(1, np.int64), np.zeros((1, clause.vec_size), np.float32))
