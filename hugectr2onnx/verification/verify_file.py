"""`verify`: an ONNX file on disk against the HugeCTR model that it came from, and against HugeCTR's own predictions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.onnx.onnx_file import as_artifact, read_model
from hugectr2onnx.backend.runtime import parity, quantized_parity, sessions
from hugectr2onnx.compiler import compile
from hugectr2onnx.datasets.recorded_predictions import ATOL, RECORDED_RTOL, Samples, read_samples
from hugectr2onnx.errors import FeedError, ParityError
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses
from hugectr2onnx.frontend.graph_json.json_text import StrPath
from hugectr2onnx.frontend.layers.registration import layer_types
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.frontend.resolved_options import ResolvedOptions, resolve_options
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.options import METADATA_KEY, Options, Progress
from hugectr2onnx.passes.lookups.row_number_inputs import RowInput, row_number_inputs
from hugectr2onnx.passes.precision.quantize_products import EXACT
from hugectr2onnx.verification import explanation, recorded
from hugectr2onnx.verification.causes import ModelSource
from hugectr2onnx.verification.identity import compare_with_compiled
from hugectr2onnx.verification.key_map_files import compare_key_files
from hugectr2onnx.verification.result import Coverage, FileDiffersError, OptionsFrom, Verification
from hugectr2onnx.verification.whole_tables import compare_tables


def verify(
    onnx_path: StrPath,
    graph: StrPath | Mapping[str, object],
    weights: object,
    samples: StrPath | None = None,
    *,
    options: Options | None = None,
    rtol: float = RECORDED_RTOL,
    atol: float = ATOL,
    quick: bool = False,
    mixed_precision: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Compare an ONNX file with the HugeCTR model that it came from: outputs, tables, constants, recorded predictions.

    Every output and every logit is compared with the float64 reference on generated feeds. Every key of every table is asked
    for, every row of every table is read, and every other constant is compared with what compiling the source again gives;
    `quick` leaves these two out. `samples` is an .npz file of inputs and of HugeCTR's predictions, by the names of the ONNX
    model's inputs and outputs: the file and the reference are then compared with the predictions,
    `|d| <= atol + rtol * |prediction|`. With `mixed_precision` predictions may also be off by what rounding to half explains.
    `options` are those of the compilation; without them the ones that the file's metadata states, and the result says so.

    Raises FileDiffersError, a ParityError whose `verification` is the whole result, where anything differs; FeedError for a
    file or samples that do not fit the model, and what `compile` raises for the HugeCTR model.
    """
    file = SuspectFile.open(onnx_path)
    source, rows = source_of(file, graph, weights, options)
    session = sessions.open_session(onnx_path)
    _check_interface(file.path, source.loaded.graph, session)
    samples_read = read_samples(samples, session) if samples is not None else None
    result = _compare(file, source, session, progress)
    if not quick:
        result = _compare_constants(result, file, source, rows, progress)
    if samples_read is not None:
        answers = sessions.run(session, samples_read.feeds)
        result = _compare_with_predictions(result, file, source, samples_read, answers, rtol, atol, mixed_precision)
    result = replace(result, options_from=_options_from(options, file), coverage=_coverage(result, source))
    if not result.passed:
        raise FileDiffersError(result)
    return result


@dataclass(frozen=True, eq=False)
class SuspectFile:
    """The file that is under suspicion."""

    path: str
    model: onnx.ModelProto
    artifact: Artifact

    @staticmethod
    def open(path: StrPath) -> SuspectFile:
        model = read_model(path)
        return SuspectFile(os.fspath(path), model, as_artifact(model, path))

    @property
    def metadata(self) -> str | None:
        return next((entry.value for entry in self.model.metadata_props if entry.key == METADATA_KEY), None)


# The source


def stored_options(model: onnx.ModelProto | StrPath) -> Options:
    """Return the options that a model was compiled with, from its metadata; the defaults where it states none."""
    message = model if isinstance(model, onnx.ModelProto) else read_model(model)
    return Options.from_metadata(next((e.value for e in message.metadata_props if e.key == METADATA_KEY), None))


def source_of(
    file: SuspectFile, graph: Any, weights: object, options: Options | None
) -> tuple[ModelSource, tuple[RowInput, ...]]:
    """Return the HugeCTR model as the file takes it: with the caller's options, or with those that the file states."""
    stored = stored_options(file.model)
    resolved = resolve_options(options or stored)
    fitted = _fitted(resolved, reader.read(graph, layer_types(resolved.options)), file.model)
    fitted.check_keys_kept(file.metadata, file.path)
    loaded = load(graph, weights, fitted)
    # A caller who does not say how keys find rows leaves it to the file, which may have moved the keys out of the model.
    keys = stored.keys if options is None or options.keys == Options().keys else options.keys
    rows = row_number_inputs(loaded.graph, keys)
    return ModelSource(graph, weights, fitted.changed(keys=keys), loaded), rows


def _options_from(options: Options | None, file: SuspectFile) -> OptionsFrom:
    if options is not None:
        return "the caller"
    return "the file" if file.metadata is not None else "the defaults"


