"""`compile`: the whole flow on one screen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hugectr2onnx import passes
from hugectr2onnx.backend.onnx import emitter
from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import byte_products, parity, quantized_parity
from hugectr2onnx.backend.runtime.portability import KeyMapUse, runs_on
from hugectr2onnx.backend.runtime.system_memory import beyond_memory
from hugectr2onnx.backend.saving.key_file import KeyFile
from hugectr2onnx.backend.simplify import simplifier as onnxsim
from hugectr2onnx.backend.simplify import worker
from hugectr2onnx.checking.memory import check_least_memory, check_memory
from hugectr2onnx.checking.report import FLOAT_BYTES
from hugectr2onnx.compiled_model import CompiledModel
from hugectr2onnx.errors import (
    HugeCTR2ONNXError,
    OptionError,
    OutputError,
    ParityError,
    Setting,
    UnsupportedError,
)
from hugectr2onnx.frontend.graph_json import data_metadata
from hugectr2onnx.frontend.loading import Loaded, load
from hugectr2onnx.frontend.resolved_options import ResolvedOptions, resolve_options
from hugectr2onnx.frontend.weights.overflow import overflow_error
from hugectr2onnx.frontend.weights.snapshot import WeightsLike
from hugectr2onnx.frontend.weights.source_files import SourceFile, source_files
from hugectr2onnx.ir import tolerance
from hugectr2onnx.ir.graph import Graph
from hugectr2onnx.ir.ops.key_maps import Direct, LabelEncoded
from hugectr2onnx.ir.ops.lookup import Lookup, table_label
from hugectr2onnx.ir.types import Array
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.options import METADATA_KEY, Options, PerTable, Progress
from hugectr2onnx.options.documentation import document
from hugectr2onnx.passes import EXACT_LEVEL
from hugectr2onnx.passes.lookups.choose_key_map import check_strategies, choose_key_map
from hugectr2onnx.passes.lookups.flatten_keys import flatten_keys
from hugectr2onnx.passes.lookups.row_number_inputs import row_number_inputs
from hugectr2onnx.passes.lookups.strategies import Choice
from hugectr2onnx.passes.precision.quantize_products import EXACT, SEARCHED, quantize_products
from hugectr2onnx.passes.precision.weight_bytes import VNNI
from hugectr2onnx.quantization.stored_tables import format_warnings, stored_tables, with_fillers
from hugectr2onnx.report import Report
from hugectr2onnx.tables.key_index import column
from hugectr2onnx.version import __version__

_UNSET: Any = object()


def compile(
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: WeightsLike,
    opt_level: int = _UNSET,
    *,
    options: Options | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> CompiledModel:
    """Compile a trained HugeCTR model to ONNX and prove the result.

    graph: path of the graph JSON, or the parsed dict.
    weights: a snapshot folder, `Weights`, or a mapping with the keys dense, sparse, ntp.
    options: an `Options` object; the keywords below change single ones of its values.
    progress: called with the name of a stage that begins and the share of the stages that are done.

    Weights on which the algebra of a level above 1 misses the tolerance give level 1, and a warning in the report.

    Raises HugeCTR2ONNXError: its subclasses say what is wrong, its message where and what to do. Raises TypeError for a
    keyword that is not an option.
    """
    level = {} if opt_level is _UNSET else {"opt_level": opt_level}
    chosen = (options or Options()).changed(**level, **changes)
    return _Compilation(graph, weights, resolve_options(chosen), progress).deliver()


document(compile)


@dataclass(frozen=True)
class _Compilation:
    """One call of `compile`: what was asked for, and the way from files to a proven model."""

    graph: str | os.PathLike[str] | Mapping[str, object]
    weights: object
    resolved: ResolvedOptions
    progress: Progress | None

    @property
    def options(self) -> Options:
        return self.resolved.options

    def deliver(self) -> CompiledModel:
        """Return the model at the level that was asked for, or at level 1 where the algebra misses the tolerance."""
        level = self.options.opt_level
        try:
            return self.run(level)
        except ParityError as missed:
            if level <= EXACT_LEVEL:
                raise self._overflow() or missed from missed
            why = f"level {level} missed the tolerance on these weights, so this is level {EXACT_LEVEL}: {missed}"
        try:
            compiled = self.run(EXACT_LEVEL)
        except ParityError as missed:
            raise self._overflow() or missed from missed
        compiled.report.warnings.append(why)
        return compiled

    def _overflow(self) -> HugeCTR2ONNXError | None:
        """Tell why nothing can be proven, where the weights overflow float32."""
        return overflow_error(load(self.graph, self.weights, self.resolved).graph)

    def run(self, level: int) -> CompiledModel:
        """Return the model at a level; the key maps are those of the level that was asked for."""
        options, progress = self.options, self.progress
        report, simplified = Report(level), options.simplify and level > 0
        if simplified and options.check:
            worker.prewarm()
        check_least_memory(self.graph, self.weights, options)
        loaded = load(self.graph, self.weights, self.resolved, stage=lambda name: report.stage(name, progress))
        sources = source_files(self.graph, self.weights, options.embedding_collection, options.keep_keys)
        ir = loaded.graph
        check_strategies(ir, options.keys)
        check_memory(ir, FLOAT_BYTES * loaded.dense_floats, options, automatic=options.opt_level > EXACT_LEVEL)
        row_inputs = row_number_inputs(ir, options.keys)
        columns = {table_label(node): node.inputs[1].const for node in ir if isinstance(node.op, Lookup)}
        _note(report, loaded, sources, asked=options.embedding)
        with report.stage("reference", progress):
            expected = parity.expect(ir) if options.check else ()
        with report.stage("passes", progress):
            report.ops_before = len(ir)
            report.passes = passes.run(ir, level, validate=options.validate, dump=_dump_folder(options.dump))
            _quantize(ir, expected, report, options)
            report.key_maps = choose_key_map(ir, options.keys, automatic=options.opt_level > EXACT_LEVEL)
            report.stored = with_fillers(report.stored, report.key_maps)
            report.runs_on = runs_on(_key_map_uses(columns, report.key_maps))
            flatten_keys(ir)
            verify(ir)
            report.ops_after = len(ir)
        with report.stage("emit", progress):
            metadata = self._metadata(level, loaded)
            artifact = emitter.emit(
                ir, graph_name=options.graph_name, opset=options.opset, version=__version__, metadata=metadata
            )
        artifact = _prove(artifact, expected, ir, report, simplified, progress)
        if progress is not None:
            progress("done", 1.0)
        report.onnx_nodes = len(artifact.skeleton.graph.node)
        key_files = [KeyFile(each.input, each.table, each.keys, each.offsets, each.padding_key) for each in row_inputs]
        return CompiledModel(artifact, ir, report, loaded.ignored_feeds, key_files, sources)

    def _metadata(self, level: int, loaded: Loaded) -> dict[str, str]:
        """Tell what the model says about itself; no time, host or path, so that the same inputs give the same bytes."""
        return {
            "hugectr2onnx.version": __version__,
            METADATA_KEY: self.resolved.changed(opt_level=level).to_metadata(),
            data_metadata.DATA_METADATA_KEY: data_metadata.to_metadata(loaded.clauses.data),
            "hugectr2onnx.parity": f"passed: {tolerance.RULE}" if self.options.check else "not checked",
        }


def _quantize(ir: Graph, expected: Sequence[parity.Expectation], report: Report, options: Options) -> None:
    """Put products of bytes into a graph whose passes are proven before."""
    if options.precision == EXACT:
        return
    if SEARCHED in ([options.precision] if isinstance(options.precision, str) else options.precision.values()):
        raise OptionError(
            f"precision {SEARCHED!r} is searched on samples: use `compile_measured`, or --budget with --samples or --data",
            option="precision",
        )
    if options.cpu == VNNI and options.check and byte_products.saturates():
        raise UnsupportedError(
            "this machine adds products of bytes in 16 bits, so that a model for cpu='vnni' cannot be proven on it: compile it "
            "on a processor with VNNI, or with ",
            Setting("check", False),
            option="cpu",
        )
    quantized_parity.check_unquantized(ir, expected)
    report.products = quantize_products(ir, options.precision, options.cpu)
    if options.cpu == VNNI and byte_products.saturates():
        report.warnings.append(
            "the model is for processors with VNNI: on this machine its int8 products give wrong answers"
        )


def _dump_folder(dump: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder of IR texts, made where it is not there. Raises OutputError."""
    if dump is None:
        return None
    try:
        Path(dump).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"cannot create the folder {dump}: {getattr(error, 'strerror', error)}", option="dump"
        ) from error
    return Path(dump)


