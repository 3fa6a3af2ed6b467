"""The interface of the model: the shapes that a caller gives, the rows that an output must have."""

from __future__ import annotations

from collections.abc import Sequence

from hugectr2onnx.errors import GraphJsonError, ShapeError
from hugectr2onnx.ir.types import Batch, Dim, N, TensorType

LARGEST_DIM = 1 << 31


def normalise_shape(name: str, shape: object) -> tuple[Dim, ...]:
    """A shape of `input_shapes` as dimensions: None, "N" and -1 stand for the batch. Raises GraphJsonError."""
    if isinstance(shape, str) or not isinstance(shape, Sequence) or not shape:
        raise GraphJsonError(f"input_shapes[{name!r}] must be a sequence such as ('N', 13), not {shape!r}")
    return tuple(_dim(name, dim) for dim in shape)


def _dim(name: str, dim: object) -> Dim:
    if dim is None or dim == "N" or dim == -1:
        return N
    if isinstance(dim, bool) or not hasattr(dim, "__index__") or not 0 < int(dim) < LARGEST_DIM:
        raise GraphJsonError(f"input_shapes[{name!r}] has {dim!r}: a dimension is a positive number, None or 'N'")
    return int(dim)


def require_rows(label: str, prediction: TensorType) -> None:
    """Raise ShapeError unless a prediction has one row a sample, as its label has."""
    rows = prediction.shape[0]
    if isinstance(rows, Batch) and rows != N:
        raise ShapeError(
            f"the prediction of {label!r} has {rows} rows for N samples: a Reshape before it splits or merges samples; "
            "check leading_dim against the width of what it reshapes"
        )
