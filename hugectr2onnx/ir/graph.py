"""`Graph`, `Node`, `Value` and `Use`: the only module that imports networkx.

A networkx node is one `Node`; an edge is one use, from producer to consumer: its key is the input slot, its data the
output index. `x + x` is two parallel edges. Networkx' views cost microseconds where a tuple costs nanoseconds, and they give
the uses of a node, where one result of a Split of hundreds is asked about: so the operands also stand in a tuple on the
node, and the uses of each result in an ordered set. `_connect` and `_disconnect` set edges and uses together, and the
verifier proves that all three say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import networkx as nx
import numpy as np

from hugectr2onnx.errors import CompilerError
from hugectr2onnx.ir.op import Op
from hugectr2onnx.ir.ops.structural import Const, Input, Outputs
from hugectr2onnx.ir.printer import print_graph
from hugectr2onnx.ir.syntax import Operators
from hugectr2onnx.ir.types import Array, Dim, TensorType


class Node:
    """An operation in a graph: its op, operands, result types, a name hint and the layers it came from."""

    __slots__ = ("graph", "inputs", "name", "op", "sources", "types", "uses")

    def __init__(self, graph: Graph, op: Op, types: tuple[TensorType, ...], name: str, sources: tuple[str, ...]):
        self.graph = graph
        self.op = op
        self.types = types
        self.name = name
        self.sources = sources
        self.inputs: tuple[Value, ...] = ()
        self.uses: tuple[dict[Use, None], ...] = tuple({} for _ in types)
        """Those of each result, oldest first."""

    def __repr__(self) -> str:
        return f"<{self.op.mnemonic} {self.name}>"

    @property
    def results(self) -> tuple[Value, ...]:
        # Nearly every node has one; the general way takes four times as long.
        return (Value(self),) if len(self.types) == 1 else tuple(Value(self, index) for index in range(len(self.types)))


@dataclass(frozen=True, slots=True)
class Use:
    """One operand slot of one node."""

    node: Node
    slot: int


@dataclass(frozen=True, slots=True, eq=False)
class Value(Operators):
    """One result of a node. `+ - * / @` and calling an op build operations on it."""

    node: Node
    index: int = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and self.node is other.node and self.index == other.index

    def __hash__(self) -> int:
        return hash((id(self.node), self.index))

    def __repr__(self) -> str:
        return f"%{self.node.name or self.node.op.mnemonic}{f'.{self.index}' if self.index else ''}: {self.type}"

    @property
    def op(self) -> Op:
        return self.node.op

    @property
    def type(self) -> TensorType:
        return self.node.types[self.index]

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.type.shape

    @property
    def graph(self) -> Graph:
        return self.node.graph

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The operands of the node that produces this value."""
        return self.node.inputs

    @property
    def const(self) -> Array | None:
        """The contents, where the value is a constant."""
        return self.op.array if isinstance(self.op, Const) else None

    @property
    def uses(self) -> tuple[Use, ...]:
        return self.graph.uses(self)

    @property
    def has_one_use(self) -> bool:
        return len(self.node.uses[self.index]) == 1

    def build(self, op: Op, *operands: Value) -> Value:
        return self.graph.add(op, *operands)

    def lift(self, scalar: float) -> Value:
        """Return a number as a constant of this value's graph."""
        return self.graph.const(np.float32(scalar))


