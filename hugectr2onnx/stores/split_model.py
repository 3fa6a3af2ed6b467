"""`split_model`: from a trained model to its dense part, proven, and the tables that left it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hugectr2onnx import passes
from hugectr2onnx.backend.onnx import emitter
from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import parity
from hugectr2onnx.backend.simplify import simplifier
from hugectr2onnx.errors import HugeCTR2ONNXError, OptionError, ParityError, Setting
from hugectr2onnx.frontend.loading import Loaded, load
from hugectr2onnx.frontend.resolved_options import ResolvedOptions, resolve_options
from hugectr2onnx.frontend.weights.source_files import source_files
from hugectr2onnx.ir import tolerance
from hugectr2onnx.ir.given_feeds import InputForm
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.options import METADATA_KEY, Options, Progress
from hugectr2onnx.passes import EXACT_LEVEL
from hugectr2onnx.passes.lookups.fetch_rows import Fetched, FetchedInput, fetch_rows
from hugectr2onnx.stores.places import dense_feeds
from hugectr2onnx.stores.record import InputRecord, PlacesInput, RowsInput, VersionRecord
from hugectr2onnx.stores.table_rows import TableRows, rows_of
from hugectr2onnx.tables.array import Array
from hugectr2onnx.version import __version__


@dataclass(frozen=True, eq=False)
class SplitModel:
    """The dense part of a model, and everything that a store and its readers must know of the rest.

    `record` has neither a version nor the checksum of the dense part yet. `sources`: the files that it was made of.
    """

    artifact: Artifact
    record: VersionRecord
    tables: tuple[TableRows, ...]
    parity: parity.Parity | None
    warnings: tuple[str, ...]
    sources: tuple[Path, ...]

    def fetch(self, table: str, keys: Array) -> Array:
        """Return rows from the files of the model (`places.Fetch`)."""
        return next(each for each in self.tables if each.name == table).look_up(keys)


def split_model(
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: object,
    options: Options | None = None,
    *,
    progress: Progress | None = None,
) -> SplitModel:
    """Take the tables out of a model, compile the rest and prove it with rows from the files.

    The dense part has the same operators as the model of `compile` behind its gathers, so its predictions have the same bits.
    Raises HugeCTR2ONNXError, OptionError for options that say where a model has its tables.
    """
    options = options or Options()
    _check_options(options)
    resolved = resolve_options(options)
    if progress is not None:
        progress("read", 0.0)
    try:
        return _split(graph, weights, resolved, progress)
    except ParityError as missed:
        if options.opt_level <= EXACT_LEVEL:
            raise
        split = _split(graph, weights, resolved.changed(opt_level=EXACT_LEVEL), progress)
        why = (
            f"level {options.opt_level} missed the tolerance on these weights, so this is level {EXACT_LEVEL}: {missed}"
        )
        return replace(split, warnings=(*split.warnings, why))


def _check_options(options: Options) -> None:
    if options.keys != "auto":
        raise OptionError(
            "the rows are found by the store, not by a key map in the model: leave out ", Setting("keys", options.keys)
        )
    if not options.convert_embedding:
        raise OptionError("there are no rows to store with ", Setting("convert_embedding", False), ": leave it out")
    if options.interface != "padded":
        raise OptionError(
            "the client between store and model takes padded keys: leave out ", Setting("interface", options.interface)
        )


def _split(
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: object,
    resolved: ResolvedOptions,
    progress: Progress | None,
) -> SplitModel:
    options = resolved.options
    loaded = load(graph, weights, resolved)
    sources = source_files(graph, weights, options.embedding_collection, options.keep_keys)
    ir = loaded.graph
    inputs = tuple(_input_record(value.node.name, InputForm.of_type(value.type)) for value in ir.inputs)
    expected = parity.expect(ir) if options.check else ()
    fetched = fetch_rows(ir, fast=options.opt_level > EXACT_LEVEL)
    if progress is not None:
        progress("passes", 0.3)
    passes.run(ir, options.opt_level, validate=options.validate)
    verify(ir)
    artifact = _emit(ir, loaded, options)
    tables = tuple(rows for table in fetched.tables for rows in rows_of(table))
    record = VersionRecord(
        version="0",
        model_sha256="",
        inputs=inputs,
        places=tuple(_places(entry, fetched) for entry in fetched.inputs),
        tables=tuple(table.record for table in tables),
        ignored=tuple(sorted(loaded.ignored_feeds)),
    )
    split = SplitModel(artifact, record, tables, None, tuple(loaded.warnings), tuple(source.path for source in sources))
    if progress is not None:
        progress("parity", 0.6)
    return _proven(split, expected, simplify=options.simplify and options.opt_level > 0)


def _input_record(name: str, form: InputForm) -> InputRecord:
    return InputRecord(name, str(form.dtype), form.shape)


def _places(entry: FetchedInput, fetched: Fetched) -> PlacesInput:
    rows = tuple(
        RowsInput(name, tuple(each.name for each in rows_of(fetched.tables[table]))) for name, table in entry.rows
    )
    return PlacesInput(entry.name, entry.keys, entry.offsets, entry.padding_key, rows)


def _emit(ir: Graph, loaded: Loaded, options: Options) -> Artifact:
    metadata = {
        "hugectr2onnx.version": __version__,
        METADATA_KEY: loaded.resolved.to_metadata(),
        "hugectr2onnx.parity": f"passed: {tolerance.RULE}" if options.check else "not checked",
    }
    return emitter.emit(ir, graph_name=options.graph_name, opset=options.opset, version=__version__, metadata=metadata)


def _proven(split: SplitModel, expected: Sequence[parity.Expectation], *, simplify: bool) -> SplitModel:
    """Return the split with a dense part that passed: onnxsim's if it does, else ours."""
    if not expected:
        return split
    asked = [
        replace(each, feeds=_read_by(split, dense_feeds(split.record, each.feeds, split.fetch))) for each in expected
    ]
    if simplify:
        attempt = simplifier.simplify(split.artifact)
        if attempt.changed:
            try:
                return _compared(replace(split, artifact=attempt.artifact), expected, asked)
            except HugeCTR2ONNXError:
                pass  # our own artifact is judged by itself
    return _compared(split, expected, asked)


def _read_by(split: SplitModel, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Of some feeds, those that the dense part takes: inputs that no output needs left it."""
    names = {value.name for value in split.artifact.skeleton.graph.input}
    return {name: array for name, array in feeds.items() if name in names}


def _compared(
    split: SplitModel, expected: Sequence[parity.Expectation], asked: Sequence[parity.Expectation]
) -> SplitModel:
    return replace(split, parity=parity.compare(expected, parity.run(split.artifact, asked)))
