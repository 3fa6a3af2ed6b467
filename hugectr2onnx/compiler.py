"""`compile`: the whole flow on one screen."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from pathlib import Path

from hugectr2onnx import passes
from hugectr2onnx.backend.onnx import emitter
from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.runtime import parity
from hugectr2onnx.backend.runtime.system_memory import beyond_memory
from hugectr2onnx.backend.saving.key_file import KeyFile
from hugectr2onnx.backend.simplify import simplifier as onnxsim
from hugectr2onnx.backend.simplify import worker
from hugectr2onnx.compiled_model import CompiledModel
from hugectr2onnx.errors import HugeCTR2ONNXError, OutputError, ParityError, UnsupportedError
from hugectr2onnx.frontend import given, importer, loading
from hugectr2onnx.frontend.embeddings.embedding_collection import Collection, open_collection
from hugectr2onnx.frontend.graph_json.fields import shown
from hugectr2onnx.frontend.importer import Imported, ImportOptions
from hugectr2onnx.frontend.weights.key_filter import digest, read_all
from hugectr2onnx.frontend.weights.source_files import SourceFile, source_files
from hugectr2onnx.ir.verifier import verify
from hugectr2onnx.passes.lookups.choose_key_map import check_strategies, choose_key_map
from hugectr2onnx.passes.lookups.use_rows import use_rows
from hugectr2onnx.quantization.stored_tables import stored_tables, with_fillers
from hugectr2onnx.report import Progress, Report
from hugectr2onnx.version import __version__

OPSETS = range(17, 24)
EXACT_LEVEL = 1
"""The highest level whose passes round nothing."""
Shapes = Mapping[str, Sequence[int | str | None]]


def compile(
    graph: str | os.PathLike[str] | Mapping[str, object],
    weights: object,
    opt_level: int = 2,
    *,
    convert_embedding: bool = True,
    input_shapes: Shapes | None = None,
    layer_attrs: Mapping[str, Mapping[str, object]] | None = None,
    slot_size_array: Sequence[int] | None = None,
    graph_name: str = "hugectr",
    opset: int = 17,
    simplify: bool = True,
    check: bool = True,
    progress: Progress | None = None,
    n_gpus: int | None = None,
    embedding_collection: object = None,
    keys: str | Mapping[str, str] = "auto",
    embedding: str | Mapping[str, str] = "fp32",
    keep_keys: Mapping[str, object] | None = None,
    keep_empty_dense: bool = False,
    validate: bool = False,
    dump: str | os.PathLike[str] | None = None,
) -> CompiledModel:
    """Compile a trained HugeCTR model to ONNX and prove the result.

    graph: path of the graph JSON, or the parsed dict. weights: a snapshot folder, `Weights`, or a mapping with the keys
    dense, sparse, ntp. opt_level: 0 one plain expansion per layer, 1 exact, 2 algebraic with standard operators only,
    3 fastest on onnxruntime's CPU.

    convert_embedding: False makes the embedding vectors [N, slot, vec] inputs instead of the keys. input_shapes:
    {tensor: shape, None or "N" = batch} for tensors that nothing in the JSON produces; they become inputs. layer_attrs:
    {top: {...}} what graph_to_json loses (Reshape shape, Select dim and index, MultiCross projection_dim) and the options
    of layers (PReLU_Dice mean and var for frozen statistics). slot_size_array: the reader's list; inputs are then raw
    per-slot keys and the graph adds the offsets. n_gpus: of the training, for Localized tables with repeated keys.
    embedding_collection: the look-ups that the JSON lacks and the folder of embedding_dump, as a mapping or a JSON file
    (see `frontend.embedding_collection`). keys: how keys find their rows, for all tables or {embedding top: ...}: "auto",
    "direct", "label-encoder", "perfect-hash" or "indices" (see `passes.choose_key_map`); below level 2 "auto" is a
    LabelEncoder. embedding: the format of the tables' rows, for all or {embedding top: ...}: "fp32", "fp16" or "int8" with
    a scale for each row (see `ir.row_format`; `report.stored` has the errors). keep_keys: {embedding top, or table of
    an EmbeddingCollection: keys that will be asked for}, an array, a raw int64 file, an .npy file or FILE.parquet::COLUMN;
    all other rows are dropped.

    simplify: run onnxsim, from level 1 up; its result is taken only if it passes the parity check. check: compare with
    the float64 reference. validate: also evaluate before and after every pass. dump: a folder for numbered IR texts.
    keep_empty_dense: keep the dense input where dense_dim is 0. opset: the least one; an operator of level 3 may need 23.

    Weights on which the algebra of a level above 1 misses the tolerance give level 1, and a warning in the report.

    Raises HugeCTR2ONNXError: its subclasses say what is wrong, its message where and what to do.
    """
    opt_level, opset = _check_options(opt_level, opset)
    graph_name, folder = given.graph_name(graph_name), dump_folder(dump)
    kept = read_all(keep_keys)
    options = ImportOptions(
        convert_embedding=convert_embedding,
        input_shapes=given.shapes(input_shapes),
        layer_attrs=given.attributes(layer_attrs),
        slot_size_array=given.slot_sizes(slot_size_array),
        n_gpus=given.gpus(n_gpus),
        collection=open_collection(embedding_collection, kept) if embedding_collection is not None else None,
        keep_empty_dense=keep_empty_dense,
        row_formats=embedding,
        keep_keys=kept,
    )
    return _Flow(
        graph=graph,
        weights=weights,
        also=(embedding_collection, {} if keep_keys is None else keep_keys),
        options=options,
        keys=keys,
        opt_level=opt_level,
        opset=opset,
        graph_name=graph_name,
        simplify=simplify,
        check=check,
        validate=validate,
        dump=folder,
        progress=progress,
    ).deliver()


@dataclass(frozen=True, kw_only=True)
class _Flow:
    """What was asked for, and the way from files to a proven model."""

    graph: str | os.PathLike[str] | Mapping[str, object]
    weights: object
    also: tuple[object, Mapping[str, object]]
    """Where look-ups and keys to keep were read from."""
    options: ImportOptions
    keys: str | Mapping[str, str]
    opt_level: int
    opset: int
    graph_name: str
    simplify: bool
    check: bool
    validate: bool
    dump: Path | None
    progress: Progress | None

    def deliver(self) -> CompiledModel:
        """The model at the level that was asked for, or at level 1 where the algebra misses the tolerance."""
        try:
            return self.run(self.opt_level)
        except ParityError as missed:
            if self.opt_level <= EXACT_LEVEL:
                raise
            why = f"level {self.opt_level} missed the tolerance on these weights, so this is level {EXACT_LEVEL}: {missed}"
        compiled = self.run(EXACT_LEVEL)
        compiled.report.warnings.append(why)
        return compiled

    def run(self, level: int) -> CompiledModel:
        """The model at a level; the key maps are those of the level that was asked for."""
        report, progress, simplified = Report(level), self.progress, self.simplify and level > 0
        if simplified and self.check:
            worker.prewarm()
        with report.stage("read", progress):
            model = loading.open_model(self.graph, self.weights, self.options)
            sources = source_files(self.graph, self.weights, *self.also)
        with report.stage("import", progress):
            imported = importer.build(model.clauses, model.sources, model.options)
            ir = imported.graph
            verify(ir)
            check_strategies(ir, self.keys)
            row_inputs = use_rows(ir, self.keys)
            _note(report, model, imported, sources)
        with report.stage("reference", progress):
            expected = parity.expect(ir) if self.check else ()
        with report.stage("passes", progress):
            report.ops_before = len(ir)
            report.passes = passes.run(ir, level, validate=self.validate, dump=self.dump)
            report.key_maps = choose_key_map(ir, self.keys, automatic=self.opt_level > EXACT_LEVEL)
            report.stored = with_fillers(report.stored, report.key_maps)
            verify(ir)
            report.ops_after = len(ir)
        with report.stage("emit", progress):
            metadata = self._metadata(level)
            artifact = emitter.emit(
                ir, graph_name=self.graph_name, opset=self.opset, version=__version__, metadata=metadata
            )
        artifact = _prove(artifact, expected, report, simplified, progress)
        if progress is not None:
            progress("done", 1.0)
        report.onnx_nodes = len(artifact.skeleton.graph.node)
        key_files = [KeyFile(each.input, each.table, each.keys, each.offsets) for each in row_inputs]
        return CompiledModel(artifact, ir, report, frozenset(model.labels), key_files, sources)

    def _metadata(self, level: int) -> dict[str, str]:
        """What the model says about itself; no time, host or path, so that the same inputs give the same bytes."""
        keys = self.keys if isinstance(self.keys, str) else dict(self.keys)
        asked = {"opt_level": level, "opset": self.opset, "simplify": self.simplify, "keys": keys}
        return {
            "hugectr2onnx.version": __version__,
            "hugectr2onnx.options": json.dumps(asked | _stated(self.options), sort_keys=True, default=str),
            "hugectr2onnx.parity": f"passed: {parity.RULE}" if self.check else "not checked",
        }


def _check_options(opt_level: object, opset: object) -> tuple[int, int]:
    if not isinstance(opt_level, Integral) or opt_level not in passes.PIPELINES:
        levels = ", ".join(map(str, passes.PIPELINES))
        raise UnsupportedError(f"opt_level is {shown(opt_level)}; it must be one of {levels}")
    if not isinstance(opset, Integral) or opset not in OPSETS:
        raise UnsupportedError(f"opset is {shown(opset)}; it must be from {OPSETS.start} to {OPSETS.stop - 1}")
    return int(opt_level), int(opset)


def dump_folder(dump: object) -> Path | None:
    """Where IR texts go; raises OutputError for what is no folder."""
    if dump is None:
        return None
    if not isinstance(dump, str | os.PathLike) or not isinstance(os.fspath(dump), str) or not os.path.isdir(dump):
        raise OutputError(f"dump is {shown(dump)}; give a folder that exists")
    return Path(dump)


def _note(report: Report, model: loading.OpenedModel, imported: Imported, sources: Sequence[SourceFile]) -> None:
    report.warnings += [*model.warnings, *imported.warnings]
    report.recovered += model.recovered
    report.dense_floats = imported.floats
    report.sources = {
        **{each.name: each.size for each in sources if each.hashed and each.size is not None},
        **model.files,
    }
    report.tables = {top: len(table.keys) for top, table in model.sources.tables.items()}
    report.stored = tuple(stored_tables(imported.graph))
    report.warnings += beyond_memory((table.table, table.bytes_after) for table in report.stored)


def _prove(
    artifact: Artifact,
    expected: Sequence[parity.Expectation],
    report: Report,
    simplified: bool,
    progress: Progress | None,
) -> Artifact:
    """The artifact to deliver: onnxsim's if it passes the check, else ours if that does."""
    if not expected:
        report.simplify = "left out: its result is taken only after a parity check" if simplified else report.simplify
        return artifact
    if simplified:
        with report.stage("simplify", progress):
            attempt = onnxsim.simplify(artifact)
        report.simplify = "taken" if attempt.changed else attempt.reason or "changed nothing"
        if attempt.changed:
            with report.stage("parity", progress):
                proven = _try(attempt.artifact, expected, report)
            if proven:
                return attempt.artifact
    with report.stage("parity", progress):
        report.parity = parity.check(artifact, expected)
    return artifact


