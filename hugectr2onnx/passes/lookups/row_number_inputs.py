"""Let the caller find the rows: an input takes row numbers instead of keys (`keys="indices"`).

The table's keys become 0, 1, 2, ..., its rows stay where they are, and what was taken out of the model is returned, to be
saved as a key map. It runs before the reference is computed: the model, and the proof, then speak of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from hugectr2onnx.errors import Setting, UnsupportedError
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.key_maps import NO_OFFSETS
from hugectr2onnx.ir.ops.lookup import Embedding, Lookup, SlotOffset
from hugectr2onnx.ir.ops.requests import PadKeys, SplitTables
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.ops.structural import Input
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes.lookups.choose_key_map import wanted_strategy
from hugectr2onnx.passes.lookups.strategies import INDICES
from hugectr2onnx.tables.key_index import MAX_KEY, KeyColumn, column


@dataclass(frozen=True, eq=False)
class RowInput:
    """An input that now takes rows of a table: the keys of the rows, and what each slot adds to its keys first."""

    input: str
    table: str
    keys: Array
    offsets: tuple[int, ...]
    padding_key: int | None = None


def row_number_inputs(graph: Graph, keys: str | Mapping[str, str]) -> tuple[RowInput, ...]:
    """%o = slot_offset(%k); %e = embedding(%o, %keys, %vectors)  ->  %e = embedding(%k, [0, 1, ...], %vectors)

    Keys may be reshaped on their way. Raises UnsupportedError where one input feeds several tables or a look-up that takes
    keys, or a row depends on the slot too.
    """
    wanted = [node for node in graph if isinstance(node.op, Lookup) and wanted_strategy(node, keys) == INDICES.name]
    found: dict[Value, RowInput] = {}
    for node in wanted:
        source, entry = _row_input(node)
        for reader, offsets in _readers(node, source, ()):
            _check_reader(node, reader, entry, offsets, reader in wanted)
        found.setdefault(source, entry)
    rows: dict[Value, Value] = {}
    for node in wanted:
        _replace(graph, node, rows)
    return tuple(found.values())


def source_of(node: Node) -> tuple[Value, tuple[int, ...]]:
    """Tell where the keys of a look-up come from, and what each slot adds to them on the way."""
    source = node.inputs[0]
    offsets: tuple[int, ...] = node.op.offsets if isinstance(node.op, Lookup) else ()
    while isinstance(source.op, SlotOffset | Reshape):
        offsets = _sum(offsets, source.op.offsets) if isinstance(source.op, SlotOffset) else offsets
        source = source.inputs[0]
    return source, offsets


def input_of(node: Node) -> Value:
    """Return the value that a look-up's keys come from: an input of the model, unless it holds several tables' keys."""
    source, _ = source_of(node)
    return source.inputs[0] if isinstance(source.op, PadKeys) else source


def _row_input(node: Node) -> tuple[Value, RowInput]:
    """Return the input behind a look-up, and what its rows mean."""
    if type(node.op) is not Embedding:
        raise _refuse(node, "its look-up is divided among GPUs, so the slot decides which row is meant")
    _, offsets = source_of(node)
    source = input_of(node)
    if isinstance(source.op, SplitTables):
        raise _refuse(node, f"{source.inputs[0].node.name} holds the keys of all tables, whose rows are others")
    if not isinstance(source.op, Input):
        raise _refuse(node, "its keys are no input of the model")
    const = node.inputs[1].const
    assert const is not None
    return source, RowInput(source.node.name, ", ".join(node.sources), const, offsets, node.op.padding_key)


def _readers(node: Node, value: Value, offsets: tuple[int, ...]) -> Iterator[tuple[Node, tuple[int, ...]]]:
    """Yield the look-ups that read an input, each with what was added to the keys before."""
    for use in value.uses:
        op = use.node.op
        if isinstance(op, Lookup):
            yield use.node, _sum(offsets, op.offsets) if op.offsets else offsets
        elif isinstance(op, SlotOffset):
            yield from _readers(node, use.node.results[0], _sum(offsets, op.offsets))
        elif isinstance(op, Reshape | PadKeys):
            yield from _readers(node, use.node.results[0], offsets)
        else:
            raise _refuse(node, f"{op.mnemonic} reads its keys too")


def _sum(offsets: tuple[int, ...], more: tuple[int, ...]) -> tuple[int, ...]:
    """Return offsets one after the other: both saturate at the same number, so their order does not matter."""
    return tuple(min(a + b, MAX_KEY) for a, b in zip(offsets, more, strict=True)) if offsets else more


def _check_reader(node: Node, reader: Node, entry: RowInput, offsets: tuple[int, ...], takes_rows: bool) -> None:
    other = ", ".join(reader.sources)
    if reader.inputs[1].const is not entry.keys or offsets != entry.offsets:
        raise _refuse(node, f"its input {entry.input} feeds {other} too, whose rows are others")
    if not takes_rows:
        raise _refuse(node, f"its input {entry.input} feeds {other} too, which takes keys")


def _replace(graph: Graph, node: Node, rows: dict[Value, Value]) -> None:
    table_keys = node.inputs[1]
    if table_keys not in rows:
        numbers: KeyColumn = column(np.arange(table_keys.type.concrete(1)[0]))
        rows[table_keys] = graph.const(numbers, f"{table_keys.node.name}.rows")
    with graph.building(*node.sources):
        assert isinstance(node.op, Lookup)
        op = replace(node.op, offsets=NO_OFFSETS, padding_key=None)
        replaced = graph.add(op, _without_offsets(graph, node.inputs[0]), rows[table_keys], *node.inputs[2:])
    graph.replace(node.results[0], replaced)
    graph.erase_dead(node)


def _without_offsets(graph: Graph, keys: Value) -> Value:
    if isinstance(keys.op, Input):
        return keys
    if isinstance(keys.op, PadKeys):
        # Among row numbers any negative one is padding.
        return graph.add(replace(keys.op, padding_key=None), *keys.inputs) if keys.op.padding_key is not None else keys
    before = _without_offsets(graph, keys.inputs[0])
    if isinstance(keys.op, SlotOffset):
        return before
    return keys if before == keys.inputs[0] else graph.add(keys.op, before)


def _refuse(node: Node, why: str) -> UnsupportedError:
    table = ", ".join(node.sources) or node.name
    return UnsupportedError(f"{table} cannot have ", Setting("keys", INDICES.name), f": {why}; choose another strategy")