def _key_map_uses(columns: Mapping[str, Array | None], choices: Iterable[Choice]) -> Iterator[KeyMapUse]:
    """Tell how the keys of each look-up find their rows; those without a choice have the plain LabelEncoder."""
    strategies = {choice.table: choice.strategy for choice in choices}
    for table, keys in columns.items():
        strategy = strategies.get(table, LabelEncoded.strategy)
        # Looking for the largest key takes a walk over all of them: only a direct map is judged by it.
        known = column(keys) if keys is not None and strategy == Direct.strategy else None
        yield KeyMapUse(table, strategy, *((known.low, known.high) if known is not None else ()))


def _note(report: Report, loaded: Loaded, sources: Sequence[SourceFile], asked: PerTable) -> None:
    report.warnings += loaded.warnings
    report.recovered += loaded.recovered
    report.dense_floats, report.layers = loaded.dense_floats, len(loaded.layers)
    report.sources = {
        **{each.name: each.size for each in sources if each.hashed and each.size is not None},
        **loaded.files,
    }
    report.tables = {top: len(table.keys) for top, table in loaded.sources.tables.items()}
    report.stored = tuple(stored_tables(loaded.graph))
    report.warnings += format_warnings(((each.table, each.format, each.width) for each in report.stored), asked)
    report.warnings += beyond_memory((table.table, table.bytes_after) for table in report.stored)


def _prove(
    artifact: Artifact,
    expected: Sequence[parity.Expectation],
    ir: Graph,
    report: Report,
    simplified: bool,
    progress: Progress | None,
) -> Artifact:
    """Return the artifact to deliver: onnxsim's if it passes the check, else ours if that does."""
    if not expected:
        report.simplify = "left out: its result is taken only after a parity check" if simplified else report.simplify
        return artifact
    if simplified:
        with report.stage("simplify", progress):
            attempt = onnxsim.simplify(artifact)
        report.simplify = "taken" if attempt.changed else attempt.reason or "changed nothing"
        if attempt.changed:
            with report.stage("parity", progress):
                proven = _try(attempt.artifact, expected, ir, report)
            if proven:
                return attempt.artifact
    with report.stage("parity", progress):
        _check(artifact, expected, ir, report)
    return artifact


def _check(artifact: Artifact, expected: Sequence[parity.Expectation], ir: Graph, report: Report) -> None:
    if quantized_parity.is_quantized(ir):
        report.saturates = byte_products.saturates()
        report.parity, report.format_costs = quantized_parity.check(artifact, ir, expected)
    else:
        report.parity = parity.check(artifact, expected)


def _try(artifact: Artifact, expected: Sequence[parity.Expectation], ir: Graph, report: Report) -> bool:
    try:
        _check(artifact, expected, ir, report)
    except HugeCTR2ONNXError as error:
        report.simplify = f"refused: {error}"
        return False
    return True
