"""Tell what the columns of a matrix are made of: plain values, and products of features with vectors (WeightMultiply).

WeightMultiply (layers 3.5) makes V columns of each feature: column i*V + j is `x[i] * vectors[i, j]`. Whatever is linear in
those columns is linear in the features, so a following product takes the features and folded weights instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hugectr2onnx.ir.graph import Value
from hugectr2onnx.ir.ops.elementwise import Mul
from hugectr2onnx.ir.ops.shape import Concat, Reshape
from hugectr2onnx.ir.types import Array
from hugectr2onnx.passes.analysis.products import exact


@dataclass(frozen=True)
class Part:
    """Some columns: those of `x`, or, with `vectors` [S, V], the S features of x times their vectors."""

    x: Value
    vectors: Array | None = None

    @property
    def features(self) -> int:
        """How many columns x has."""
        length = self.x.type.shape[1]
        assert isinstance(length, int)
        return length

    @property
    def length(self) -> int:
        """How many columns the part makes."""
        return self.features if self.vectors is None else self.vectors.size

    def fold(self, weight: Array) -> Array:
        """Return the rows that x must meet in a product where the part's columns meet `weight` [length, n]."""
        if self.vectors is None:
            return weight
        return np.asarray(np.einsum("sv,svn->sn", self.vectors, weight.reshape(*self.vectors.shape, -1)))


def columns_of(value: Value) -> list[Part]:
    """Return the parts of a matrix [B, k], left to right."""
    joined = isinstance(value.op, Concat) and value.op.axis == 1
    return [_part(each) for each in (value.inputs if joined else (value,))]


def expanded(value: Value) -> tuple[Value, Array] | None:
    """Return the features [B, S] and the vectors [S, V] of a value [B, S, V] that multiplies them, or None."""
    if not isinstance(value.op, Mul) or value.type.rank != 3:
        return None
    for features, vectors in (value.inputs, value.inputs[::-1]):
        if vectors.const is not None and vectors.shape == value.shape[1:] and features.shape == (*value.shape[:2], 1):
            return features, exact(vectors)
    return None


def rows(parts: Sequence[Part], weight: Array) -> Array:
    """Return the weight [features of all parts, n] for the weight [columns of all parts, n]."""
    ends = np.cumsum([part.length for part in parts])
    pieces = np.split(weight, ends[:-1])
    return np.vstack([part.fold(piece) for part, piece in zip(parts, pieces, strict=True)])


def side_by_side(parts: Sequence[Part]) -> Value:
    """Return the features of all parts as one matrix."""
    values = [part.x for part in parts]
    return values[0] if len(values) == 1 else Concat(1)(*values)


def flatten(features: Value) -> Value:
    """[B, S, 1] -> [B, S]"""
    shape = features.shape[:2]
    whole = features.inputs[0] if isinstance(features.op, Reshape) else features
    return whole if whole.shape == shape else Reshape(shape)(whole)


def _part(value: Value) -> Part:
    source = value.inputs[0] if isinstance(value.op, Reshape) else value
    found = expanded(source)
    if found is None or value.shape[0] != source.shape[0]:
        return Part(value)
    return Part(flatten(found[0]), found[1])
