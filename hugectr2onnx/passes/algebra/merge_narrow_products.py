"""Merge products with few columns that read the same operand, so that it is read once.

x @ Wa, x @ Wb  =  split(x @ [Wa Wb])
"""

from __future__ import annotations

import numpy as np

from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.linear import Linear, MatMul
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes import cost
from hugectr2onnx.passes.analysis.products import Product, multiply
from hugectr2onnx.passes.rewriter import Fires


def merge_narrow_products(graph: Graph) -> Fires:
    """%a = linear(%x, %wa, %ba); %b = linear(%x, %wb, %bb)  ->  %a, %b = split(linear(%x, [%wa %wb], [%ba %bb]))"""
    return +Fires({"merge_narrow_products": sum(_merge_readers(node) for node in list(graph) if node in graph)})


def _merge_readers(node: Node) -> int:
    return sum(_merge(group) for value in node.results for group in _groups(value))


def _groups(x: Value) -> list[list[Product]]:
    """Return the narrow products of one operand, in groups that are worth one product each."""
    if x.const is not None or x.type.rank != 2:
        return []
    readers = [use.node for use in x.uses if use.slot == 0 and isinstance(use.node.op, Linear | MatMul)]
    products = [Product.of(reader.results[0]) for reader in readers]
    narrow = [product for product in products if product and _is_mergeable(product)]
    return [group for group in _fill(narrow) if len(group) > 1]


def _is_mergeable(product: Product) -> bool:
    k, n = product.shape
    return product.is_plain and cost.is_worth_merging(k, n)


def _fill(products: list[Product]) -> list[list[Product]]:
    """Return groups in order, each as long as its columns fit one product."""
    groups: list[list[Product]] = []
    columns = 0
    for product in products:
        columns += product.shape[1]
        if not groups or not cost.fits_merged_product(columns):
            groups.append([])
            columns = product.shape[1]
        groups[-1].append(product)
    return groups


def _merge(group: list[Product]) -> int:
    graph = group[0].value.graph
    sources = dict.fromkeys(source for product in group for source in product.value.node.sources)
    with graph.building(*sources):
        merged = multiply(group[0].x, np.hstack([product.weight for product in group]), _biases(group))
        if merged is None:
            return 0
        pieces = [piece for product in group for piece in _pieces(product.value)]
        split = Split(1, tuple(_length(piece) for piece in pieces))(merged)
    for old, new in zip(pieces, split.node.results, strict=True):
        graph.replace(old, new)
    for old in pieces:
        if old.node in graph:
            graph.erase_dead(old.node)
    return len(group) - 1


def _biases(group: list[Product]) -> Array | None:
    biases = [product.bias for product in group]
    if all(bias is None for bias in biases):
        return None
    return np.hstack([np.zeros(p.shape[1]) if b is None else b for p, b in zip(group, biases, strict=True)])


def _pieces(value: Value) -> list[Value]:
    """Return the value, or what it is split into if that is all that happens to it."""
    if value.has_one_use:
        user = value.uses[0].node
        if isinstance(user.op, Split) and user.op.axis == 1:
            return list(user.results)
    return [value]


def _length(value: Value) -> int:
    length = value.type.shape[1]
    assert isinstance(length, int)
    return length
