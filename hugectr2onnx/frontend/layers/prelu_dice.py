"""PReLU_Dice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.frontend.layers.layer import MAX_FLOAT32, Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.dice import Dice, FrozenDice
from hugectr2onnx.ir.types import TensorType


@dataclass(frozen=True)
class PReLUDiceLayer(Layer, types=("PReLU_Dice",)):
    """top = p * x + (1 - p) * alpha * x, p = sigmoid((x - mean) / sqrt(var + eps)) column by column (layers 3.26).

    As in HugeCTR, mean and var are those of the batch. `layer_attrs` with `mean` and `var`, lists of a number a
    column, freezes them instead.
    """

    versions = ">= v3.1"
    alpha: float = param("prelu_dice_param.alpha", "prelu_dice_param.elu_alpha", default=1.0)
    eps: float = param("prelu_dice_param.eps", default=1e-5)
    mean: tuple[float, ...] | None = param("mean", default=None)
    var: tuple[float, ...] | None = param("var", default=None)

    def build(self, x: Value) -> Value:
        if not abs(self.alpha) <= MAX_FLOAT32 or not 0 <= self.eps <= MAX_FLOAT32:
            raise GraphJsonError(f"PReLU_Dice has alpha {self.alpha} and eps {self.eps}, which are no usable floats")
        alpha, eps = float(np.float32(self.alpha)), float(np.float32(self.eps))
        if self.mean is None and self.var is None:
            return Dice(alpha, eps)(x)
        if self.mean is None or self.var is None:
            raise GraphJsonError("frozen statistics of PReLU_Dice are two lists, `mean` and `var`, in layer_attrs")
        if x.type.rank != 2 or not x.shape[1] == len(self.mean) == len(self.var):
            raise ShapeError(
                f"PReLU_Dice over {x.type} takes a mean and a var a column, not {len(self.mean)} and {len(self.var)}"
            )
        mean, var = (np.array(numbers, np.float64) for numbers in (self.mean, self.var))
        if not (np.abs(mean) <= MAX_FLOAT32).all() or not ((var >= 0) & (var <= MAX_FLOAT32)).all():
            raise GraphJsonError("frozen statistics of PReLU_Dice must be finite, and var must not be negative")
        constants = (x.graph.const(numbers.astype(np.float32)) for numbers in (mean, var))
        return FrozenDice(alpha, eps)(x, *constants)

    def caveats(self, *bottoms: TensorType) -> Iterator[str]:
        if self.mean is None:
            yield (
                "PReLU_Dice normalises with the statistics of the batch that it is fed, as HugeCTR does: a "
                "row's prediction depends on the other rows. Give `mean` and `var` in layer_attrs to freeze them"
            )
