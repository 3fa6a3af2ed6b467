"""The graph JSON of every version of HugeCTR, v2.x to v25.03, into typed clauses (formats 1, layers 1).

Structure is checked here: types, bounds, names that are produced twice, embeddings without their input. Names that
nobody produces, and layer types that nobody knows, are the importer's to report, all at once.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from hugectr2onnx.errors import GraphJsonError, HugeCTR2ONNXError, UnsupportedError
from hugectr2onnx.frontend.foreign_files import foreign_json
from hugectr2onnx.frontend.graph_json import json_text
from hugectr2onnx.frontend.graph_json.clauses import (
    DataClause,
    EmbeddingClause,
    GraphClauses,
    Label,
    LayerClause,
    SparseInput,
)
from hugectr2onnx.frontend.graph_json.data import read_data
from hugectr2onnx.frontend.graph_json.embedding import V1_EMBEDDING_TYPES, is_embedding, read_embedding
from hugectr2onnx.frontend.graph_json.fields import Fields, shown
from hugectr2onnx.frontend.graph_json.labels import LabelTable
from hugectr2onnx.frontend.graph_json.layer_types import refuse_untyped, repair_by_label, repair_by_parameters
from hugectr2onnx.frontend.graph_json.names import checked_names

__all__ = [
    "DataClause",
    "EmbeddingClause",
    "Fields",
    "GraphClauses",
    "Label",
    "LayerClause",
    "SparseInput",
    "read",
]

_WIRING = frozenset({"type", "bottom", "top", "name"})
MAX_LAYERS = 20_000
_KEY_BYTES = {"I32": 4, "I64": 8}


def read(graph: str | os.PathLike[str] | Mapping[str, object], known_types: Collection[str]) -> GraphClauses:
    """Return the clauses of a graph JSON, given as a path or as the parsed object.

    `known_types` are the dense layer types that can be compiled. Raises GraphJsonError for what HugeCTR would refuse
    too, and UnsupportedError for v1.x and for layers whose type is lost.
    """
    value, name = _load(graph)
    try:
        return _clauses(Fields(value, "the graph"), frozenset(known_types))
    except HugeCTR2ONNXError as failure:
        failure.add_note(f"in {name}")
        raise


def _load(graph: object) -> tuple[Any, str]:
    if isinstance(graph, Mapping):
        return json_text.plain(graph, GraphJsonError, "the graph"), "the graph that was given as an object"
    if isinstance(graph, str) and graph.lstrip()[:1] == "{":
        raise GraphJsonError("the graph is JSON text; give the path of the file, or json.loads(text)")
    if not isinstance(graph, str | os.PathLike) or not isinstance(os.fspath(graph), str):
        raise GraphJsonError(f"the graph is {shown(graph)}; give the path of a graph JSON or the parsed object")
    return json_text.load(graph), os.fspath(graph)


def _clauses(graph: Fields, known_types: frozenset[str]) -> GraphClauses:
    entries = _entries(graph)
    data = read_data(entries[0])
    embeddings, layers = _split(entries, data, known_types)
    repaired = [repair_by_parameters(layer) for layer in layers]
    table = LabelTable(data.labels, repaired)
    final = tuple(repair_by_label(layer, table.label_of, table.labels) for layer in table.layers)
    refuse_untyped(final, known_types)
    data = DataClause(tuple(table.labels), data.dense_top, data.dense_dim, data.sparse, data.slot_size_array)
    _check_produced_once(entries[0].has("dense"), data, table.label_of, embeddings, final)
    return GraphClauses(
        model_name=graph.string("model_name", "") or None,
        data=data,
        embeddings=embeddings,
        layers=final,
        label_of=table.label_of,
        warnings=tuple(_repair_warnings(layers, [*repaired, *final])),
        key_bytes=_key_bytes(graph),
    )


def _entries(graph: Fields) -> tuple[Fields, ...]:
    """Return the objects of `layers`, the first of them a Data layer."""
    if not graph.has("layers"):
        kind = foreign_json({key: graph.value(key) for key in graph})
        known = f"; it is {kind}" if kind else ""
        raise GraphJsonError(f'no "layers" in the graph (its keys: {", ".join(graph)[:200] or "none"}){known}')
    count = len(graph.children("layers"))
    if count > MAX_LAYERS:
        raise GraphJsonError(f"layers: {count} of them; no HugeCTR model has more than {MAX_LAYERS}")
    entries = tuple(Fields(graph.value("layers")[index], f"layers[{index}]") for index in range(count))
    if not entries:
        raise GraphJsonError("layers: is empty; a graph begins with a Data layer")
    types = [entry.string("type") for entry in entries]
    if types[0] != "Data":
        raise _first_layer_error(graph, types)
    if types.count("Data") > 1:
        raise GraphJsonError(f"layers[{types.index('Data', 1)}]: is a second Data layer")
    return entries


def _first_layer_error(graph: Fields, types: list[str]) -> HugeCTR2ONNXError:
    if graph.has("data") or types[0] in V1_EMBEDDING_TYPES:
        return UnsupportedError(
            "this is a configuration of HugeCTR v1.x (no Data layer in layers), which is not supported; train with "
            "v2.x or later, or write the Data layer by hand"
        )
    if "Data" in types:
        return GraphJsonError(f"layers[0]: is {shown(types[0])}, expected Data, which is layers[{types.index('Data')}]")
    return GraphJsonError(f'layers[0].type: expected "Data", found {shown(types[0])}; no layer is a Data layer')


def _split(
    entries: tuple[Fields, ...], data: DataClause, known_types: frozenset[str]
) -> tuple[tuple[EmbeddingClause, ...], tuple[LayerClause, ...]]:
    embeddings: list[EmbeddingClause] = []
    layers: list[LayerClause] = []
    for index, entry in enumerate(entries[1:], start=1):
        type_name = entry.string("type")
        if is_embedding(type_name, entry.where, known_types):
            embeddings.append(read_embedding(entry, index, type_name, data))
        else:
            bottoms, tops = checked_names(entry, "bottom"), checked_names(entry, "top")
            layers.append(LayerClause(index, type_name, bottoms, tops, _params(entry)))
    return tuple(embeddings), tuple(layers)


def _params(entry: Fields) -> dict[str, object]:
    return {key: _without_inits(entry.value(key)) for key in entry if key not in _WIRING and not _is_init(key)}


def _without_inits(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if not _is_init(key)}


def _is_init(key: str) -> bool:
    return key.endswith("_init")


def _check_produced_once(
    has_dense: bool,
    data: DataClause,
    label_of: Mapping[str, str],
    embeddings: Iterable[EmbeddingClause],
    layers: Iterable[LayerClause],
) -> None:
    produced = dict.fromkeys(label_of, "a label")
    for top, where in _tops(has_dense, data, embeddings, layers):
        if top in produced:
            raise GraphJsonError(f'"{top}" is produced twice, by {produced[top]} and {where}; tensor names are unique')
        produced[top] = where


def _tops(
    has_dense: bool, data: DataClause, embeddings: Iterable[EmbeddingClause], layers: Iterable[LayerClause]
) -> Iterator[tuple[str, str]]:
    if has_dense:
        yield data.dense_top, "layers[0].dense"
    for index, source in enumerate(data.sparse):
        yield source.top, f"layers[0].sparse[{index}]"
    for embedding in embeddings:
        yield embedding.top, embedding.where
    for layer in layers:
        for top in layer.tops:
            yield top, layer.where


def _repair_warnings(layers: Iterable[LayerClause], repaired: Iterable[LayerClause]) -> Iterator[str]:
    final = {layer.index: layer for layer in repaired}
    for layer in layers:
        if not layer.type:
            meant = final[layer.index]
            told = f"its parameters tell {meant.type}"
            if meant.is_type_open:
                told = (
                    "its label tells CrossEntropyLoss, or MultiCrossEntropyLoss if the prediction has not two columns"
                )
            yield f'layers[{layer.index}] {", ".join(layer.bottoms)} -> {", ".join(layer.tops)}: "type" is empty; {told}'


def _key_bytes(graph: Fields) -> int | None:
    for section in ("solver", "inference"):
        key = f"{section}.input_key_type"
        if graph.has(section) and isinstance(graph.value(section), Mapping) and graph.has(key):
            return _KEY_BYTES[graph.string(key, choices=tuple(_KEY_BYTES))]
    return None
