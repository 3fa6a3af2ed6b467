"""`hps_model`: from a trained model to the dense part of an HPS ensemble, proven with rows as HPS hands them on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hugectr2onnx import passes
from hugectr2onnx.backend.onnx import emitter
from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import parity
from hugectr2onnx.errors import OptionError, Setting, UnsupportedError
from hugectr2onnx.frontend.loading import Loaded, load
from hugectr2onnx.frontend.resolved_options import ResolvedOptions, resolve_options
from hugectr2onnx.frontend.weights.source_files import source_files
from hugectr2onnx.ir import tolerance
from hugectr2onnx.ir.feeds import feeds_for
from hugectr2onnx.ir.given_feeds import InputForm
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.lookup import LocalizedEmbedding, Lookup
from hugectr2onnx.ir.types import Batch
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.options import METADATA_KEY, Options
from hugectr2onnx.passes import EXACT_LEVEL
from hugectr2onnx.passes.lookups.fetch_rows import Fetched, fetch_rows
from hugectr2onnx.passes.lookups.hps_inputs import KEYS_INPUT, VECTORS_INPUT, hps_inputs
from hugectr2onnx.stores.hps_layout import COUNTS_INPUT, HpsLayout, HpsTable
from hugectr2onnx.stores.record import InputRecord
from hugectr2onnx.stores.table_rows import TableRows
from hugectr2onnx.tables.array import Array
from hugectr2onnx.version import __version__

BATCHES, SEEDS = (1, 7, 64), (0, 1)
_UNKNOWN_TO_HPS = {
    "embedding_collection": "HPS reads the folders of embedding layers, not the dump of an EmbeddingCollection",
    "keep_keys": "HPS reads the folders of the tables as they are, with all rows",
    "padding_key": "with HPS any negative key is padding",
    "n_gpus": "HPS finds a row by its key alone, not by the GPU of its slot",
}


@dataclass(frozen=True, eq=False)
class HpsModel:
    """The dense part, how a request is laid out, and the folder of each table in that order."""

    artifact: Artifact
    layout: HpsLayout
    folders: tuple[Path, ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    warnings: tuple[str, ...]
    sources: tuple[Path, ...]


def hps_model(
    graph: str | os.PathLike[str] | Mapping[str, object], weights: object, name: str, options: Options | None = None
) -> HpsModel:
    """Compile the part of a model behind its look-ups for HPS, and prove it.

    Raises UnsupportedError for tables that HPS cannot read, OptionError for options that it knows nothing of.
    """
    options = options or Options()
    _check_options(options)
    resolved = resolve_options(options)
    loaded = load(graph, weights, resolved)
    ir = loaded.graph
    _check_lookups(ir)
    folders = _folders(loaded)
    before = ir.clone()
    inputs = tuple(InputRecord(v.node.name, str(InputForm.of_type(v.type).dtype), InputForm.of_type(v.type).shape)
                   for v in ir.inputs)  # fmt: skip
    fetched = fetch_rows(ir, fast=options.opt_level > EXACT_LEVEL)
    lookups = _lookups(fetched, hps_inputs(ir))
    dense = tuple(v.node.name for v in ir.inputs if v.node.name not in (VECTORS_INPUT, KEYS_INPUT))
    layout = HpsLayout(
        name, tuple(look_up for _, look_up in lookups), inputs, dense, tuple(sorted(loaded.ignored_feeds))
    )
    passes.run(ir, options.opt_level, validate=options.validate)
    verify(ir)
    artifact = _emit(ir, loaded, resolved)
    if options.check:
        _prove(artifact, before, layout, [table for table, _ in lookups])
    outputs = tuple((output, _dims(value.shape)) for output, value in ir.outputs.items())
    sources = tuple(each.path for each in source_files(graph, weights, None, options.keep_keys))
    ordered = tuple(folders[table.name] for table, _ in lookups)
    return HpsModel(artifact, layout, ordered, outputs, tuple(loaded.warnings), sources)


def _check_options(options: Options) -> None:
    for option, why in _UNKNOWN_TO_HPS.items():
        if getattr(options, option):
            raise OptionError(f"{why}: leave out ", Setting(option))
    if options.padding_key is not None:
        raise OptionError(f"{_UNKNOWN_TO_HPS['padding_key']}: leave out ", Setting("padding_key"))
    for option, wanted in (
        ("embedding", "fp32"),
        ("keys", "auto"),
        ("interface", "padded"),
        ("convert_embedding", True),
    ):
        if getattr(options, option) != wanted:
            raise OptionError(
                "HPS holds the tables, as float32 rows, and finds them by key: leave out ", Setting(option)
            )


def _check_lookups(graph: Graph) -> None:
    lookups = [node for node in graph if isinstance(node.op, Lookup)]
    if not lookups:
        raise UnsupportedError("the model looks nothing up, so HPS has nothing to do: use `compile`")
    for node in lookups:
        if isinstance(node.op, LocalizedEmbedding):
            raise UnsupportedError(
                f"{', '.join(node.sources)} has rows that depend on the slot of a key, and HPS ignores slot_id: train it as "
                "Distributed, or serve the model without HPS"
            )


def _folders(loaded: Loaded) -> dict[str, Path]:
    """Return the folder of each table by its name."""
    found = {}
    for top, table in loaded.sources.tables.items():
        if table.path is None or not table.path.is_dir():
            raise UnsupportedError(f"{top}: HPS reads folders of `key` and `emb_vector`, not the file {table.path}")
        if not len(table.keys):
            raise UnsupportedError(f"{top}: {table.path} has no rows, and HPS refuses empty tables")
        found[top] = table.path
    return found


def _lookups(fetched: Fetched, order: Sequence[str]) -> list[tuple[TableRows, HpsTable]]:
    """Return the table of each look-up and its part of a request, in the order of the rows inputs that are named."""
    found = {}
    for entry in fetched.inputs:
        for rows, number in entry.rows:
            table, (_, slots, nnz) = fetched.tables[number], entry.type.shape
            assert isinstance(slots, int) and isinstance(nnz, int)
            width, default = int(table.vectors.shape[1]), float(table.default)
            look_up = HpsTable(table.name, entry.keys, slots, int(nnz), width, entry.offsets, default)
            found[rows] = TableRows(table), look_up
    return [found[name] for name in order]


def _dims(shape: tuple[object, ...]) -> tuple[int, ...]:
    return tuple(-1 if isinstance(dim, Batch) or not isinstance(dim, int) else int(dim) for dim in shape)


def _emit(ir: Graph, loaded: Loaded, resolved: ResolvedOptions) -> Artifact:
    options = resolved.options
    metadata = {
        "hugectr2onnx.version": __version__,
        METADATA_KEY: loaded.resolved.to_metadata(),
        "hugectr2onnx.parity": f"passed: {tolerance.RULE}" if options.check else "not checked",
    }
    return emitter.emit(ir, graph_name=options.graph_name, opset=options.opset, version=__version__, metadata=metadata)


def _prove(artifact: Artifact, before: Graph, layout: HpsLayout, tables: Sequence[TableRows]) -> None:
    """Compare with the reference on requests that HPS can take. Raises ParityError."""
    expected = []
    for batch in BATCHES:
        for seed in SEEDS:
            feeds = feeds_for(before, batch, seed + batch)
            for table in layout.tables:
                feeds[table.keys] = feeds[table.keys][:, :, : table.nnz]
            expected.append(parity.expect_for(before, feeds, batch))
    asked = [replace(each, feeds=dense_request(layout, tables, each.feeds)) for each in expected]
    parity.compare(expected, parity.run(artifact, asked))


def dense_request(layout: HpsLayout, tables: Sequence[TableRows], feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Tell what the dense part gets in the ensemble: the request with the rows that HPS finds, the counts left out."""
    request = layout.request(feeds)
    keys, counts = request[KEYS_INPUT].reshape(-1), request.pop(COUNTS_INPUT)[0]
    parts = np.split(keys, np.cumsum(counts)[:-1])
    rows = [table.look_up(own).reshape(-1) for table, own in zip(tables, parts, strict=True)]
    return {VECTORS_INPUT: np.concatenate(rows), **request}
