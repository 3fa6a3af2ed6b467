"""For each tuned threshold a graph in which the quantity that it is about has any size.

Each function returns a graph whose level 2 depends on the threshold of its name, and on nothing else nearby.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add

import numpy as np

from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.attention import Attention
from hugectr2onnx.ir.ops.cross import CrossNetwork
from hugectr2onnx.ir.ops.elementwise import Relu
from hugectr2onnx.ir.ops.factorization import FactorizationMachine
from hugectr2onnx.ir.ops.interaction import DotInteraction
from hugectr2onnx.ir.ops.linear import Linear
from hugectr2onnx.ir.ops.normalization import LayerNormalization
from hugectr2onnx.ir.ops.reduce import ReduceSum, Softmax
from hugectr2onnx.ir.ops.shape import Concat, Repeat, Reshape
from hugectr2onnx.ir.ops.split import Split
from hugectr2onnx.ir.types import Batch, N, f32

Build = Callable[[Graph, int], Value]


def graph_of(name: str, size: int) -> Graph:
    """Return the graph of a threshold with the quantity at `size`."""
    graph = Graph(name.lower())
    graph.output({"y": GRAPHS[name](graph, size)})
    return graph


def _const(graph: Graph, *shape: int) -> Value:
    random = np.random.default_rng(len(graph))  # equal constants would be merged
    return graph.const(random.normal(0, 1 / np.sqrt(shape[0]), shape).astype(np.float32))


def _linear(x: Value, columns: int) -> Value:
    width = x.shape[-1]
    assert isinstance(width, int)
    return Linear()(x, _const(x.graph, width, columns), _const(x.graph, columns))


def _input(graph: Graph, *shape: int, name: str = "x") -> Value:
    return graph.input(name, f32(N, *shape))


def _column_reads(graph: Graph, size: int) -> Value:
    return _linear(Relu()(_input(graph, size)), 1) * 0.5 + _linear(Relu()(_input(graph, 8, name="z")), 1)


def _cross(graph: Graph, layers: int) -> Value:
    x = _input(graph, 1024)
    weights = [_const(graph, *shape) for _ in range(layers) for shape in ((1024, 1), (1024,))]
    return _linear(CrossNetwork()(x, *weights), 1)


def _recurrence_steps(graph: Graph, size: int) -> Value:
    return _cross(graph, max(2, size // 2 + 1))


def _experts(graph: Graph, size: int) -> Value:
    """Two tasks that share experts: `size` products of a weight and a matrix."""
    count, width = max(2, size // 2), 32
    experts = [_input(graph, width, name=f"expert{i}") for i in range(count)]
    gates = Split(1, (1,) * (2 * count))(_input(graph, 2 * count, name="gates")).node.results
    sums = [
        reduce(add, [gate * expert for gate, expert in zip(gates[task * count :], experts, strict=False)])
        for task in range(2)
    ]
    return sums[0] * sums[1]


def _flattened(graph: Graph, size: int) -> Value:
    width = max(1, size // 8)
    return Relu()(_linear(_input(graph, 8, width), width))


def _readers(graph: Graph, operand: int, widths: list[int]) -> Value:
    x = Relu()(_input(graph, operand))
    return reduce(add, [ReduceSum(1)(Softmax()(_linear(x, width))) for width in widths])


def _narrow(graph: Graph, operand: int, columns: int, parts: int = 2) -> Value:
    widths = [max(1, operand // parts)] * parts
    return _linear(Concat(1)(*(Relu()(_input(graph, w, name=f"x{i}")) for i, w in enumerate(widths))), columns)


def _broadcast(graph: Graph, size: int) -> Value:
    return Repeat(1, size)(_input(graph, 16)) * _input(graph, 16 * size, name="z")


def _history(graph: Graph, size: int, products: int = 1) -> Value:
    target = _input(graph, 32, name="target")
    items = [graph.input(f"items{i}", f32(Batch(N.factor * size), 32)) for i in range(products)]
    return _linear(Concat(1)(Repeat(0, size)(target), *items), 32)


def _rejoined(graph: Graph, size: int) -> Value:
    features, slots = _input(graph, 13), _input(graph, 104, name="z")
    multiplied = Reshape((N, 52))(Reshape((N, 13, 1))(features) * _const(graph, 13, 4))
    columns = Concat(1)(slots, multiplied)
    return ReduceSum(1)(_linear(columns, size)) + ReduceSum(1)(Relu()(columns))


def _normalization(graph: Graph, size: int) -> Value:
    normal = LayerNormalization(1e-5)(_linear(_input(graph, 32), size), _const(graph, size), _const(graph, size))
    return _linear(normal, 8)


def _machine(graph: Graph, size: int, *, features: bool = False) -> Value:
    slots = _input(graph, 26 * size)
    if features:
        multiplied = Reshape((N, 13 * size))(Reshape((N, 13, 1))(_input(graph, 13, name="z")) * _const(graph, 13, size))
        slots = Concat(1)(slots, multiplied)
    count = (39 if features else 26) * size // size
    return ReduceSum(1)(FactorizationMachine()(Reshape((N, count, size))(slots)))


def _interaction(graph: Graph, size: int) -> Value:
    """`size` vectors, of whose products runs of four neighbours are taken; more vectors waste a smaller share."""
    return _linear(DotInteraction()(_input(graph, 16), _input(graph, 4 * max(1, size // 4) - 1, 16, name="e")), 64)


def _attention(graph: Graph, steps: int, width: int, heads: int, *, projected: bool = False) -> Value:
    if projected:
        x = _input(graph, steps, width)
        q, k, v = (_linear(x, width) for _ in range(3))
    else:
        q, k, v = (_input(graph, steps, width, name=name) for name in "qkv")
    return Attention(heads)(q, k, v)


def _stacked(graph: Graph, size: int, *, heads: int, share: Callable[[int], int]) -> Value:
    """The narrowest attention over 10 steps whose further multiplications reach `size`, as `share` counts them."""
    width = next((w for w in range(heads, 512, heads) if share(w) >= size), 512)
    return _attention(graph, 10, width, heads, projected=True)


def _extra(width: int, heads: int, steps: int = 10) -> int:
    return 2 * (heads - 1) * width * steps * (width + steps)


def _hidden_layer(graph: Graph, rows: int, columns: int) -> Value:
    """A product with another behind it, which is the last one."""
    return _linear(Relu()(_linear(Relu()(_input(graph, rows)), columns)), 1)


GRAPHS: Mapping[str, Build] = {
    "MIN_COLUMN_READS": _column_reads,
    "MAX_SPLIT_COLUMNS": _cross,
    "MIN_RECURRENCE_STEPS": _recurrence_steps,
    "MAX_RECURRENCE_FACTORS": _cross,
    "MIN_BATCHED_PRODUCTS": _experts,
    "MAX_BATCHED_PRODUCTS": _experts,
    "MAX_FLATTENED_VALUES": _flattened,
    "MAX_MERGED_WIDTH": lambda graph, size: _readers(graph, 256, [size] * 3),
    "MIN_MERGED_OPERAND": lambda graph, size: _readers(graph, size, [4] * 3),
    "MAX_MERGED_COLUMNS": lambda graph, size: _readers(graph, 256, [8] * max(2, size // 8)),
    "MIN_NARROW_RATIO": lambda graph, size: _narrow(graph, 32 * size, 32),
    "MAX_DISTRIBUTED_PARTS": lambda graph, size: _narrow(graph, 64 * size, 1, parts=max(2, size)),
    "MIN_BROADCAST_REPEATS": _broadcast,
    "MIN_SHARED_REPEATS": _history,
    "MAX_SHARED_PRODUCTS": lambda graph, size: _history(graph, 8, size),
    "MIN_REJOINED_COLUMNS": _rejoined,
    "MAX_UNIT_LENGTH_COLUMNS": _normalization,
    "MAX_MACHINE_WIDTH": _machine,
    "MAX_FEATURE_MACHINE_WIDTH": lambda graph, size: _machine(graph, size, features=True),
    "MAX_TAKEN_RATIO": _interaction,
    "MAX_NARROW_HEAD": lambda graph, size: _attention(graph, 10, 4 * size, 4),
    "MAX_NARROW_SEQUENCE": lambda graph, size: _attention(graph, max(2, size // 8), 32, 4),
    "MIN_INT8_WEIGHTS": lambda graph, size: _hidden_layer(graph, round(size**0.5), round(size**0.5)),
    "MIN_ROW_INT8_WEIGHTS": lambda graph, size: _hidden_layer(graph, round(size**0.5), round(size**0.5)),
    "MIN_INT8_COLUMNS": lambda graph, size: _hidden_layer(graph, 8192, size),
    "MULTIPLICATIONS_PER_HEAD": lambda graph, size: _stacked(
        graph, size, heads=4, share=lambda width: _extra(width, 4) // 4
    ),
    "MULTIPLICATIONS_PER_VALUE": lambda graph, size: _stacked(
        graph, size, heads=8, share=lambda width: (_extra(width, 8) - 8 * 20_000) // (10 * width)
    ),
}
"""By the names that the thresholds have in `passes.cost`."""
