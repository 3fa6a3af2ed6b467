"""The gated recurrent unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.ir.op import Emitter, Op
from hugectr2onnx.ir.ops.elementwise import Sigmoid
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import Array, TensorType


@dataclass(frozen=True)
class Gru(Op):
    """Every hidden state of one forward GRU layer that starts from zeros (layers 3.12).

    x is [T, M, v], w is [3h, v], r is [3h, h] and b is [3h], with the gates in the order r, z, n; y is [T, M, h].

    `r = sigmoid(Wr x + Rr h + br); z = sigmoid(Wz x + Rz h + bz); n = tanh(Wn x + r * (Rn h) + bn);
    h' = (1 - z) * n + z * h`
    """

    def infer(self, x: TensorType, w: TensorType, r: TensorType, b: TensorType) -> TensorType:
        hidden = r.shape[-1] if r.rank == 2 else None
        if x.rank != 3 or not isinstance(hidden, int) or hidden < 1:
            raise ShapeError(f"a GRU over {x} with recurrent weights of {r}: they must be [T, M, v] and [3h, h]")
        gates = 3 * hidden
        if (w.shape, r.shape, b.shape) != ((gates, x.shape[2]), (gates, hidden), (gates,)):
            raise ShapeError(f"a GRU over {x} cannot have weights of {w}, {r} and {b}")
        return x.with_shape(x.shape[0], x.shape[1], hidden)

    def evaluate(self, x: Array, w: Array, r: Array, b: Array) -> Array:
        hidden = r.shape[1]
        state = np.zeros((x.shape[1], hidden), x.dtype)
        states = np.empty((*x.shape[:2], hidden), x.dtype)
        for step, driven in enumerate(x @ w.T + b):
            recurrent = state @ r.T
            reset, update = np.split(Sigmoid().evaluate((driven + recurrent)[:, : 2 * hidden]), 2, axis=1)
            fresh = np.tanh(driven[:, 2 * hidden :] + reset * recurrent[:, 2 * hidden :])
            state = (1 - update) * fresh + update * state
            states[step] = state
        return states

    def emit(self, out: Emitter, x: str, w: str, r: str, b: str) -> str:
        weights, recurrent, bias = (_onnx_order(out.array(name)) for name in (w, r, b))
        biases = np.concatenate([bias, np.zeros_like(bias)])
        operands = [out.const(array[np.newaxis]) for array in (weights, recurrent, biases)]
        hidden = recurrent.shape[1]
        y = out.node("GRU", x, *operands, hidden_size=hidden, linear_before_reset=1)
        steps, rows, _ = out.type(x).shape
        return Reshape((steps, rows, hidden)).emit(out, y)


def _onnx_order(gates: Array) -> Array:
    """ONNX has the update gate before the reset gate."""
    reset, update, fresh = np.split(gates, 3)
    return np.concatenate([update, reset, fresh])
