"""Compile the source again and compare the constants bit for bit: the proof that no feed has to exercise."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from hugectr2onnx.backend.onnx.artifact import Artifact
from hugectr2onnx.backend.simplify import simplifier
from hugectr2onnx.compiler import compile
from hugectr2onnx.ir.types import Array
from hugectr2onnx.verification.causes import ModelSource
from hugectr2onnx.verification.result import Recompilation, TensorDifference
from hugectr2onnx.verification.stored_table import tensor_of
from hugectr2onnx.version import __version__

if TYPE_CHECKING:
    import onnx

VERSION_KEY = "hugectr2onnx.version"


def compare_with_compiled(file: Artifact, source: ModelSource, tables: Collection[str]) -> Recompilation:
    """Compare a file with what its source compiles to; `tables` are tensors that are compared elsewhere."""
    same = compiled_alike(file, source)
    if isinstance(same, str):
        return Recompilation(False, reason=same)
    return min((_compare(file, each, tables) for each in same), key=lambda found: len(found.differences))


def compiled_alike(file: Artifact, source: ModelSource) -> list[Artifact] | str:
    """Tell what the source compiles to with the file's options, where it has the same operators; else why there is none."""
    version = next((each.value for each in file.skeleton.metadata_props if each.key == VERSION_KEY), None)
    if version is None:
        return "the file does not say how it was compiled"
    if version != __version__:
        return f"the file is of version {version}, this is {__version__}"
    options = source.resolved.options
    plain = options.changed(check=False, validate=False, dump=None)
    compiled = compile(source.graph, source.weights, options=plain).artifact
    candidates = [compiled]
    if options.simplify and options.opt_level > 0:
        candidates.append(simplifier.simplify(compiled).artifact)
    wanted = _outline(file.skeleton.graph)
    same = [candidate for candidate in candidates if _outline(candidate.skeleton.graph) == wanted]
    return same or "compiled again, the model has other operators"


def _compare(file: Artifact, compiled: Artifact, tables: Collection[str]) -> Recompilation:
    names = [tensor.name for tensor in file.skeleton.graph.initializer if tensor.name not in tables]
    found = _differences((name, tensor_of(file, name), tensor_of(compiled, name)) for name in names)
    attributes = _attributes(file.skeleton.graph), _attributes(compiled.skeleton.graph)
    found_in_nodes = _differences((name, array, attributes[1][name]) for name, array in attributes[0].items())
    differences = (*found, *found_in_nodes)
    return Recompilation(not differences, len(names) + len(attributes[0]), differences)


def _differences(pairs: Iterator[tuple[str, Array, Array]]) -> tuple[TensorDifference, ...]:
    differing = ((name, a, b) for name, a, b in pairs if a.tobytes() != b.tobytes())
    return tuple(_difference(name, a, b) for name, a, b in differing)


def _difference(name: str, a: Array, b: Array) -> TensorDifference:
    with np.errstate(all="ignore"):
        error = np.abs(a.astype(np.float64) - b.astype(np.float64))
    error[np.isnan(error)] = np.inf
    with np.errstate(all="ignore"):
        largest = float(np.abs(b.astype(np.float64)).max(initial=0.0))
    return TensorDifference(name, float(error.max(initial=0.0)), int(np.count_nonzero(a != b)), largest)


def _outline(graph: onnx.GraphProto) -> list[object]:
    """Operators and how they are connected, names, types and sizes of constants: all but the constants' contents."""
    nodes = [
        (
            node.op_type,
            node.domain,
            tuple(node.input),
            tuple(node.output),
            [_without_tensor(attribute) for attribute in node.attribute],
        )
        for node in graph.node
    ]
    tensors = [(tensor.name, tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer]
    return [nodes, tensors]


def _without_tensor(attribute: onnx.AttributeProto) -> object:
    if attribute.HasField("t"):
        return attribute.name, attribute.t.data_type, tuple(attribute.t.dims)
    return attribute.SerializeToString(deterministic=True)


def _attributes(graph: onnx.GraphProto) -> Mapping[str, Array]:
    """Return the constants within nodes, by what a node makes: outlines compare that, but not names of nodes."""
    from onnx import numpy_helper

    return {
        f"{node.output[0]}.{attribute.name}": numpy_helper.to_array(attribute.t)
        for node in graph.node
        for attribute in node.attribute
        if attribute.HasField("t")
    }
