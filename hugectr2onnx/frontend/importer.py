"""Clauses and weights -> Graph: the walk over the layers, in JSON order, that reads each one's weights as it goes.

Dense weights have no names: a layer's place in the file is where the layers before it end. So one walk does both, and a
dry walk over a counter instead of a file tells what a model needs (`check`, `recovery`, generated weights).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hugectr2onnx.errors import (
    GraphJsonError,
    HugeCTR2ONNXError,
    OptionError,
    Setting,
    ShapeError,
    UnsupportedError,
    WeightsError,
)
from hugectr2onnx.frontend import extra_inputs, outputs, unresolved
from hugectr2onnx.frontend.embeddings import embedding, embedding_collection, interface, table_options
from hugectr2onnx.frontend.embeddings.keys import Keys
from hugectr2onnx.frontend.embeddings.table_options import TableOptions
from hugectr2onnx.frontend.graph_json.clauses import EmbeddingClause, GraphClauses, LayerClause, SparseInput
from hugectr2onnx.frontend.graph_json.embedding import HYBRID
from hugectr2onnx.frontend.graph_json.fields import Fields
from hugectr2onnx.frontend.graph_json.layer_types import settle_loss
from hugectr2onnx.frontend.layers.layer import REGISTRY, Layer
from hugectr2onnx.frontend.layers.loss import Loss
from hugectr2onnx.frontend.resolved_options import ResolvedOptions
from hugectr2onnx.frontend.suggestion import nearest
from hugectr2onnx.frontend.weights.dense_file import DenseSource
from hugectr2onnx.frontend.weights.sparse_table import SparseTable
from hugectr2onnx.frontend.weights.statistics import StatisticsSource
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.types import Array, Batch, TensorType, f32
from hugectr2onnx.options.checks import MAX_INPUT_ELEMENTS


@dataclass(frozen=True)
class Sources:
    """The opened weights; `tables` by the top of their embedding layer."""

    dense: DenseSource
    statistics: StatisticsSource
    tables: Mapping[str, SparseTable] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerSummary:
    """One layer as it was imported: result types, its floats and where they start in the dense file."""

    index: int
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    shapes: tuple[str, ...]
    weights: Mapping[str, tuple[int, ...]]
    floats: int
    offset: int


@dataclass(frozen=True)
class Imported:
    """A model as IR, with what was noticed on the way."""

    graph: Graph
    layers: tuple[LayerSummary, ...]
    floats: int
    warnings: tuple[str, ...]
    values: Mapping[str, Value]
    """What each name of the graph JSON stands for; several names may stand for one value."""


def build(clauses: GraphClauses, sources: Sources, resolved: ResolvedOptions) -> Imported:
    """Import a model; raises the first error found, with its layer.

    The dense source must be used up to its last float.
    """
    importer = Importer(clauses, sources, resolved)
    importer.run()
    for error in importer.errors:
        raise error
    _finish(sources.dense, clauses)
    return importer.result()


def _finish(dense: DenseSource, clauses: GraphClauses) -> None:
    """Raise WeightsError where floats are left over; only a cross network can have parameters that the JSON lacks."""
    networks = [clause.tops[0] for clause in clauses.layers if clause.type == "MultiCross" and clause.tops]
    try:
        dense.finish()
    except WeightsError as error:
        if not networks:
            raise
        given = Setting("layer_attrs", {networks[0]: {"projection_dim": ...}})
        raise WeightsError(
            *error.args, " The JSON lacks the projection_dim of a DCN v2: if it is one, give ", given
        ) from None


class Importer:
    """The walk. Errors are collected, so that `check` can show all of them; what depends on a failed layer is passed over."""

    def __init__(self, clauses: GraphClauses, sources: Sources, resolved: ResolvedOptions):
        self.clauses = clauses
        self.sources = sources
        self.resolved = resolved
        self.options = resolved.options
        self.graph = Graph(clauses.model_name or "hugectr")
        self.errors: list[HugeCTR2ONNXError] = []
        self.warnings: list[str] = list(clauses.warnings)
        self.summaries: list[LayerSummary] = []
        self.floats = 0
        self.values: dict[str, Value] = {}
        """What each name of the graph stands for so far."""
        self._buffers: set[str] = set()
        self._failed: set[str] = set()
        self._consumed: set[str] = set()
        self._predictions: list[tuple[LayerClause, Value]] = []
        self._defaults: Mapping[str, float] = {}

    def run(self) -> None:
        """Import everything that can be; `errors` then holds what could not."""
        self._collect(self._refuse_unsupported)
        self._collect(self._check_table_options)
        self._collect(self._declare_interface)
        for clause in self.clauses.layers:
            self._import(clause)
        if not self.errors:
            self._collect(self._check_leftovers)
            self._collect(self._set_outputs)

    def run_part(self, known: Mapping[str, TensorType]) -> None:
        """Import the layers alone, on inputs that stand for the `known` tensors; stops at the first error."""
        self.values = {name: self.graph.input(name, type) for name, type in known.items()}
        for clause in self.clauses.layers:
            self._import(clause)
            if self.errors:
                return
        self._collect(lambda: self.graph.output(self._usual_outputs()))

    def _import(self, clause: LayerClause) -> None:
        try:
            self._import_or_parse(clause)
        except HugeCTR2ONNXError as error:
            error.add_note(f"while importing {clause.where}")
            self.errors.append(error)
            self._failed.update(clause.tops)

    def result(self) -> Imported:
        warnings = tuple(dict.fromkeys(self.warnings))
        return Imported(self.graph, tuple(self.summaries), self.floats, warnings, self.values)

    def _collect(self, step: Callable[[], None]) -> None:
        try:
            step()
        except HugeCTR2ONNXError as error:
            self.errors.append(error)

    # The interface

    def _refuse_unsupported(self) -> None:
        unknown = [clause for clause in self.clauses.layers if clause.type not in REGISTRY]
        if unknown:
            lines = [f"  {clause.where}: {nearest(clause.type, REGISTRY)}" for clause in unknown]
            raise UnsupportedError("\n".join(["these layer types are not supported:", *lines]))

    def _declare_interface(self) -> None:
        data = self.clauses.data
        shapes = extra_inputs.extra_inputs(self.options.input_shapes, self.clauses)
        self.warnings += extra_inputs.unread_warnings(self.options.input_shapes, self.clauses)
        interface.check_interface(self.options)
        self.values.update(interface.declare_dense(self.graph, data, self.options))
        self._declare_embeddings([clause for clause in self.clauses.embeddings if clause.top not in shapes])
        for name, shape in shapes.items():
            self.values[name] = self.graph.input(name, f32(*shape))

    def _declare_embeddings(self, clauses: Sequence[EmbeddingClause]) -> None:
        sparse = {entry.top: entry for entry in self.clauses.data.sparse}
        read = {clause.bottom for clause in clauses if clause.type != HYBRID} | self._collected_bottoms()
        self._failed.update(clause.top for clause in clauses)
        keys: dict[str, Keys] = {}
        slot_sizes = tuple(self.options.slot_size_array or ())
        self._collect(self._check_slot_sizes)
        if self.options.convert_embedding:
            fixed = embedding_collection.bottoms_of_fixed_width(self.resolved.collection)
            inputs = interface.KeyInputs(self.options.interface, fixed, self.options.padding_key)
            keys = inputs.declare(self.graph, self.clauses.data, read, slot_sizes)
        for clause in clauses:
            try:
                with self.graph.building(clause.top):
                    value = self._embed(clause, sparse[clause.bottom], keys)
            except HugeCTR2ONNXError as error:
                self.errors.append(error)
                continue
            value.node.name = value.node.name or clause.top
            self.values[clause.top] = value
            self._failed.discard(clause.top)

        self._declare_collection(sparse, keys)

    def _check_slot_sizes(self) -> None:
        doubt = embedding.check_slot_sizes(self.options.slot_size_array or (), self.clauses.data)
        self.warnings += [doubt] if doubt else []

    def _collected_bottoms(self) -> set[str]:
        lookups = self.resolved.collection.lookups if self.resolved.collection else ()
        return {bottom for lookup in lookups for bottom in lookup.bottoms}

    def _declare_collection(self, sparse: Mapping[str, SparseInput], keys: Mapping[str, Keys]) -> None:
        collection = self.resolved.collection
        if collection is None:
            return
        embedding_collection.check_lookups(collection, self.clauses.data)
        given = keys if self.options.convert_embedding else None
        formats = self.options.embedding
        for top, value in embedding_collection.declare(
            self.graph, collection, sparse, given, formats, self._defaults
        ).items():
            if top in self.values or any(top in clause.tops for clause in self.clauses.layers):
                raise GraphJsonError(f"embedding_collection gives {top!r}, which the graph has already")
            value.node.name = value.node.name or top
            self.values[top] = value

    def _embed(self, clause: EmbeddingClause, sparse: SparseInput, keys: Mapping[str, Keys]) -> Value:
        if not self.options.convert_embedding:
            return embedding.vector_input(self.graph, clause, sparse)
        if clause.type == HYBRID:
            raise embedding.refuse_hybrid(clause, sparse)
        table = self.sources.tables.get(clause.top)
        if table is None:
            raise WeightsError(f"{clause.where}: no table was given for it")
        format = table_options.format_of(self.options.embedding, clause.top, clause.vec_size)
        options = TableOptions(self.options.n_gpus, format, self.resolved.keep_keys.get(clause.top))
        clause = replace(clause, default_value=self._defaults.get(clause.top, clause.default_value))
        return embedding.look_up(self.graph, clause, keys[clause.bottom], table, options, self.warnings.append)

    def _check_table_options(self) -> None:
        formats, collection = self.options.embedding, self.resolved.collection
        tops = [clause.top for clause in self.clauses.embeddings]
        written = [clause.top for clause in self.clauses.embeddings if clause.type != HYBRID]
        tables = list(collection.names.values()) if collection else []
        self._defaults = table_options.defaults_of(self.options.default_embedding, written, tables)
        embedding_collection.check_kept(collection, self.resolved.keep_keys, tops)
        embedding_collection.check_formats(collection, formats if isinstance(formats, Mapping) else (), tops)

    # Layers

    def _import_or_parse(self, clause: LayerClause) -> None:
        """Import a layer; one behind a failed layer is only parsed, so that its own errors come to light too."""
        if clause.type not in REGISTRY:
            self._failed.update(clause.tops)
        elif self._failed.isdisjoint(clause.bottoms):
            self._import_layer(clause)
        else:
            self._failed.update(clause.tops)
            self._parse(clause)

    def _import_layer(self, clause: LayerClause) -> None:
        clause = self._settled(clause)
        layer = self._parse(clause)
        bottoms = [self._value(name, clause) for name in clause.bottoms[: layer.reads]]
        self._consumed.update(clause.bottoms)
        self._check_buffers(clause, layer)
        types = [bottom.type for bottom in bottoms]
        offset = self.floats
        with self.graph.building(clause.tops[0] if clause.tops else clause.type):
            weights = self._read_weights(clause, layer, types)
            built = layer.build(*bottoms, *weights)
        results = built if isinstance(built, tuple) else (built,)
        self._bind(clause, layer, results)
        self.warnings += [f"{clause.where}: {caveat}" for caveat in layer.caveats(*types)]
        self.summaries.append(_summarise(clause, layer, bottoms, results, offset))

    def _settled(self, clause: LayerClause) -> LayerClause:
        prediction = self.values.get(clause.bottoms[0])
        return clause if prediction is None else settle_loss(clause, prediction.shape[-1:])

    def _parse(self, clause: LayerClause) -> Layer:
        layer_type = REGISTRY[clause.type]
        for kind, names, (fewest, most) in (
            ("bottom", clause.bottoms, layer_type.bottoms),
            ("top", clause.tops, layer_type.tops),
        ):
            if not fewest <= len(names) <= most:
                raise GraphJsonError(f"{clause.type} takes {_count(fewest, most)} {kind}s, not {len(names)}")
        attributes = next((self.options.layer_attrs[top] for top in clause.tops if top in self.options.layer_attrs), {})
        json = {**clause.params, "bottom": clause.bottoms, "top": clause.tops}
        return layer_type.parse(Fields(json, f"layers[{clause.index}]"), attributes)

    def _value(self, name: str, clause: LayerClause) -> Value:
        if name in self.values:
            return self.values[name]
        if name in self._buffers:
            raise GraphJsonError(f"{name!r} is a buffer of training that evaluation never fills")
        raise unresolved.nobody_produces(name, clause, self.clauses, self.values)

    def _check_buffers(self, clause: LayerClause, layer: Layer) -> None:
        for name in clause.bottoms[layer.reads :]:
            if not isinstance(layer, Loss) and name not in self._buffers and name not in self.values:
                raise unresolved.nobody_produces(name, clause, self.clauses, self.values)

    def _read_weights(self, clause: LayerClause, layer: Layer, types: Sequence[TensorType]) -> list[Value]:
        statistics: dict[str, Array] = {}
        values = []
        for weight in layer.weights(*types):
            if weight.file == "ntp":
                statistics = statistics or dict(
                    zip(("mean", "var"), self.sources.statistics.take(weight.floats), strict=True)
                )
                array = statistics[weight.name]
            else:
                array = self.sources.dense.take(weight.floats, weight.shape, f"{clause.where}, {weight.name}")
                self.floats += weight.floats
            if weight.used:
                values.append(self.graph.const(array, f"{clause.tops[0]}.{weight.name}"))
        return values

    def _bind(self, clause: LayerClause, layer: Layer, results: Sequence[Value]) -> None:
        if isinstance(layer, Loss):
            self._predictions.append((clause, results[0]))
            return
        if len(results) > len(clause.tops):
            raise GraphJsonError(f"{clause.type} gives {len(results)} tensors, but has {len(clause.tops)} tops")
        for top, value in zip(clause.tops, results, strict=False):
            _require_sane(value.type)
            self.values[top] = value
            value.node.name = value.node.name or top
        self._buffers.update(clause.tops[len(results) :])

    # The end

    def _check_leftovers(self) -> None:
        self.sources.statistics.finish()
        tops = {top for clause in self.clauses.layers for top in clause.tops}
        stray = [top for top in self.options.layer_attrs if top not in tops and top not in self.clauses.label_of]
        if stray:
            raise OptionError(
                f"layer_attrs names {stray[0]!r}, which is no layer's top ({nearest(stray[0], tops)})",
                option="layer_attrs",
            )
        wide = [clause for clause in self.clauses.layers if clause.type == "Concat" and self._rank(clause) == 3]
        if len(wide) > 1:
            self.warnings.append(
                "the model has several 3D Concats; HugeCTR up to 25.03 reads wrong addresses in all but the last where their "
                "widths differ, so its own predictions may differ from this model's, which follows the definition"
            )

    def _rank(self, clause: LayerClause) -> int:
        return self.values[clause.tops[0]].type.rank

    def _set_outputs(self) -> None:
        usual, wanted = self._usual_outputs(), self.options.outputs
        self.graph.output(usual if wanted is None else outputs.named(wanted, usual, self.values))
        if wanted is not None:
            self.graph.prune_inputs()

    def _usual_outputs(self) -> dict[str, Value]:
        if self._predictions:
            return outputs.predictions(self._predictions, self.clauses, self.graph)
        return outputs.free_tops(self.values, self._consumed)


def _require_sane(type: TensorType) -> None:
    size = type.elements
    count = size.factor if isinstance(size, Batch) else size
    if count > MAX_INPUT_ELEMENTS:
        raise ShapeError(
            f"{type} has {int(count):,} elements for each sample, more than any model needs; check the sizes"
        )


def _summarise(
    clause: LayerClause, layer: Layer, bottoms: Sequence[Value], results: Sequence[Value], offset: int
) -> LayerSummary:
    weights = {w.name: w.shape for w in layer.weights(*(b.type for b in bottoms)) if w.file == "dense"}
    return LayerSummary(
        index=clause.index,
        type=clause.type,
        bottoms=clause.bottoms,
        tops=clause.tops,
        shapes=tuple(str(value.type) for value in results),
        weights=weights,
        floats=sum(math.prod(shape) for shape in weights.values()),
        offset=offset,
    )


def _count(fewest: int, most: int) -> str:
    if fewest == most:
        return str(fewest)
    return f"{fewest} or more" if most > 1000 else f"{fewest} to {most}"
