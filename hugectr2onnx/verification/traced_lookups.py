"""Find the tables of an ONNX file: which tensor answers which embedding look-up, and at which place.

Names tell nothing about the file of another converter, so the file is asked. The nodes between an input of keys and a
Gather run alone, on keys whose pattern says for every row number that comes out which key it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hugectr2onnx.errors import HugeCTR2ONNXError
from hugectr2onnx.ir.feeds import request, smallest_batch
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.lookup import LocalizedEmbedding, Lookup
from hugectr2onnx.ir.ops.requests import PadKeys
from hugectr2onnx.ir.ops.structural import Input
from hugectr2onnx.ir.types import Array
from hugectr2onnx.verification.row_finder import Feeder, KeyGroup, RowFinder, trace_places
from hugectr2onnx.verification.table_gathers import TableGathers

if TYPE_CHECKING:
    from hugectr2onnx.backend.onnx.artifact import Artifact

PROBE_KEY = 1 << 50
"""A key from which on every position of an input gets a number of its own, so that what is added to it can be told."""


@dataclass(frozen=True, eq=False)
class TracedLookup:
    """A look-up of the source and what answers it in the file.

    `tensor` and `scales` are initializers of the file. `places[cell]` is the place of the answer for a cell of the input
    among the row numbers of one batch unit, -1 where the file never looks at the cell.
    """

    node: Node
    input: str
    tensor: str
    scales: str | None
    finder: RowFinder
    places: Array
    groups: tuple[KeyGroup, ...]


def trace(graph: Graph, artifact: Artifact) -> dict[Node, TracedLookup | str]:
    """For each look-up of the source what answers it in the file, or why that cannot be told."""
    found: dict[Node, TracedLookup | str] = {}
    unit = smallest_batch(graph)
    tracer = _Tracer(artifact, unit)
    for node in graph:
        if isinstance(node.op, Lookup):
            try:
                found[node] = tracer.trace(node)
            except HugeCTR2ONNXError as error:
                found[node] = str(error)
    return found


class _Tracer:
    def __init__(self, artifact: Artifact, unit: int):
        self.artifact = artifact
        self.unit = unit
        self.gathers = TableGathers(artifact)
        self.finders: dict[Value, RowFinder] = {}

    def trace(self, node: Node) -> TracedLookup | str:
        source = source_of_keys(node.inputs[0])
        if source is None:
            return "its keys are no input of the model"
        inputs = inputs_of(source)
        name = inputs[0]
        groups = tuple(_groups(node, source, self.unit))
        tensors = self.gathers.tensors_of(inputs, _width(node))
        if not tensors:
            return f"no table of {_width(node)} columns is gathered from by keys of {name}"
        if source not in self.finders:
            indices = self.gathers.indices_of(inputs)
            self.finders[source] = RowFinder(
                self.artifact, inputs, source.type.concrete(self.unit), indices, _feeder(source)
            )
        finder = self.finders[source]
        read = trace_places(finder, groups, _keys(node))
        if read is None:
            return "the row numbers that the file works out cannot be traced back to keys"
        for tensor in self.gathers.likeliest(tensors, node):
            places = np.full(finder.cells, -1, np.int64)
            for index in tensors[tensor]:
                stretch = finder.stretches[index]
                (seen,) = np.nonzero(read[stretch] >= 0)
                places[read[stretch][seen]] = stretch.start + seen
            if (places >= 0).any():
                scales = self.gathers.scales_of(tensor, tensors[tensor])
                return TracedLookup(node, name, tensor, scales, finder, places, groups)
        return f"no table of {_width(node)} columns answers its keys"


def _width(node: Node) -> int:
    return int(node.inputs[2].type.concrete(1)[1])


def _keys(node: Node) -> Array:
    keys = node.inputs[1].const
    assert keys is not None
    return keys


def source_of_keys(value: Value) -> Value | None:
    """Return the input of keys, or the padded keys of one, that a value alone is made from; None where it is made from more."""
    while not isinstance(value.op, Input | PadKeys):
        if len(value.inputs) != 1:
            return None
        value = value.inputs[0]
    return value


def inputs_of(source: Value) -> list[str]:
    """Return the names of the inputs that keys come from: that of the keys themselves first."""
    if isinstance(source.op, Input):
        return [source.node.name]
    return list(dict.fromkeys(name for operand in source.inputs for name in inputs_of(operand)))


def _feeder(source: Value) -> Feeder:
    """Makes the inputs from keys as look-ups take them: every place is sent, so that each has its row number."""
    return lambda keys: request(source.graph, {source: keys}, len(keys), whole=True)


def value_for(value: Value, given: Mapping[Value, Array]) -> Array:
    """Return a value made from others, for those that are given."""
    if value in given:
        return given[value]
    made = value.op.evaluate(*(value_for(operand, given) for operand in value.inputs))
    return np.asarray(made[value.index] if isinstance(made, tuple) else made)


def _groups(node: Node, source: Value, unit: int) -> Iterator[KeyGroup]:
    """Yield the cells that a look-up reads and what is added to the keys there, told by numbering the cells."""
    shape = source.type.concrete(unit)
    first = np.full(shape, PROBE_KEY, np.int64)
    numbered = first + np.arange(first.size).reshape(shape)
    offsets = value_for(node.inputs[0], {source: first}) - PROBE_KEY
    cells = value_for(node.inputs[0], {source: numbered}) - PROBE_KEY - offsets
    op = node.op
    if not isinstance(op, LocalizedEmbedding):
        yield KeyGroup(None, cells.reshape(-1), offsets.reshape(-1))
        return
    slot_ids = node.inputs[3].const
    assert slot_ids is not None
    for gpu in range(op.n_gpus):
        mine = [position for position, slot in enumerate(op.slots) if slot % op.n_gpus == gpu]
        (rows,) = np.nonzero(np.asarray(slot_ids) % op.n_gpus == gpu)
        yield KeyGroup(rows, cells[:, mine].reshape(-1), offsets[:, mine].reshape(-1))
