"""MatrixMultiply."""

from __future__ import annotations

from dataclasses import dataclass

from hugectr2onnx.errors import ShapeError
from hugectr2onnx.frontend.layers.layer import Layer
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.shape import Reshape
from hugectr2onnx.ir.types import elements


@dataclass(frozen=True)
class MatrixMultiplyLayer(Layer, types=("MatrixMultiply",)):
    """top = a @ b for 2D, 3D and 4D pairs without broadcasting, tensordot(a, b, 1) for 2D with 3D (layers 3.18)."""

    bottoms = (2, 1 << 30)
    reads = 2
    versions = ">= v3.2"

    def build(self, a: Value, b: Value) -> Value:
        ranks = (a.type.rank, b.type.rank)
        if ranks == (2, 3):
            return _tensordot(a, b)
        if ranks not in {(2, 2), (3, 3), (4, 4)} or a.shape[:-2] != b.shape[:-2]:
            raise ShapeError(
                f"MatrixMultiply of {a.type} and {b.type}: it takes 2D with 2D, 3D with 3D, 4D with 4D (equal in all "
                "but the last two dimensions) or 2D with 3D"
            )
        return a @ b


def _tensordot(a: Value, b: Value) -> Value:
    """[m, n] and [n, g, h] -> [m, g, h]"""
    flat = Reshape((b.shape[0], elements(b.shape[1:])))(b)
    return Reshape((a.shape[0], *b.shape[1:]))(a @ flat)