def _fitted(resolved: ResolvedOptions, clauses: GraphClauses, model: onnx.ModelProto) -> ResolvedOptions:
    """Return the options, and what the inputs of the file tell: a file of another converter has no metadata."""
    options = resolved.options
    inputs = {each.name for each in model.graph.input}
    vectors = {clause.top for clause in clauses.embeddings} - options.input_shapes.keys()
    keys = {clause.bottom for clause in clauses.embeddings}
    takes_vectors = bool(vectors & inputs) and not keys & inputs
    keeps_dense = clauses.data.dense_dim == 0 and clauses.data.dense_top in inputs
    return resolved.changed(
        convert_embedding=options.convert_embedding and not takes_vectors,
        keep_empty_dense=options.keep_empty_dense or keeps_dense,
    )


def _check_interface(path: str, graph: Graph, session: Any) -> None:
    wanted = {"inputs": {v.node.name for v in graph.inputs}, "outputs": set(graph.outputs)}
    found = {
        "inputs": {each.name for each in session.get_inputs()},
        "outputs": {each.name for each in session.get_outputs()},
    }
    for kind, names in wanted.items():
        if names != found[kind]:
            raise FeedError(
                f"{path}: has the {kind} {_listed(found[kind])}, the HugeCTR model gives {_listed(names)}. Is it "
                "the file of another model, or was it compiled with other options?"
            )


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


# What is compared


def _compare(file: SuspectFile, source: ModelSource, session: Any, progress: Progress | None) -> Verification:
    """On generated feeds: the file itself, as it lies there; then once more with the logits as outputs."""
    if progress is not None:
        progress("feeds", 0.0)
    expected = parity.expect(source.loaded.graph)
    try:
        answers = [sessions.run(session, each.feeds) for each in expected]
        with_logits = parity.run(file.artifact, expected)
        both = [{**logits, **own} for logits, own in zip(with_logits, answers, strict=True)]
        measured = _measure(file, source, expected, both)
    except FeedError as error:
        raise ParityError(f"{file.path}: does not run on inputs of the model's interface: {error}") from error
    notes = () if measured.passed else explanation.of_feeds(source, expected, answers, measured)
    return Verification(
        file.path, measured, warnings=source.loaded.warnings, problems=measured.problems, notes=tuple(notes)
    )


def _measure(
    file: SuspectFile, source: ModelSource, expected: Sequence[parity.Expectation], answers: Sequence[Mapping[str, Any]]
) -> parity.Parity:
    """Compare a file's answers with the reference; with products of bytes, with what compiling the source again means."""
    if source.resolved.options.precision == EXACT:
        return parity.measure(expected, answers)
    plain = source.resolved.options.changed(check=False, validate=False, dump=None)
    compiled = compile(source.graph, source.weights, options=plain)
    return quantized_parity.measure(file.artifact, compiled.ir, expected)[0]


def _compare_constants(
    result: Verification, file: SuspectFile, source: ModelSource, rows: tuple[RowInput, ...], progress: Progress | None
) -> Verification:
    """Return every table as a whole, and every other constant."""
    tables = compare_tables(source.loaded.graph, file.artifact, progress)
    maps = list(compare_key_files(Path(os.path.realpath(file.path)), rows))
    compared = {name for table in tables if not table.not_compared for name in (table.tensor, table.scales) if name}
    identity = compare_with_compiled(file.artifact, source, compared)
    problems = [
        *explanation.of_tables(tables),
        *(text for text, wrong in maps if wrong),
        *explanation.of_identity(identity),
    ]
    notes = [*(text for text, wrong in maps if not wrong), *explanation.gaps(tables, identity, result.parity)]
    return replace(
        result,
        tables=tables,
        identity=identity,
        problems=(*result.problems, *problems),
        notes=(*result.notes, *notes),
    )


def _compare_with_predictions(
    result: Verification,
    file: SuspectFile,
    source: ModelSource,
    samples: Samples,
    answers: Mapping[str, Any],
    rtol: float,
    atol: float,
    mixed_precision: bool,
) -> Verification:
    try:
        expected = parity.expect_for(source.loaded.graph, samples.feeds, samples.rows)
    except MemoryError:
        raise FeedError(f"the reference needs too much memory for {samples.rows} rows at once: give fewer") from None
    measured = _measure(file, source, [expected], [answers])
    comparisons = recorded.compare_with_predictions(
        samples, {"the file": answers, "the reference": expected.reference}, rtol, atol
    )
    problems, notes = explanation.of_predictions(source, samples, comparisons, expected, rtol, atol, mixed_precision)
    return replace(
        result,
        comparisons=comparisons,
        rows=samples.rows,
        problems=(*result.problems, *measured.problems, *problems),
        notes=(*result.notes, *notes),
    )


def _coverage(result: Verification, source: ModelSource) -> Coverage:
    compared = [table for table in result.tables if not table.not_compared]
    units = result.parity.hidden_units
    return Coverage(
        tables=len(compared),
        rows=sum(table.rows for table in compared),
        keys=sum(table.keys for table in compared),
        weights=source.loaded.dense_floats,
        layers=len(source.loaded.layers),
        hidden_units=sum(each.units for each in units),
        active_units=sum(each.active for each in units),
    )
