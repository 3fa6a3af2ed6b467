"""Changes of the graph that other software makes by mistake, each tried: which of them gives the tensor that was found.

A hypothesis replaces one value of a copy of the graph; the tensor that departs is then evaluated anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from hugectr2onnx.comparison.tensors import nodes_of
from hugectr2onnx.ir.evaluator import evaluate_values
from hugectr2onnx.ir.given_requests import Feeds
from hugectr2onnx.ir.graph import Graph, Node, Value
from hugectr2onnx.ir.op import Op
from hugectr2onnx.ir.ops.dice import Dice, FrozenDice
from hugectr2onnx.ir.ops.elementwise import Elu, Relu, Sigmoid
from hugectr2onnx.ir.ops.lookup import Lookup
from hugectr2onnx.ir.ops.normalization import BatchNormalization
from hugectr2onnx.ir.ops.reduce import Softmax
from hugectr2onnx.ir.ops.sequence_mask import SequenceMask
from hugectr2onnx.ir.ops.shape import Concat
from hugectr2onnx.ir.ops.structural import Const
from hugectr2onnx.ir.types import Array

Copied = Callable[[Value], Value]
_ACTIVATION_OPS = (Relu, Sigmoid, Elu, Softmax, Dice, FrozenDice)
ADDED = ("bias", "beta")
"""How the names of weights begin that are added to something."""


@dataclass(frozen=True)
class Hypothesis:
    """`layer` would give what was found if `old` were what `new` builds in a copy of the graph; `text` says what that is."""

    layer: str
    text: str
    old: Value
    new: Callable[[Graph, Copied], Value]

    def answer(self, target: Value, feeds: Feeds) -> Array:
        """Return the target's values in the changed copy."""
        graph = target.graph
        copy = graph.clone()
        copies = dict(zip(graph, copy, strict=True))

        def copied(value: Value) -> Value:
            return Value(copies[value.node], value.index)

        new = self.new(copy, copied)
        copy.replace(copied(self.old), new)
        return evaluate_values(copy, [new if target == self.old else copied(target)], feeds)[0]


def hypotheses(graph: Graph, layers: Collection[str], feeds: Feeds) -> Iterator[Hypothesis]:
    """Yield those about some layers, the simplest first."""
    nodes = list(graph)
    own = nodes_of(nodes, layers)
    for node in own:
        layer = layer_of(node, layers)
        yield from _of_activation(node, layer)
        yield from _of_constant(node, layer)
        yield from _of_batch_norm(node, layer, feeds)
        yield from _of_lookup(node, layer, feeds)
        yield from _of_concat(node, layer)
    for node in nodes:
        if isinstance(node.op, SequenceMask):
            yield from _of_mask(node, next(iter(layers), node.name), feeds)


def layer_of(node: Node, layers: Collection[str]) -> str:
    """Return the layer among some that a node came from."""
    return next((each for each in (*node.sources, node.name) if each in layers), node.name)


def _of_activation(node: Node, layer: str) -> Iterator[Hypothesis]:
    if isinstance(node.op, _ACTIVATION_OPS):
        value, before = node.results[0], node.inputs[0]
        yield Hypothesis(layer, f"its activation ({node.op.mnemonic}) is dropped", value, lambda _, at: at(before))


def _of_constant(node: Node, layer: str) -> Iterator[Hypothesis]:
    if not isinstance(node.op, Const) or node.op.array.dtype.kind != "f" or "." not in node.name:
        return
    array, name = node.op.array, node.name.rpartition(".")[2]
    if name.startswith(ADDED):
        yield _constant(node, layer, f"its {name} is missing", np.zeros_like(array))
    if array.ndim == 2 and min(array.shape) > 1:
        if array.shape[0] == array.shape[1]:
            yield _constant(node, layer, f"its {name} is transposed", np.ascontiguousarray(array.T))
        in_columns = np.reshape(array, array.shape[::-1]).T
        yield _constant(
            node, layer, f"its {name} is transposed: read column by column", np.ascontiguousarray(in_columns)
        )


def _constant(node: Node, layer: str, text: str, array: Array) -> Hypothesis:
    return Hypothesis(layer, text, node.results[0], lambda graph, _: graph.const(array))


def _of_batch_norm(node: Node, layer: str, feeds: Feeds) -> Iterator[Hypothesis]:
    if not isinstance(node.op, BatchNormalization):
        return
    x = evaluate_values(node.graph, [node.inputs[0]], feeds)[0]
    mean, var = node.inputs[3].const, node.inputs[4].const
    assert mean is not None and var is not None
    choices = {
        "BatchNorm by other statistics: those of this batch, not those of training": (x.mean(0), x.var(0)),
        "BatchNorm by other statistics: mean 0 and variance 1, as before training": (mean * 0, var * 0 + 1),
        "BatchNorm by other statistics: mean and variance exchanged": (var, mean),
    }
    for text, (new_mean, new_var) in choices.items():
        yield _rebuilt(node, layer, text, node.op, {3: new_mean, 4: new_var})


def _rebuilt(node: Node, layer: str, text: str, op: Op, constants: Mapping[int, Array]) -> Hypothesis:
    """Return the node with another op, and with other constants in some of its slots."""

    def build(graph: Graph, at: Copied) -> Value:
        new = {slot: graph.const(np.asarray(array, np.float32)) for slot, array in constants.items()}
        return graph.add(op, *(new.get(slot) or at(value) for slot, value in enumerate(node.inputs)))

    return Hypothesis(layer, text, node.results[0], build)


def _of_lookup(node: Node, layer: str, feeds: Feeds) -> Iterator[Hypothesis]:
    op = node.op
    if not isinstance(op, Lookup) or op.combiner not in ("sum", "mean"):
        return
    summed = replace(op, combiner="sum")
    if op.combiner == "sum":
        yield _rebuilt(node, layer, "it takes the mean in place of the sum", replace(op, combiner="mean"), {})
        return
    width = evaluate_values(node.graph, [node.inputs[0]], feeds)[0].shape[-1]

    def padded_mean(graph: Graph, at: Copied) -> Value:
        return graph.add(summed, *map(at, node.inputs)) * graph.const(np.float32(1 / width))

    text = f"its mean divides by the padded width of {width}, not by the number of keys (as NVIDIA's converter does)"
    yield Hypothesis(layer, text, node.results[0], padded_mean)
    yield _rebuilt(node, layer, "it takes the sum in place of the mean", summed, {})


def _of_concat(node: Node, layer: str) -> Iterator[Hypothesis]:
    if isinstance(node.op, Concat) and len(node.inputs) == 2:
        op, (first, second) = node.op, node.inputs
        text = "its two inputs are in each other's place"
        yield Hypothesis(layer, text, node.results[0], lambda graph, at: graph.add(op, at(second), at(first)))


def _of_mask(node: Node, layer: str, feeds: Feeds) -> Iterator[Hypothesis]:
    value = node.results[0]
    mask = evaluate_values(node.graph, [value], feeds)[0].astype(np.float32)
    for text, array in (
        (f"the mask {node.name} is ignored", np.ones_like(mask)),
        (f"the mask {node.name} is inverted", 1 - mask),
    ):
        yield Hypothesis(layer, text, value, lambda graph, _, array=array: graph.const(array))  # type: ignore[misc]
