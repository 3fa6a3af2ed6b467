"""Read the cause out of one tensor's difference: a weight of a linear layer, keys of a table, another scale."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from hugectr2onnx.comparison.constants import rows_text
from hugectr2onnx.comparison.tensors import nodes_of
from hugectr2onnx.ir.evaluator import evaluate_values
from hugectr2onnx.ir.given_requests import Feeds
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.ops.linear import Linear, MatMul
from hugectr2onnx.ir.ops.lookup import Lookup, table_label
from hugectr2onnx.ir.ops.normalization import BatchNormalization, LayerNormalization
from hugectr2onnx.ir.types import Array


def explain(
    graph: Graph, layers: Collection[str], target: Value, feeds: Feeds, reference: Array, found: Array, tolerance: Array
) -> Iterator[tuple[str, str]]:
    """(layer, sentence) where the difference has the form that other weights of a single layer give."""
    nodes = nodes_of(list(graph), layers)
    residual = found.astype(np.float64) - reference
    if not np.isfinite(residual).all():
        return
    for node in nodes:
        layer = next((each for each in node.sources if each in layers), node.name)
        if isinstance(node.op, MatMul | Linear) and node.inputs[1].const is not None and len(layers) == 1:
            yield from ((layer, text) for text in _of_product(node, layer, feeds, residual, tolerance))
        elif isinstance(node.op, BatchNormalization | LayerNormalization) and node.results[0] == target:
            yield from ((layer, text) for text in _of_scale(node, reference, found, tolerance))
        elif isinstance(node.op, Lookup) and len(layers) == 1:
            yield from ((layer, text) for text in _of_keys(node, feeds, residual, tolerance))


def _of_product(node: Node, layer: str, feeds: Feeds, residual: Array, tolerance: Array) -> Iterator[str]:
    """`found - reference = x @ d`: the weights differ by d."""
    x = evaluate_values(node.graph, [node.inputs[0]], feeds)[0]
    if x.ndim != 2 or residual.ndim != 2 or len(x) != len(residual):
        return
    wrong = np.flatnonzero((np.abs(residual) > tolerance).any(axis=0))
    changes = [_one_weight(x, residual[:, column], tolerance[:, column]) for column in wrong]
    if not len(wrong) or len(wrong) > 3 or any(change is None for change in changes):
        yield from _many_weights(layer, x, residual, tolerance)
        return
    for column, change in zip(wrong, changes, strict=True):
        assert change is not None
        row, by = change
        where = f"weight {layer}.bias[{column}]" if row is None else f"weight {layer}.weight[{row}, {column}]"
        yield f"the {where} differs by {by:.3g}"


def _one_weight(x: Array, residual: Array, tolerance: Array) -> tuple[int | None, float] | None:
    """Return the row of the weight (None: the bias) that explains a column's residual, and by how much it differs."""
    shift = float(residual.mean())
    if (np.abs(residual - shift) <= tolerance).all():
        return None, shift
    power = (x * x).sum(axis=0)
    by = np.divide(x.T @ residual, power, out=np.zeros(len(power)), where=power > 0)
    rests = np.abs(residual[:, None] - x * by).max(axis=0)
    row = int(rests.argmin())
    return (row, float(by[row])) if (np.abs(residual - x[:, row] * by[row]) <= tolerance).all() else None


def _many_weights(layer: str, x: Array, residual: Array, tolerance: Array) -> Iterator[str]:
    used = np.flatnonzero(x.any(axis=0))
    if len(x) < 2 * len(used) + 2:
        return  # so few samples can be explained by some weights or other
    design = np.concatenate([x[:, used], np.ones((len(x), 1))], axis=1)
    by = np.linalg.lstsq(design, residual, rcond=None)[0]
    if (np.abs(design @ by - residual) > tolerance).any():
        return
    place = np.unravel_index(int(np.abs(by).argmax()), by.shape)
    which = "bias" if place[0] == len(used) else f"weight[{used[place[0]]}, {place[1]}]"
    yield f"other weights of {layer} explain it, which differ most in {layer}.{which}, by {by[place]:.3g}"


def _of_scale(node: Node, reference: Array, found: Array, tolerance: Array) -> Iterator[str]:
    """`found = reference * a + c` in every column."""
    count = len(reference)
    if reference.ndim != 2 or count < 4:
        return
    centred, other = reference - reference.mean(0), found - found.mean(0)
    power = (centred * centred).sum(0)
    a = np.divide((centred * other).sum(0), power, out=np.ones_like(power), where=power > 0)
    c = found.mean(0) - a * reference.mean(0)
    if (np.abs(reference * a + c - found) > tolerance * 4 + 1e-5).any():
        return
    column = int(np.abs(np.abs(a - 1) + np.abs(c)).argmax())
    words = "by other statistics" if isinstance(node.op, BatchNormalization) else "by other weights"
    kind = "BatchNorm" if isinstance(node.op, BatchNormalization) else "LayerNorm"
    yield (
        f"{kind} {words} (or another gamma or beta): what was found is the reference times a number plus a number in every "
        f"column, in column {column} times {a[column]:.6g} plus {c[column]:.6g}"
    )


def _of_keys(node: Node, feeds: Feeds, residual: Array, tolerance: Array) -> Iterator[str]:
    """Yield keys in whose every slot the vectors differ."""
    keys = evaluate_values(node.graph, [node.inputs[0]], feeds)[0]
    if residual.ndim != 3 or keys.ndim != 3 or residual.shape[:2] != keys.shape[:2]:
        return
    wrong = (np.abs(residual) > tolerance).any(axis=-1)
    fine = np.unique(keys[~wrong])
    own = [np.setdiff1d(slot, fine) for slot in keys[wrong]]
    # Each slot that differs holds a key that no slot without a difference holds.
    if not own or not all(len(each) for each in own) or wrong.all():
        return
    yield rows_text(table_label(node), np.unique(np.concatenate(own)), len(np.unique(keys)))
