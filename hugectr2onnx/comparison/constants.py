"""Tell which weights differ, where and by how much: the constants of the reference against those of the other side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.comparison.tensors import layer_of_node
from hugectr2onnx.ir.graph import Graph, Node
from hugectr2onnx.ir.ops.lookup import Lookup, table_label
from hugectr2onnx.ir.ops.structural import Const
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables import paging
from hugectr2onnx.verification.causes import ModelSource
from hugectr2onnx.verification.explanation import RELATIVE
from hugectr2onnx.verification.identity import compiled_alike
from hugectr2onnx.verification.stored_table import tensor_of

_MAX_SHOWN_KEYS = 4
_STATISTICS = ("mean", "var")


@dataclass(frozen=True)
class ConstantDifference:
    """A constant of the other side that is not that of the reference; `layers` hold it, `text` says where and by how much."""

    name: str
    layers: tuple[str, ...]
    text: str
    expected: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    found: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)


def difference(name: str, layers: tuple[str, ...], expected: Array, found: Array) -> ConstantDifference | None:
    """Tell what differs between two arrays of one shape, beyond rounding."""
    a, b = np.atleast_1d(expected).astype(np.float64), np.atleast_1d(found).astype(np.float64)
    with np.errstate(all="ignore"):
        error = np.abs(a - b)
    error[np.isnan(error) & ~(np.isnan(a) & np.isnan(b))] = np.inf
    error = np.nan_to_num(error, nan=0.0, posinf=np.inf)
    allowed = RELATIVE * float(np.abs(np.nan_to_num(a)).max(initial=0.0))
    wrong = error > allowed
    if not wrong.any():
        return None
    return ConstantDifference(name, layers, f"{_kind(name, layers, a, b)}{_where(a, b, error, wrong)}", a, b)


def _where(a: Array, b: Array, error: Array, wrong: Array) -> str:
    place = np.unravel_index(int(error.argmax()), error.shape)
    count = int(np.count_nonzero(wrong))
    at = f"[{', '.join(map(str, map(int, place)))}]"
    return (
        f" differs in {count:,} of {a.size:,} elements, most at {at}: {b[place]:.6g} instead of {a[place]:.6g}, "
        f"by {error[place]:.3g}"
    )


def _kind(name: str, layers: tuple[str, ...], a: Array, b: Array) -> str:
    """Tell how a sentence about the constant begins."""
    layer, _, weight = name.rpartition(".")
    if weight in _STATISTICS:
        return f"BatchNorm by other statistics: {name}"
    if not layer:
        return f"the weight {name}, which holds those of {', '.join(layers) or 'several layers'},"
    if a.ndim == 2 and a.shape[0] == a.shape[1] and np.allclose(a.T, b, rtol=1e-6, atol=0):
        return f"the weight {name} is transposed: it"
    if a.size > 1 and not b.any():
        return f"the weight {name} is missing (all zeros): it"
    return f"the weight {name}"


# A second HugeCTR model


def of_graphs(expected: Graph, found: Graph) -> Iterator[ConstantDifference]:
    """Weights, then tables, of two graphs of one model."""
    other = {node.name: node.op.array for node in found if isinstance(node.op, Const) and node.name}
    tables = {value.node for node in expected if isinstance(node.op, Lookup) for value in node.inputs[1:]}
    for node in expected:
        if not isinstance(node.op, Const) or node in tables or node.op.array.dtype.kind != "f":
            continue
        array = other.get(node.name)
        if array is not None and array.shape == node.op.array.shape:
            found_difference = difference(node.name, node.sources, node.op.array, array)
            if found_difference is not None:
                yield found_difference
    lookups = {table_label(node): node for node in found if isinstance(node.op, Lookup)}
    for node in expected:
        if isinstance(node.op, Lookup) and table_label(node) in lookups:
            yield from _of_tables(node, lookups[table_label(node)])


def _of_tables(expected: Node, found: Node) -> Iterator[ConstantDifference]:
    label, layers = table_label(expected), (*expected.sources, expected.name)
    keys, others = (np.asarray(node.inputs[1].const) for node in (expected, found))
    vectors, other_vectors = expected.inputs[2].const, found.inputs[2].const
    assert vectors is not None and other_vectors is not None
    if not np.array_equal(keys, others):
        lost, new = np.setdiff1d(keys, others), np.setdiff1d(others, keys)
        text = f"the table {label} has other keys: {len(lost):,} are missing, {len(new):,} are new"
        if len(lost) or len(new):
            yield ConstantDifference(label, layers, text)
        return
    wrong = np.flatnonzero(_differing_rows(vectors, other_vectors))
    if len(wrong):
        yield ConstantDifference(label, layers, rows_text(label, keys[wrong], len(keys)))


def _differing_rows(a: Array, b: Array) -> Array:
    if a.shape != b.shape:
        return np.ones(len(a), bool)
    step = max(1, (4 << 20) // max(1, a[:1].nbytes))
    parts = [np.empty(0, bool)]
    for start in range(0, len(a), step):
        rows = slice(start, start + step)
        parts.append((_read(a[rows]) != _read(b[rows])).reshape(len(a[rows]), -1).any(axis=1))
    return np.concatenate(parts)


def _read(chunk: Array) -> Array:
    buffer = paging.buffer(chunk.shape, chunk.dtype)
    paging.read(chunk, buffer)
    return buffer


def rows_text(table: str, keys: Array, total: int) -> str:
    """Return a sentence about keys whose rows differ."""
    listed = ", ".join(str(int(key)) for key in keys[:_MAX_SHOWN_KEYS]) + (
        ", ..." if len(keys) > _MAX_SHOWN_KEYS else ""
    )
    return f"rows of the table {table} differ for {len(keys):,} of {total:,} keys: {listed}"


# An ONNX file of ours: the source compiled again has the same tensors


def of_file(file: Artifact, source: ModelSource, tables: set[str]) -> tuple[list[ConstantDifference], str]:
    """(constants that differ from those of the source compiled again, why that cannot be said)."""
    alike = compiled_alike(file, source)
    if isinstance(alike, str):
        return [], alike
    return min((list(_of_artifacts(each, file, tables)) for each in alike), key=len), ""


def _of_artifacts(expected: Artifact, found: Artifact, tables: set[str]) -> Iterator[ConstantDifference]:
    layers = layers_of_constants(found.skeleton.graph)
    for tensor in found.skeleton.graph.initializer:
        name = tensor.name
        if name in tables or tensor.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
            continue
        owners = layers.get(name, ())
        own = name.rpartition(".")[0]
        change = difference(
            name, (own,) if own in owners else owners, tensor_of(expected, name), tensor_of(found, name)
        )
        if change is not None:
            yield change


def layers_of_constants(graph: onnx.GraphProto) -> Mapping[str, tuple[str, ...]]:
    """Return the layers of the nodes that read each constant."""
    found: dict[str, dict[str, None]] = {}
    for node in graph.node:
        layers = [each for each in layer_of_node(node).split(", ") if each]
        for name in node.input:
            found.setdefault(name, {}).update(dict.fromkeys(layers))
    return {name: tuple(layers) for name, layers in found.items()}


# An ONNX file of another converter: constants are paired by their contents


def of_foreign_file(
    reference: Graph, layers: tuple[str, ...], file: Artifact, between: set[str]
) -> Iterator[ConstantDifference]:
    """Yield weights of some layers against the constants that the file reads there, each with the one that is nearest to it."""
    candidates = {}
    for tensor in file.skeleton.graph.initializer:
        if tensor.name in between and tensor.data_type == onnx.TensorProto.FLOAT:
            candidates[tensor.name] = tensor_of(file, tensor.name)
    for node in reference:
        if not isinstance(node.op, Const) or node.op.array.dtype.kind != "f" or "." not in node.name:
            continue
        if {*node.sources}.isdisjoint(layers) or any(isinstance(use.node.op, Lookup) for use in node.results[0].uses):
            continue
        array = np.asarray(node.op.array)
        pairs = [(name, same) for name, other in candidates.items() for same in _alike(array, other)]
        if not pairs:
            yield ConstantDifference(
                node.name, node.sources, f"the weight {node.name} is missing: the file has none of its size"
            )
            continue
        _, found = min(pairs, key=lambda pair: float(np.abs(pair[1] - array).mean()))
        change = difference(node.name, node.sources, array, found)
        if change is not None:
            yield change


def _alike(array: Array, other: Array) -> Iterator[Array]:
    """Yield the other constant in the shape of this one, as it is and transposed."""
    if other.size != array.size:
        return
    yield other.reshape(array.shape)
    if array.ndim == 2 and min(array.shape) > 1 and other.shape == array.shape[::-1]:
        yield other.T
