"""The floor of a case: what the model cannot do without, each part timed alone at its own shape.

Parts are the matrix products of the model at level 2 whose result depends on the inputs, without bias, activation or any
data movement, and one gather of the rows of each table, without finding or pooling them. They are read off the emitted
graph and not off the IR, so that whatever a pass makes of an operation, the floor follows. Work that a better rewriting
removes has no place in it: products with a matrix of zeros and one other number (a sum, a mean or a selection in disguise) and
those of constants are left out.

Every part alone would pay for a call of its own, and a model pays once: `floor = call + sum(part - call)`, where `call` is
the time of a model that does nothing.

A part that is repeated alone finds its weights in the cache, and those of a whole model may not fit there. At batch 1 such a
model cannot come near its floor: `weight_bytes` says when.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CALL = "empty call"


@dataclass(frozen=True)
class MatrixProduct:
    """`left @ right`, transposed where said; `constant` is whether right holds weights, which onnxruntime packs."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    transpose_left: bool = False
    transpose_right: bool = False
    constant: bool = True

    def __str__(self) -> str:
        marks = ("T" if self.transpose_left else "", "T" if self.transpose_right else "")
        sides = ("x".join(map(str, side)) for side in (self.left, self.right))
        spelled = " @ ".join(f"[{side}]{mark}" for side, mark in zip(sides, marks, strict=True))
        return spelled if self.constant else f"{spelled}, no weights"

    @property
    def weight_bytes(self) -> int:
        return 4 * math.prod(self.right) if self.constant else 0


@dataclass(frozen=True)
class TableGather:
    """Rows of one table; `indices` names the tensor of the model that says which."""

    table: str
    indices: str
    axis: int = 0

    def __str__(self) -> str:
        return f"rows of {self.table}"


Part = MatrixProduct | TableGather


@dataclass(frozen=True)
class FloorParts:
    """The parts of a floor, and how often the model does each.

    `uncounted` names operators that may hide products and are not counted.
    """

    counts: Mapping[Part, int]
    uncounted: tuple[str, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights of all products together."""
        return sum(count * part.weight_bytes for part, count in self.counts.items() if isinstance(part, MatrixProduct))


Seconds = Sequence[float]
"""The median of each round."""


def floor_of(call: Seconds, parts: Mapping[str, Seconds], counts: Mapping[str, int]) -> list[float]:
    """Return the floor of each round, from the empty call and the parts; a part is never less than nothing."""
    empty = np.array(call, np.float64)
    beyond = [counts[name] * np.maximum(np.asarray(taken, np.float64) - empty, 0) for name, taken in parts.items()]
    return [float(each) for each in empty + sum(beyond)]