class Graph:
    """A dataflow graph. Its whole mutation surface: add, input, const, output, replace, erase, prune, clone."""

    def __init__(self, name: str = "graph"):
        self.name = name
        self._nx: nx.MultiDiGraph[Node] = nx.MultiDiGraph()
        self._inputs: list[Node] = []
        self._output: Node | None = None
        self._sources: tuple[str, ...] = ()
        self._added: list[Node] | None = None
        self._order: list[Node] | None = None
        self._count: int | None = None
        self.fires_left: int | None = None
        """How often rules may still change the graph, for a search of the one that is at fault; None: without end."""

    # Building

    def add(self, op: Op, *operands: Value, name: str = "") -> Value:
        """Append an operation and return its first result; raises ShapeError where the operands do not fit."""
        if any(operand.graph is not self for operand in operands):
            raise CompilerError(f"{op.mnemonic} was given values of another graph")
        inferred = op.infer(*(operand.type for operand in operands))
        types = inferred if isinstance(inferred, tuple) else (inferred,)
        node = Node(self, op, types, name, self._sources)
        self._nx.add_node(node)
        self._set_operands(node, operands)
        if self._added is not None:
            self._added.append(node)
        return Value(node)

    def input(self, name: str, type: TensorType) -> Value:
        """Declare an interface input; the order of the calls is the order of the interface."""
        value = self.add(Input(type), name=name)
        self._inputs.append(value.node)
        self._changed()
        return value

    def const(self, array: Array | np.generic, name: str = "") -> Value:
        """Add a constant; the array is kept, never copied, and may be a memory map."""
        return self.add(Const(np.asanyarray(array)), name=name)

    def output(self, values: Mapping[str, Value]) -> None:
        """Set the interface outputs, in order."""
        if self._output is not None:
            raise CompilerError("the graph has its outputs already")
        self._output = self.add(Outputs(tuple(values)), *values.values()).node
        self._changed()

    @contextmanager
    def building(self, *sources: str) -> Iterator[list[Node]]:
        """Nodes added inside come from these layers; gives the list of them."""
        before = self._sources, self._added
        added: list[Node] = []
        self._sources, self._added = sources, added
        try:
            yield added
        finally:
            self._sources, self._added = before

    # Changing

    def replace(self, old: Value, new: Value) -> None:
        """Let every use of `old` use `new`, which takes over the name hint if it has none of its own."""
        if not new.node.name and old.node.name:
            new.node.name = old.node.name
        for use in self.uses(old):
            node, slot = use.node, use.slot
            self._disconnect(old, node, slot)
            self._connect(new, node, slot)
            node.inputs = (*node.inputs[:slot], new, *node.inputs[slot + 1 :])

    def erase(self, node: Node) -> None:
        """Remove a node that nothing uses."""
        if self._nx.out_degree(node):
            raise CompilerError(f"{node} is still used and cannot be erased")
        if node is self._output or isinstance(node.op, Input):
            raise CompilerError(f"{node} belongs to the interface and cannot be erased")
        self._remove(node)

    def erase_dead(self, node: Node) -> tuple[list[Node], list[Node]]:
        """Erase the node and, upwards, all that only it used; returns the erased and the operands that stay."""
        erased: list[Node] = []
        met: dict[Node, None] = {}
        stack = [node]
        while stack:
            dead = stack.pop()
            met[dead] = None
            if dead in self._nx and not self._nx.succ[dead] and not isinstance(dead.op, Input | Outputs):
                self._remove(dead)
                erased.append(dead)
                stack.extend(operand.node for operand in dead.inputs)
        return erased, [each for each in met if each in self._nx]

    def prune(self) -> int:
        """Remove what no output needs, interface inputs apart; returns how many operations went."""
        needed = nx.ancestors(self._nx, self.sink) | {self.sink} | set(self._inputs)
        dead = [node for node in self._nx if node not in needed]
        for node in dead:
            self._remove(node)
        return len(dead)

    def prune_inputs(self) -> int:
        """Remove what no output needs, interface inputs too; returns how many operations went."""
        needed = nx.ancestors(self._nx, self.sink)
        self._inputs = [node for node in self._inputs if node in needed]
        self._changed()
        return self.prune()

    def clone(self) -> Graph:
        """Return a copy with nodes of its own; constants are shared, not copied."""
        other = Graph(self.name)
        copies: dict[Node, Node] = {}
        for node in self:
            copy = Node(other, node.op, node.types, node.name, node.sources)
            copies[node] = copy
            other._nx.add_node(copy)
            other._set_operands(copy, [Value(copies[operand.node], operand.index) for operand in node.inputs])
        other._inputs = [copies[node] for node in self._inputs]
        other._output = copies[self._output] if self._output else None
        other._changed()
        return other

    def _set_operands(self, node: Node, operands: Sequence[Value]) -> None:
        for slot, operand in enumerate(node.inputs):
            self._disconnect(operand, node, slot)
        for slot, operand in enumerate(operands):
            self._connect(operand, node, slot)
        node.inputs = tuple(operands)

    def _connect(self, operand: Value, node: Node, slot: int) -> None:
        self._changed()
        self._nx.add_edge(operand.node, node, key=slot, index=operand.index)
        operand.node.uses[operand.index][Use(node, slot)] = None

    def _disconnect(self, operand: Value, node: Node, slot: int) -> None:
        self._changed()
        self._nx.remove_edge(operand.node, node, key=slot)
        del operand.node.uses[operand.index][Use(node, slot)]

    def _remove(self, node: Node) -> None:
        """Take a node away; it keeps its operands to be looked at."""
        for slot, operand in enumerate(node.inputs):
            del operand.node.uses[operand.index][Use(node, slot)]
        self._nx.remove_node(node)
        self._changed()

    # Looking

    @property
    def inputs(self) -> tuple[Value, ...]:
        return tuple(Value(node) for node in self._inputs)

    @property
    def sink(self) -> Node:
        """The node whose operands are the interface outputs."""
        if self._output is None:
            raise CompilerError("the graph has no outputs yet")
        return self._output

    @property
    def outputs(self) -> dict[str, Value]:
        op = self.sink.op
        assert isinstance(op, Outputs)
        return dict(zip(op.names, self.sink.inputs, strict=True))

    def uses(self, value: Value) -> tuple[Use, ...]:
        """Return the uses of a value, oldest consumer first."""
        return tuple(value.node.uses[value.index])

    def is_used(self, node: Node) -> bool:
        return bool(self._nx.succ[node])

    def users(self, node: Node, limit: int) -> tuple[Node, ...]:
        """Return the nodes that use any result of a node, or none of them where there are more than `limit`."""
        users = self._nx.succ[node]
        return tuple(users) if len(users) <= limit else ()

    def __contains__(self, node: Node) -> bool:
        return node in self._nx

    def __len__(self) -> int:
        """Return the number of operations, constants and the interface apart."""
        if self._count is None:
            self._count = sum(not isinstance(node.op, Input | Outputs | Const) for node in self._nx)
        return self._count

    def __iter__(self) -> Iterator[Node]:
        """Yield inputs as declared, then operands before users, by post-order from the output, dead nodes last.

        The order is that of the moment when the iteration began; it is kept until the graph changes, because dozens of
        passes ask for it and most of them change nothing.
        """
        if self._order is None:
            self._order = list(self._ordered())
        return iter(self._order)

    def _ordered(self) -> Iterator[Node]:
        seen: set[Node] = set(self._inputs)
        yield from self._inputs
        roots = ([self._output] if self._output else []) + list(self._nx)
        for root in roots:
            yield from _post_order(root, seen)

    def _changed(self) -> None:
        self._order = self._count = None

    def edges(self) -> Iterable[tuple[Node, Node, int, int]]:
        """Return every use as (producer, consumer, slot, output index), for the verifier."""
        return ((u, v, slot, data["index"]) for u, v, slot, data in self._nx.edges(keys=True, data=True))

    def find_cycle(self) -> list[Node]:
        """Return the nodes of one cycle, or none. Looking for one is slow; an order with operands before users has none."""
        places = {node: place for place, node in enumerate(self)}
        if all(places[operand.node] < places[node] for node in places for operand in node.inputs):
            return []
        return [edge[0] for edge in nx.find_cycle(self._nx)]

    def __str__(self) -> str:
        return print_graph(self)


def _post_order(root: Node, seen: set[Node]) -> Iterator[Node]:
    if root in seen:
        return
    seen.add(root)
    stack = [(root, iter(root.inputs))]
    while stack:
        node, operands = stack[-1]
        operand = next((o for o in operands if o.node not in seen), None)
        if operand is None:
            stack.pop()
            yield node
        else:
            seen.add(operand.node)
            stack.append((operand.node, iter(operand.node.inputs)))