def _try(artifact: Artifact, expected: Sequence[parity.Expectation], report: Report) -> bool:
    try:
        report.parity = parity.check(artifact, expected)
    except HugeCTR2ONNXError as error:
        report.simplify = f"refused: {error}"
        return False
    return True


def _stated(options: ImportOptions) -> dict[str, object]:
    """The options of the import as data; keys to keep by their digest."""
    formats = options.row_formats
    return {
        "convert_embedding": options.convert_embedding,
        "input_shapes": {name: list(shape) for name, shape in options.input_shapes.items()},
        "layer_attrs": {top: dict(attributes) for top, attributes in options.layer_attrs.items()},
        "slot_size_array": list(options.slot_size_array) if options.slot_size_array else None,
        "n_gpus": options.n_gpus,
        "embedding_collection": _lookups(options.collection) if options.collection else None,
        "keep_empty_dense": options.keep_empty_dense,
        "embedding": formats if isinstance(formats, str) else dict(formats),
        "keep_keys": {top: digest(wanted) for top, wanted in options.keep_keys.items()},
    }


def _lookups(collection: Collection) -> list[dict[str, object]]:
    """The look-ups of a description, without the folder of its dump."""
    return [{**asdict(each), "tables": [collection.names[id] for id in each.tables]} for each in collection.lookups]
