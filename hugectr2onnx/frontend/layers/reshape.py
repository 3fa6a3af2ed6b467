"""Reshape in its three modes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod

from hugectr2onnx.errors import GraphJsonError, MissingInformationError, Setting, ShapeError
from hugectr2onnx.frontend.layers.layer import Layer, param
from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.shape import Reshape, Take
from hugectr2onnx.ir.types import Dim, elements, scale


@dataclass(frozen=True)
class ReshapeLayer(Layer, types=("Reshape",)):
    """The same row-major memory, batch included, under another shape; or chosen slots side by side (layers 3.19).

    `leading_dim` L and `time_step` t: [n / L, L], or [n / (L t), t, L], for n elements; without `leading_dim`, L is the
    elements of one sample. `selected`: [B, S, V] -> [B, len * V], an empty list being all slots. `shape`, which
    graph_to_json does not save (it writes leading_dim 0 and time_step 0): as it stands, its -1 taking what remains.
    """

    selected: tuple[int, ...] | None = param("selected", default=None)
    leading_dim: int | None = param("leading_dim", default=None, minimum=0)
    time_step: int = param("time_step", default=0, minimum=0)
    shape: tuple[int, ...] | None = param("shape", default=None)

    def build(self, x: Value) -> Value:
        if self.shape is not None:
            return Reshape(self._fill(x, self.shape))(x)
        if self.selected is not None:
            return self._select(x, self.selected)
        if self.leading_dim == 0 and self.time_step > 0:
            raise GraphJsonError(f"Reshape has leading_dim 0 with time_step {self.time_step}; HugeCTR has no such mode")
        if self.leading_dim == 0:
            raise MissingInformationError(
                "Reshape was given `shape` in Python, which graph_to_json does not save (it writes leading_dim 0 and "
                f"time_step 0); say into which shape {x.type} goes with `shape`, its batch entry as -1, such as ",
                Setting("layer_attrs", {"<top>": {"shape": [-1, ...]}}),
            )
        leading = _sample(x) if self.leading_dim is None else self.leading_dim
        rest = (leading,) if self.time_step == 0 else (self.time_step, leading)
        return Reshape((_remainder(x, rest), *rest))(x)

    def _fill(self, x: Value, shape: tuple[int, ...]) -> tuple[Dim, ...]:
        rest = tuple(dim for dim in shape if dim >= 0)
        if len(rest) != len(shape) - 1 or 0 in rest:
            raise GraphJsonError(
                f"the shape {list(shape)} of a Reshape must have one -1 and numbers from 1 on otherwise"
            )
        return tuple(_remainder(x, rest) if dim < 0 else dim for dim in shape)

    def _select(self, x: Value, slots: tuple[int, ...]) -> Value:
        if x.type.rank != 3:
            raise ShapeError(f"Reshape with `selected` takes slots [B, S, V], not {x.type}")
        taken = Take(1, slots)(x) if slots else x
        return Reshape((taken.shape[0], elements(taken.shape[1:])))(taken)


def _sample(x: Value) -> int:
    """Return the elements of one sample."""
    size = elements(x.shape[1:])
    if not isinstance(size, int) or size < 1:
        raise ShapeError(f"Reshape without leading_dim needs samples of known size, not {x.type}")
    return size


def _remainder(x: Value, rest: tuple[int, ...]) -> Dim:
    """Tell what is left of the elements for the one dimension that is not in `rest`."""
    try:
        return scale(x.type.elements, Fraction(1, prod(rest)))
    except ShapeError as error:
        raise ShapeError(f"{x.type} cannot be divided into parts of {' x '.join(map(str, rest))}") from error
