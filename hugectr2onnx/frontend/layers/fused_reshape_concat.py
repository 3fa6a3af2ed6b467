"""FusedReshapeConcat and FusedReshapeConcatGeneral."""

from __future__ import annotations

from dataclasses import dataclass

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.frontend.layers.layer import Layer
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.shape import Concat, Reshape, Slice
from hugectr2onnx.ir.types import scale


@dataclass(frozen=True)
class FusedReshapeConcatLayer(Layer, types=("FusedReshapeConcat",)):
    """DIN's split into the history, all slots but the last, and the item, the last slot (layers 3.24).

    With `c = concat(bottoms, axis=2)` of [B, s, v_i]: `top[0] = c[:, :-1].reshape(B * (s - 1), D)` and
    `top[1] = c[:, -1]`, [B, D].
    """

    bottoms = (1, 1 << 30)
    tops = (2, 2)
    versions = ">= v3.1"

    def build(self, *xs: Value) -> tuple[Value, Value]:
        joined, slots = _join(xs)
        if slots < 2:
            raise ShapeError(f"FusedReshapeConcat needs two slots or more, not {joined.type}")
        batch, _, width = joined.shape
        history = Slice(1, 0, slots - 1)(joined)
        item = Slice(1, slots - 1, slots)(joined)
        return Reshape((scale(batch, slots - 1), width))(history), Reshape((batch, width))(item)


@dataclass(frozen=True)
class FusedReshapeConcatGeneralLayer(Layer, types=("FusedReshapeConcatGeneral",)):
    """top = concat(bottoms, axis=2).reshape(B * s, D) for bottoms [B, s, v_i] (layers 3.24)."""

    bottoms = (1, 1 << 30)
    versions = ">= v3.1"

    def build(self, *xs: Value) -> Value:
        joined, slots = _join(xs)
        return Reshape((scale(joined.shape[0], slots), joined.shape[2]))(joined)


def _join(xs: tuple[Value, ...]) -> tuple[Value, int]:
    if any(x.type.rank != 3 for x in xs):
        raise ShapeError(f"every bottom must be [B, s, v], not {', '.join(str(x.type) for x in xs)}")
    joined = Concat(2)(*xs)
    slots = joined.shape[1]
    if not isinstance(slots, int):
        raise ShapeError(f"{joined.type} has slots that depend on the batch")
    return joined, slots
