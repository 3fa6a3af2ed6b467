"""Choose for each product with constant weights whether it is computed in bytes, and rewrite those that are.

A product in bytes takes about 3 microseconds for its operand and rounds it; so it must be large, it must not be a last one,
whose rounding errors nothing averages, and nothing may square it (`sensitive`). `cost.is_worth_int8` has what was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import count

import numpy as np

from hugectr2onnx.errors import OptionError, UnsupportedError
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.linear import Accumulate, Linear, MatMul
from hugectr2onnx.ir.ops.quantized import DynamicQuantize, QuantizedLinear, RowQuantize
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.precision import sensitive
from hugectr2onnx.passes.precision.weight_bytes import WeightBytes, weight_bytes

EXACT, BYTES, ROW_BYTES, SEARCHED = "fp32", "int8", "int8-row", "auto"
"""Floats; bytes whose scale is that of the whole batch, or of each row; whichever is fastest within a budget."""
PRECISIONS = (EXACT, BYTES, ROW_BYTES, SEARCHED)
ASKED_FOR = "asked for"
OTHERS = "*"
"""In a mapping by layer: all layers that it does not name."""


@dataclass(frozen=True)
class ProductPrecision:
    """One product: the layers that it computes, its weight [k, n], and how it is computed and why.

    The errors are those of the weights. `operand` names the bytes of its operand.
    """

    product: str
    layers: tuple[str, ...]
    k: int
    n: int
    precision: str
    why: str
    bytes_before: int
    bytes_after: int
    max_error: float = 0.0
    rms_error: float = 0.0
    operand: str = ""


def quantize_products(
    graph: Graph, precision: str | Mapping[str, str] = EXACT, cpu: str = "any"
) -> tuple[ProductPrecision, ...]:
    """%y = linear(%x, %w, %b)  ->  %q, %s, %z = dynamic_quantize(%x); %y = quantized_linear(%q, %s, %z, %w', %scales, %b)

    With "int8-row" the operand is `row_quantize(%x)`, so that no row depends on another.

    precision: "int8", "int8-row" or "fp32" for all products, or by layer; "*" are the other layers, "fp32" unless told. A
    layer that is named gets what it is given, however small it is. Raises OptionError for a layer that has no product, and
    UnsupportedError for one whose product cannot be computed in bytes as asked.
    """
    nodes = [node for node in graph if _is_product(node)]
    if precision == EXACT:
        return ()
    wanted = dict(precision) if isinstance(precision, Mapping) else {OTHERS: precision}
    _check_names(nodes, wanted)
    inner = sensitive.before_others(graph)
    quantizer = _Quantizer(graph)
    return tuple(_rewrite(node, wanted, node in inner, cpu, quantizer) for node in nodes)


def product_layers(graph: Graph) -> tuple[tuple[str, ...], ...]:
    """Return the layers of each product that could be computed in bytes."""
    return tuple(node.sources for node in graph if _is_product(node))


def _is_product(node: Node) -> bool:
    """Tell whether a node multiplies rows with a constant matrix."""
    if not isinstance(node.op, Linear | MatMul | Accumulate):
        return False
    x, w = node.inputs[:2]
    return w.const is not None and w.type.rank == 2 and x.const is None


def _check_names(nodes: Sequence[Node], wanted: Mapping[str, str]) -> None:
    known = list(dict.fromkeys(layer for node in nodes for layer in node.sources))
    for layer in wanted:
        if layer != OTHERS and layer not in known:
            near = get_close_matches(layer, known, n=1)
            raise OptionError(
                f"precision names {layer[:60]!r}, which is no layer with a product "
                f"({near[0] + '?' if near else ', '.join(known) or 'there is none'})",
                option="precision",
            )


def _rewrite(node: Node, wanted: Mapping[str, str], inner: bool, cpu: str, quantizer: _Quantizer) -> ProductPrecision:
    named = [wanted[layer] for layer in node.sources if layer in wanted]
    # Several layers in one product: one that must stay exact decides.
    asked = (EXACT if EXACT in named else named[0]) if named else wanted.get(OTHERS, EXACT)
    why = _why_exact(node, inner, asked, forced=bool(named)) if asked != EXACT else ASKED_FOR
    stored = None
    if asked != EXACT and not why:
        stored = weight_bytes(_weight(node), cpu)
        why = "" if stored else "its weights are not finite"
    if named and asked != EXACT and stored is None:
        raise UnsupportedError(f"{_name(node)} cannot be {asked}: {why}", option="precision")
    choice = _choice(node, EXACT if stored is None else asked, why or "large enough to gain")
    return choice if stored is None else quantizer.replace(node, stored, choice)


def _why_exact(node: Node, inner: bool, asked: str, *, forced: bool) -> str:
    """Tell why a product stays float32, if it must. A product that the options name may be small or last."""
    result, x = node.results[0], node.inputs[0]
    if sensitive.is_squared(result) or sensitive.is_square(x.node):
        return "it is part of squares that are subtracted, where rounding errors do not average"
    if forced:
        return ""
    if not inner:
        return "it is a last product: nothing behind it averages its rounding errors"
    k, n = _shape(node)
    if not cost.is_worth_int8(k, n, by_row=asked == ROW_BYTES):
        return f"too small to gain: {k} x {n}"
    return ""


def _choice(node: Node, precision: str, why: str) -> ProductPrecision:
    k, n = _shape(node)
    size = _weight(node).nbytes
    return ProductPrecision(_name(node), node.sources, k, n, precision, why, size, size)


def _weight(node: Node) -> np.ndarray:
    weight = node.inputs[1].const
    assert weight is not None
    return weight


def _shape(node: Node) -> tuple[int, int]:
    k, n = _weight(node).shape
    return k, n


def _name(node: Node) -> str:
    return node.name or ".".join([*node.sources[-1:], node.op.mnemonic])


class _Quantizer:
    """Puts products of bytes in the place of products; operands that several share are quantized once."""

    def __init__(self, graph: Graph):
        self._graph = graph
        self._operands: dict[tuple[Value, str], Value] = {}
        self._names = {node.name for node in graph} | set(graph.outputs)

    def replace(self, node: Node, stored: WeightBytes, choice: ProductPrecision) -> ProductPrecision:
        old, x = node.results[0], node.inputs[0]
        with self._graph.building(*node.sources):
            operand = self._operand(x, choice)
            new = self._product(node, operand, stored)
        self._graph.replace(old, new)
        self._graph.erase_dead(node)
        return ProductPrecision(
            choice.product,
            choice.layers,
            choice.k,
            choice.n,
            choice.precision,
            choice.why,
            choice.bytes_before,
            stored.q.nbytes + stored.scales.nbytes,
            stored.max_error,
            stored.rms_error,
            operand.node.name,
        )

    def _product(self, node: Node, operand: Value, stored: WeightBytes) -> Value:
        graph, op = self._graph, node.op
        weight = node.inputs[1].node.name
        n = stored.q.shape[1]
        bias = node.inputs[2] if isinstance(op, Linear) else graph.const(np.zeros(n, np.float32))
        product = QuantizedLinear(op.activation if isinstance(op, Linear) else None)(
            *operand.node.results,
            graph.const(stored.q, f"{weight}.int8" if weight else ""),
            graph.const(stored.scales, f"{weight}.scales" if weight else ""),
            bias,
        )
        return product + node.inputs[2] if isinstance(op, Accumulate) else product

    def _operand(self, x: Value, choice: ProductPrecision) -> Value:
        key = x, choice.precision
        if key not in self._operands:
            by_row = choice.precision == ROW_BYTES
            self._operands[key] = (RowQuantize(_is_nonnegative(x)) if by_row else DynamicQuantize())(x)
            names = _names(f"{choice.product}.operand")
            self._operands[key].node.name = next(name for name in names if name not in self._names)
            self._names.add(self._operands[key].node.name)
        return self._operands[key]


def _is_nonnegative(x: Value) -> bool:
    """Tell whether no number of a value is negative, so that all 256 bytes may stand for positive ones."""
    op = x.node.op
    return isinstance(op, Relu) or (isinstance(op, Linear | QuantizedLinear) and isinstance(op.activation, Relu))


def _names(first: str) -> Iterator[str]:
    """Yield a name and others, which do not end as those that the emitter makes of one name."""
    yield first
    yield from (f"{first}.{number}" for number in count(2))
