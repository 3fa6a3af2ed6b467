"""IR as text: stable, so that tests compare it and dumps can be diffed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from hugectr2onnx.ir.op import Op
from hugectr2onnx.ir.ops.structural import Const, Outputs
from hugectr2onnx.ir.types import Batch, TensorType

# The graph prints itself with this module, so the module knows it by what it reads of it.


class PrintedNode(Protocol):
    """A node as the printer reads it (`ir.graph.Node`)."""

    op: Op
    name: str
    types: tuple[TensorType, ...]

    @property
    def inputs(self) -> Sequence[PrintedValue]: ...

    @property
    def results(self) -> Sequence[PrintedValue]: ...


class PrintedValue(Protocol):
    """A value as the printer reads it (`ir.graph.Value`)."""

    @property
    def node(self) -> PrintedNode: ...

    def __hash__(self) -> int: ...


class PrintedGraph(Protocol):
    """A graph as the printer reads it (`ir.graph.Graph`)."""

    name: str

    def __iter__(self) -> Iterator[PrintedNode]: ...


def print_graph(graph: PrintedGraph) -> str:
    """Return the whole graph, an operation a line; constants appear where they are used."""
    names = Names()
    lines = [f"  {print_node(node, names)}" for node in graph if not isinstance(node.op, Const)]
    return "\n".join([f"graph @{graph.name} {{", *lines, "}"])


class Names:
    """A unique `%name` for each value: its hint, with a number behind it where hints clash."""

    def __init__(self) -> None:
        self._taken: dict[str, PrintedValue] = {}
        self._names: dict[PrintedValue, str] = {}

    def of(self, value: PrintedValue) -> str:
        if value not in self._names:
            hint = value.node.name or value.node.op.mnemonic
            name, number = hint, 1
            while name in self._taken:
                number += 1
                name = f"{hint}_{number}"
            self._taken[name] = value
            self._names[value] = name
        return f"%{self._names[value]}"


def print_node(node: PrintedNode, names: Names | None = None) -> str:
    """Return one operation, such as `%fc1 = linear(%x, %w, %b) {activation=relu} : f32[N, 4]`."""
    names = names or Names()
    operands = [names.of(operand) for operand in node.inputs]
    if isinstance(node.op, Outputs):
        pairs = zip(node.op.names, operands, strict=True)
        return "return " + ", ".join(f"{name}={operand}" for name, operand in pairs)
    results = ", ".join(map(names.of, node.results))
    types = ", ".join(map(str, node.types))
    return f"{results} = {node.op.mnemonic}({', '.join(operands)}){print_attributes(node.op)} : {types}"


def print_attributes(op: Op) -> str:
    attributes = attribute_texts(op)
    return f" {{{', '.join(attributes)}}}" if attributes else ""


def attribute_texts(op: Op) -> list[str]:
    """Return each attribute that differs from its default, such as `axis=1`."""
    return [f"{name}={_spell(value)}" for name, value in op.attributes().items()]


def _spell(value: Any) -> str:
    if isinstance(value, Op):
        return value.mnemonic + print_attributes(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_spell, value))}]"
    if isinstance(value, str | Batch):
        return str(value)
    return repr(value)
