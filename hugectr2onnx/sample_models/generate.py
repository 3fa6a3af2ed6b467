"""Random weights for any graph JSON: the snapshot that HugeCTR would have written."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses
from hugectr2onnx.frontend.importer import Importer, Sources
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.frontend.resolved_options import ResolvedOptions
from hugectr2onnx.frontend.weights.dense_file import DenseRecorder
from hugectr2onnx.frontend.weights.snapshot import Weights
from hugectr2onnx.frontend.weights.statistics import InventedStatistics
from hugectr2onnx.options import Options
from hugectr2onnx.sample_models import writer
from hugectr2onnx.sample_models.plans import Keys, Rows, plan_tables
from hugectr2onnx.sample_models.tables import write_table


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
    slot_size_array: the reader's list, which the keys in style "offsets" then fit. prefix, iteration: as of HugeCTR's
    `save_params_to_files` (formats 5). The same arguments give the same bytes.

    Raises HugeCTR2ONNXError: for a graph that cannot be imported, arguments that do not fit it, and OutputError for a
    folder that cannot be written; a snapshot appears whole or not at all, and replaces nothing.
    """
    clauses = reader.read(graph, REGISTRY.keys())
    plans = plan_tables(clauses, rows, keys, slot_size_array)
    dense, statistics = _invent_dense(clauses, layer_attrs or {}, input_shapes or {}, seed)
    head, name = os.path.split(prefix)
    target = Path(folder) / head
    dense_name = f"{name}_dense_{iteration}.model"
    tables = {f"{name}{plan.place}_sparse_{iteration}.model": plan for plan in plans}
    with writer.staged(target, without=f"{dense_name}.ntp.json") as scratch:
        writer.write_array(scratch / dense_name, dense.array(), "<f4")
        if statistics.entries:
            writer.write_text(scratch / f"{dense_name}.ntp.json", writer.ntp_text(statistics.entries))
        for table, plan in tables.items():
            keys_of, vectors_of = (_generator(seed, f"{plan.clause.top}.{what}") for what in ("keys", "vectors"))
            write_table(scratch / table, plan, keys_of, vectors_of)
    ntp = target / f"{dense_name}.ntp.json" if statistics.entries else None
    return Weights(target / dense_name, [target / table for table in tables], ntp)


def _invent_dense(
    clauses: GraphClauses,
    layer_attrs: Mapping[str, Mapping[str, object]],
    input_shapes: Mapping[str, Sequence[int | str | None]],
    seed: int,
) -> tuple[DenseRecorder, InventedStatistics]:
    """Return a dry import that asks for weights layer by layer and is given invented ones."""
    options = Options(convert_embedding=False, layer_attrs=layer_attrs, input_shapes=input_shapes)
    dense, statistics = DenseRecorder(_generator(seed, "dense")), InventedStatistics(_generator(seed, "ntp"))
    importer = Importer(clauses, Sources(dense, statistics), ResolvedOptions(options))
    importer.run()
    for error in importer.errors:
        raise error
    return dense, statistics


def _generator(seed: int, name: str) -> np.random.Generator:
    """Return a stream of its own for each file, whatever else the model holds."""
    return np.random.default_rng([seed % (1 << 64), zlib.crc32(name.encode())])
