"""Take the tables out of a model: inputs take the rows of each request instead (`ir.ops.fetched_rows`).

It runs on an imported graph, behind the computation of the reference and before the passes, which then treat the look-ups
that it makes like any others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hugectr2onnx.errors import Setting, UnsupportedError
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.fetched_rows import FetchedLookup
from hugectr2onnx.ir.ops.lookup import VECTORS, LocalizedEmbedding, Lookup
from hugectr2onnx.ir.ops.requests import RequestOp
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.ops.structural import Input
from hugectr2onnx.ir.types import Array, TensorType, Width, f32
from hugectr2onnx.passes.lookups.row_number_inputs import source_of
from hugectr2onnx.tables.row_format import RowFormat

PLACES, ROWS = ".places", ".rows"


@dataclass(frozen=True, eq=False)
class FetchedTable:
    """A table that left the model. `slot_ids` tell the GPU of a row where there are several (formats 2.2)."""

    name: str
    keys: Array
    vectors: Array
    row_format: RowFormat
    default: float
    n_gpus: int = 1
    slot_ids: Array | None = None


@dataclass(frozen=True)
class FetchedInput:
    """The places of the keys of one input, and the rows inputs that they count in, each with its table's number.

    `offsets`: added to the keys of each slot first, none where that is nothing. `n_gpus`: with several, the same key is
    another row for a slot of another GPU.
    """

    name: str
    keys: str
    type: TensorType
    offsets: tuple[int, ...]
    padding_key: int | None
    n_gpus: int
    rows: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Fetched:
    """The tables that left the model, and the inputs that came for them."""

    tables: tuple[FetchedTable, ...]
    inputs: tuple[FetchedInput, ...]


def fetch_rows(graph: Graph, *, fast: bool) -> Fetched:
    """%e = embedding(slot_offset(%k), %keys, %vectors)  ->  %e = fetched_lookup(%k.places, %e.rows)

    `fast`: see `FetchedLookup`. Inputs of keys, and others that no output needs, leave the interface. Raises UnsupportedError
    for keys that do not come padded.
    """
    return _Fetching(graph, fast).run()


class _Fetching:
    def __init__(self, graph: Graph, fast: bool) -> None:
        self._graph = graph
        self._fast = fast
        self._tables: dict[tuple[object, ...], FetchedTable] = {}
        self._inputs: dict[tuple[object, ...], FetchedInput] = {}
        self._places: dict[str, Value] = {}
        self._rows: dict[tuple[str, int], Value] = {}

    def run(self) -> Fetched:
        self._graph.prune()  # the table of a look-up that no output needs is not stored
        for node in [node for node in self._graph if isinstance(node.op, Lookup)]:
            self._replace(node)
        self._graph.prune_inputs()
        return Fetched(tuple(self._tables.values()), tuple(self._inputs.values()))

    def _replace(self, node: Node) -> None:
        op = node.op
        assert isinstance(op, Lookup)
        table = self._table(node, op)
        kind, fetched = self._input(node, op)
        places = self._moved(node.inputs[0], self._places[fetched.name])
        rows = self._rows_of(kind, fetched, table)
        found = FetchedLookup(op.combiner, op.default, row_format=op.row_format, apart=op.apart, fast=self._fast)
        with self._graph.building(*node.sources):
            replaced = self._graph.add(found, places, rows, name=node.name)
        self._graph.replace(node.results[0], replaced)
        self._graph.erase_dead(node)

    def _table(self, node: Node, op: Lookup) -> int:
        """Return the number of the table of a look-up; look-ups share what means the same rows."""
        gpus = op.n_gpus if isinstance(op, LocalizedEmbedding) else 1
        kind = (*node.inputs[1:], op.row_format, op.default, gpus)
        if kind not in self._tables:
            keys, vectors, *slot_ids = (operand.const for operand in node.inputs[1:])
            assert keys is not None and vectors is not None
            name = self._free_name(node.inputs[2].node.name.removesuffix(VECTORS))
            own_slots = slot_ids[0] if slot_ids and gpus > 1 else None
            self._tables[kind] = FetchedTable(name, keys, vectors, op.row_format, op.default, gpus, own_slots)
        return list(self._tables).index(kind)

    def _free_name(self, name: str) -> str:
        taken, free, number = {table.name for table in self._tables.values()}, name, 1
        while free in taken:
            number += 1
            free = f"{name}_{number}"
        return free

    def _input(self, node: Node, op: Lookup) -> tuple[tuple[object, ...], FetchedInput]:
        """Return the input of places that a look-up reads, declared with the first one."""
        source, offsets = source_of(node)
        if isinstance(source.op, RequestOp) or not isinstance(source.op, Input):
            raise UnsupportedError(
                f"{', '.join(node.sources)} cannot have its table elsewhere: its keys do not come padded; leave out ",
                Setting("interface"),
            )
        slots = source.shape[1]
        if len(offsets) != slots:
            # Behind a Reshape each place of a key is a slot (concat look-ups), and all of them add the same.
            assert isinstance(slots, int) and len(set(offsets)) <= 1
            offsets = offsets[:1] * slots
        offsets = offsets if any(offsets) else ()
        gpus = op.n_gpus if isinstance(op, LocalizedEmbedding) else 1
        kind = (source, offsets, op.padding_key, gpus)
        if kind not in self._inputs:
            name = self._free_input(source.node.name)
            self._places[name] = self._graph.input(name, source.type)
            self._inputs[kind] = FetchedInput(name, source.node.name, source.type, offsets, op.padding_key, gpus)
        return kind, self._inputs[kind]

    def _free_input(self, keys: str) -> str:
        name, number = f"{keys}{PLACES}", 1
        while name in self._places:
            number += 1
            name = f"{keys}{PLACES}{number}"
        return name

    def _moved(self, keys: Value, places: Value) -> Value:
        """Return the places under the shape that the look-up has its keys in."""
        if isinstance(keys.op, Input):
            return places
        before = self._moved(keys.inputs[0], places)
        return self._graph.add(keys.op, before) if isinstance(keys.op, Reshape) else before

    def _rows_of(self, kind: tuple[object, ...], fetched: FetchedInput, table: int) -> Value:
        at = (fetched.name, table)
        if at not in self._rows:
            own = list(self._tables.values())[table]
            is_shared = any(other == table for _, other in self._rows)
            name = f"{own.name}.{fetched.name.removesuffix(PLACES)}{ROWS}" if is_shared else f"{own.name}{ROWS}"
            symbol = Width(1, f"rows_{fetched.name.removesuffix(PLACES)}")
            self._rows[at] = self._graph.input(name, f32(symbol, int(own.vectors.shape[1])))
            self._inputs[kind] = replace(fetched, rows=(*fetched.rows, (name, table)))
        return self._rows[at]
