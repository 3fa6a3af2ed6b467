"""GRU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hugectr2onnx.errors import GraphJsonError, ShapeError, WeightsError
from hugectr2onnx.frontend.layers.layer import Layer, Weight, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.gru import Gru
from hugectr2onnx.ir.ops.shape import Reshape, Slice
from hugectr2onnx.ir.types import Batch, Dim, TensorType, scale

MOST_STEPS = 1 << 14
"""The reference takes the steps one by one, and how many there are comes from a JSON file."""


@dataclass(frozen=True)
class GRULayer(Layer, types=("GRU",)):
    """One forward GRU layer from a zero state over the bottom's memory as X[T, M, v] (layers 3.12).

    `r = sig(Wr x + Rr h + br); z = sig(Wz x + Rz h + bz); n = tanh(Wn x + r * (Rn h) + bn); h' = (1-z) * n + z * h`.
    The top has the bottom's first dimension: those first rows of all hidden states, time-major. The weights are
    `Wr Wz Wn [h, v]`, `Rr Rz Rn [h, h]`, `br bz bn [h]`, and an initial state that evaluation never reads.
    """

    versions = ">= v3.1"
    num_output: int = param("gru_param.num_output", default=1, minimum=1)
    batchsize: int = param("gru_param.batchsize", default=1, minimum=1)
    steps: int = param("gru_param.SeqLength", default=1, minimum=1)
    vector_size: int = param("gru_param.vector_size", default=1, minimum=1)

    def __post_init__(self) -> None:
        if self.steps > MOST_STEPS:
            raise GraphJsonError(f"gru_param.SeqLength: expected at most {MOST_STEPS}, found {self.steps}")

    def weights(self, x: TensorType) -> Iterator[Weight]:
        gates = 3 * self.num_output
        yield Weight("weight", (gates, self.vector_size))
        yield Weight("recurrent_weight", (gates, self.num_output))
        yield Weight("bias", (gates,))
        yield Weight("initial_state", (self.batchsize, self.num_output), used=False)

    def build(self, x: Value, weight: Value, recurrent: Value, bias: Value) -> Value:
        rows = x.shape[0] if x.type.rank else 0
        sequences = self._sequences(x.type)
        states = scale(sequences, self.steps)
        ratio = _quotient(states, rows)
        if ratio is None:
            raise ShapeError(
                f"a GRU over {x.type} has {states} hidden states, and the top has {rows} rows to take from them; check "
                f"SeqLength {self.steps} and vector_size {self.vector_size} against the bottom"
            )
        _require_finite(weight, recurrent, bias)
        y = Gru()(Reshape((self.steps, sequences, self.vector_size))(x), weight, recurrent, bias)
        if ratio == 1:
            return Reshape((rows, self.num_output))(y)
        # The top is the first 1 / ratio of the states: so many of so many equal blocks of rows, whatever the batch.
        blocks, taken = ratio.as_integer_ratio()
        first = Slice(0, 0, taken)(Reshape((blocks, scale(rows, Fraction(1, taken)), self.num_output))(y))
        return Reshape((rows, self.num_output))(first)

    def _sequences(self, x: TensorType) -> Dim:
        """M, how many sequences the bottom's memory holds."""
        count = scale(x.elements, Fraction(1, self.steps * self.vector_size))
        if isinstance(count, int) and count != self.batchsize:
            raise ShapeError(
                f"a GRU over {x} holds {count} sequences of {self.steps} steps of {self.vector_size} numbers, "
                f"but its batchsize is {self.batchsize}"
            )
        return count

    def caveats(self, *bottoms: TensorType) -> Iterator[str]:
        yield (
            f"GRU was built for {self.batchsize} sequences of {self.steps} steps, time-major, and returns the first of "
            "its hidden states, as many as the bottom has rows. HugeCTR can hardly train this layer, so check what it "
            "predicts"
        )


def _require_finite(*weights: Value) -> None:
    """onnxruntime's GRU clamps NaN: predictions would be numbers where HugeCTR has none."""
    if any(weight.const is not None and not np.isfinite(weight.const).all() for weight in weights):
        raise WeightsError(
            "the weights of this GRU hold NaN or infinite numbers, which onnxruntime would turn into sound-looking "
            "predictions: take a snapshot from before the training failed"
        )


def _quotient(whole: Dim, part: Dim) -> Fraction | None:
    """whole / part, where that is one number of at least 1 whatever the batch."""
    if isinstance(whole, Batch) != isinstance(part, Batch):
        return None
    numbers = [Fraction(dim.factor if isinstance(dim, Batch) else dim) for dim in (whole, part)]
    return numbers[0] / numbers[1] if numbers[0] >= numbers[1] > 0 else None
