"""The second-order part of a factorization machine."""

from __future__ import annotations

from dataclasses import dataclass

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.frontend.layers.inner_product import width
from hugectr2onnx.frontend.layers.layer import Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.factorization import FactorizationMachine
from hugectr2onnx.ir.ops.shape import Reshape


@dataclass(frozen=True)
class FmOrder2Layer(Layer, types=("FmOrder2",)):
    """Second-order factorization machine: `((sum_s v)^2 - sum_s v^2) / 2`.

    `[B, S*V] -> [B, V]`, v being the bottom as `[B, S, V]` (layers 3.14).
    """

    out_dim: int = param("out_dim", minimum=1)

    def build(self, x: Value) -> Value:
        slots, rest = divmod(width(x.type, 2), self.out_dim)
        if rest or not slots:
            raise ShapeError(f"out_dim is {self.out_dim}, and the width of the bottom {x!r} is no multiple of it")
        return FactorizationMachine()(Reshape((x.shape[0], slots, self.out_dim))(x))
