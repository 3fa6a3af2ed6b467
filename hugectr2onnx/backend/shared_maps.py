"""Large tables of a model file, mapped for reading only.

onnxruntime's own map of a table is private and writable. Linux counts such a map as memory that may be needed, and refuses one
that is larger than all there is, although nobody will write to it. A shared map that is read-only counts for nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx.helper import tensor_dtype_to_np_dtype

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array

LARGE = 1 << 28
"""Bytes of a tensor from which on it is mapped here."""


def large_tensors(model: Path) -> dict[str, Array]:
    """The large tensors of a model that lie in files beside it, by name; FeedError where one lies elsewhere, or not there.

    `model` is one that onnxruntime can read.
    """
    return {
        tensor.name: _mapped(tensor, places, model)
        for tensor, places in _external(onnx.load(model, load_external_data=False).graph)
        if _bytes(tensor) >= LARGE and "location" in places
    }


def _external(graph: onnx.GraphProto) -> Iterator[tuple[onnx.TensorProto, Mapping[str, str]]]:
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            yield tensor, {entry.key: entry.value for entry in tensor.external_data}


def _bytes(tensor: onnx.TensorProto) -> int:
    return int(np.prod(tensor.dims, dtype=object)) * tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _mapped(tensor: onnx.TensorProto, places: Mapping[str, str], model: Path) -> Array:
    path = Path(os.path.realpath(model.parent / places["location"]))
    if not path.is_relative_to(os.path.realpath(model.parent)):
        raise FeedError(f"{model} has its tensor {tensor.name} in {path}, outside its own folder: move the file there.")
    kind, offset = tensor_dtype_to_np_dtype(tensor.data_type), int(places.get("offset", 0))
    try:
        return np.memmap(path, kind, "r", offset, tuple(tensor.dims))
    except (OSError, ValueError) as error:
        raise FeedError(
            f"{path} does not hold the tensor {tensor.name} of {model}: {error}. Save the model again."
        ) from error
