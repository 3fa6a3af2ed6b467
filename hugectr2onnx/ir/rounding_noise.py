"""Other roundings of a float32 evaluation: how large its error can be, told by making it several times.

One evaluation in float32 may be right by luck where another order of the same sums is far off. So every number that was
rounded, weights among them, is moved by its last bit at random: up, down, or not at all. Whole numbers are exact and stay,
or a mask of ones and zeros would become something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from hugectr2onnx.ir.evaluator import Adjust, evaluate_values
from hugectr2onnx.ir.graph import Graph, Value
from hugectr2onnx.ir.ops.structural import Input
from hugectr2onnx.ir.types import Array

ROUNDED_SAMPLES = 8
LAST_BIT = np.float32(2.0**-23)


def noisy_evaluations(
    graph: Graph,
    values: Mapping[str, Value],
    feeds: Mapping[str, Array],
    seed: int = 0,
    given: Mapping[Value, Array] = MappingProxyType({}),
) -> Sequence[Mapping[str, Array]]:
    """Evaluate values `ROUNDED_SAMPLES` times in float32, with other roundings each time; `given` ones stay as they are.

    Each result has the values by name.
    """
    adjust = _moved_by_last_bits(np.random.default_rng(seed), given)
    wanted = list(values.values())
    evaluations = (
        evaluate_values(graph, wanted, feeds, precision=np.float32, adjust=adjust, given=given)
        for _ in range(ROUNDED_SAMPLES)
    )
    return [dict(zip(values, arrays, strict=True)) for arrays in evaluations]


def _moved_by_last_bits(generator: np.random.Generator, given: Mapping[Value, Array]) -> Adjust:
    def adjust(value: Value, array: Array) -> Array:
        if isinstance(value.op, Input) or value in given:
            return array
        steps = generator.integers(-1, 2, array.shape, np.int8).astype(np.float32)
        return np.where(array == np.rint(array), array, array * (1 + steps * LAST_BIT))

    return adjust
