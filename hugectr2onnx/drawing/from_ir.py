"""The diagram of an IR graph: constants stand in the box that reads them, embedding tables in a box of their own."""

from __future__ import annotations

from collections.abc import Mapping

from hugectr2onnx.drawing.diagram import Box, Diagram, Edge, Kind, groups_of
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.lookup import Lookup
from hugectr2onnx.ir.ops.structural import Const, Input, Outputs
from hugectr2onnx.ir.printer import Names, attribute_texts
from hugectr2onnx.pages.numbers import size

KIND_OF_MODULE: Mapping[str, Kind] = {
    "structural": "interface",
    "lookup": "look-up",
    "key_maps": "look-up",
    "perfect_hash": "look-up",
    "stored_rows": "look-up",
    "pooling": "look-up",
    "linear": "product",
    "cross": "crossing",
    "factorization": "crossing",
    "interaction": "crossing",
    "attention": "sequence",
    "gru": "sequence",
    "sequence_mask": "sequence",
    "elementwise": "element",
    "dice": "element",
    "normalization": "element",
    "reduce": "reduction",
    "shape": "move",
    "split": "move",
}
"""By the module of `ir/ops` that an op is defined in."""


def diagram_of_graph(graph: Graph, title: str, types: Mapping[str, str], *, has_tables: bool = True) -> Diagram:
    """Return the diagram; `types` gives each layer's type by its top. Without tables their numbers of rows are not told."""
    names, boxes, edges = Names(), [], []
    for node in graph:
        if isinstance(node.op, Const):
            continue
        if isinstance(node.op, Outputs):
            results = zip(node.op.names, node.inputs, strict=True)
            for name, value in results:
                boxes.append(Box(f"output:{name}", name, "interface", ("output",)))
                edges.append(_edge(value, f"output:{name}", names))
            continue
        own = names.of(node.results[0])
        table = _table(node, own, has_tables)
        if table is not None:
            boxes.append(table)
            edges.append(Edge(table.name, own))
        boxes.append(_box(node, own, shows_constants=table is None))
        edges += [_edge(value, own, names) for value in node.inputs if value.const is None]
    return Diagram(title, tuple(boxes), tuple(edges), groups_of(boxes, dict(types)))


def _edge(value: Value, target: str, names: Names) -> Edge:
    return Edge(names.of(value.node.results[0]), target, str(value.type))


def _box(node: Node, name: str, *, shows_constants: bool) -> Box:
    if isinstance(node.op, Input):
        return Box(name, node.name, "interface", ("input", str(node.types[0])))
    constants = [value for value in node.inputs if value.const is not None] if shows_constants else []
    attributes = tuple(attribute_texts(node.op))
    weights = tuple(_weight_line(value) for value in constants)
    kind = KIND_OF_MODULE.get(type(node.op).__module__.rpartition(".")[2], "other")
    return Box(name, node.op.mnemonic, kind, (*attributes, *weights), node.sources, sum(map(_bytes, constants)))


def _table(node: Node, name: str, has_tables: bool) -> Box | None:
    """Return the constants of a look-up: keys and rows."""
    if not isinstance(node.op, Lookup):
        return None
    constants = [value for value in node.inputs if value.const is not None]
    size = sum(map(_bytes, constants))
    lines = tuple(_weight_line(value) for value in constants) if has_tables else ()
    return Box(f"table:{name}", f"table of {', '.join(node.sources)}", "table", lines, node.sources, size * has_tables)


def _weight_line(value: Value) -> str:
    return f"{value.node.name or 'constant'} {value.type}, {size(_bytes(value))}"


def _bytes(value: Value) -> int:
    array = value.const
    return 0 if array is None else int(array.nbytes)
