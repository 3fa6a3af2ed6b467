"""Tell which of the layers that share a constant is at fault: folding BatchNorm into a product scales its columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hugectr2onnx.comparison.constants import ConstantDifference
from hugectr2onnx.comparison.tensors import Outline


def refined(differences: Sequence[ConstantDifference], outline: Outline) -> Iterator[tuple[str, str]]:
    """(layer, sentence) for constants that differ, those of one layer alone first."""
    types = {tensor.layer: tensor.type for tensor in outline.tensors}
    for each in sorted(differences, key=lambda difference: len(difference.layers) > 1):
        if len(each.layers) == 1:
            yield each.layers[0], each.text
            continue
        normal = next((layer for layer in each.layers if types.get(layer) == "BatchNorm"), None)
        if normal is not None and (factor := _column_factor(each)) is not None:
            yield normal, f"BatchNorm by other statistics (or another gamma): it scales {each.name} in {factor}"
        else:
            yield _with_weights(each, types), each.text


def _column_factor(difference: ConstantDifference) -> str | None:
    """`column j by f`, where every column is that of the reference times a number."""
    a, b = difference.expected, difference.found
    if a.ndim != 2 or min(a.shape) < 2:
        return None
    power = (a * a).sum(axis=0)
    factors = np.divide((a * b).sum(axis=0), power, out=np.ones_like(power), where=power > 0)
    if (np.abs(a * factors - b) > 1e-5 * np.abs(a).max()).any():
        return None
    column = int(np.abs(factors - 1).argmax())
    return f"every column, column {column} by {factors[column]:.6g}"


def _with_weights(difference: ConstantDifference, types: dict[str, str]) -> str:
    """Return the first layer that has weights at all."""
    plain = ("ReLU", "Sigmoid", "ELU", "Reshape", "Concat", "Slice", "Dropout", "Softmax", "Add")
    return next((layer for layer in difference.layers if types.get(layer) not in plain), difference.layers[0])
