"""Let the caller find the rows: an input takes row numbers instead of keys (`keys="indices"`).

The table's keys become 0, 1, 2, ..., its rows stay where they are, and what was taken out of the model is returned, to be
saved as a key map. It runs before the reference is computed: the model, and the proof, then speak of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.key_index import KeyColumn, column
from hugectr2onnx.ir.ops.lookup import Embedding, Lookup, SlotOffset
from hugectr2onnx.ir.ops.structural import Input
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes.choose_key_map import wanted_strategy


@dataclass(frozen=True, eq=False)
class RowInput:
    """An input that now takes rows of a table: the keys of the rows, and what each slot adds to its keys first."""

    input: str
    table: str
    keys: Array
    offsets: tuple[int, ...]


def use_rows(graph: Graph, keys: str | Mapping[str, str]) -> tuple[RowInput, ...]:
    """%o = slot_offset(%k); %e = embedding(%o, %keys, %vectors)  ->  %e = embedding(%k, [0, 1, ...], %vectors)

    Raises UnsupportedError where one input feeds several tables, or a row depends on the slot too.
    """
    found: dict[str, RowInput] = {}
    rows: dict[Value, Value] = {}
    for node in [node for node in graph if isinstance(node.op, Lookup)]:
        if wanted_strategy(node, keys) == "indices":
            entry = _row_input(node)
            known = found.setdefault(entry.input, entry)
            if known.keys is not entry.keys or known.offsets != entry.offsets:
                raise _refuse(node, f"its input {entry.input} feeds {known.table} too, whose rows are others")
            _replace(graph, node, rows)
    return tuple(found.values())


def _row_input(node: Node) -> RowInput:
    """The input behind a look-up; nothing else may read it."""
    keys = node.inputs[0]
    offsets: tuple[int, ...] = ()
    chain = [keys]
    if isinstance(keys.op, SlotOffset):
        offsets, keys = keys.op.offsets, keys.inputs[0]
        chain.append(keys)
    if type(node.op) is not Embedding:
        raise _refuse(node, "its table holds a key several times, and the slot decides which row is meant")
    if not isinstance(keys.op, Input):
        raise _refuse(node, "its keys are no input of the model")
    for value in chain:
        for use in value.uses:
            if not isinstance(use.node.op, Lookup | SlotOffset):
                raise _refuse(node, f"{use.node.op.mnemonic} reads the keys of {keys.node.name} too")
            if isinstance(use.node.op, Lookup) and use.node.inputs[1] != node.inputs[1]:
                other = ", ".join(use.node.sources)
                raise _refuse(node, f"its input {keys.node.name} feeds {other} too, whose rows are others")
    const = node.inputs[1].const
    assert const is not None
    return RowInput(keys.node.name, ", ".join(node.sources), const, offsets)


def _replace(graph: Graph, node: Node, rows: dict[Value, Value]) -> None:
    keys, table_keys = node.inputs[0], node.inputs[1]
    keys = keys.inputs[0] if isinstance(keys.op, SlotOffset) else keys
    if table_keys not in rows:
        numbers: KeyColumn = column(np.arange(table_keys.type.concrete(1)[0]))
        rows[table_keys] = graph.const(numbers, f"{table_keys.node.name}.rows")
    with graph.building(*node.sources):
        replaced = graph.add(node.op, keys, rows[table_keys], *node.inputs[2:])
    graph.replace(node.results[0], replaced)
    graph.erase_dead(node)


def _refuse(node: Node, why: str) -> UnsupportedError:
    table = ", ".join(node.sources) or node.name
    return UnsupportedError(f'{table} cannot have keys="indices": {why}; choose another strategy')
