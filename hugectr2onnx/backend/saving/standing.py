"""Tensors that an earlier model of the folder has already: a new model refers to them where they lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import onnx

from hugectr2onnx.backend.onnx.artifact import Artifact, Blob
from hugectr2onnx.backend.onnx.onnx_file import ExternalTensor, external_tensors, read_model
from hugectr2onnx.errors import FeedError

_COMPARED_BYTES = 1 << 22


def standing_tensors(artifact: Artifact, earlier: str | os.PathLike[str], folder: Path) -> dict[str, ExternalTensor]:
    """Return the places of an earlier model's tensors that have the name and the bytes of tensors of an artifact.

    None where the earlier model lies in another folder: a model's data lie beside it. Raises FeedError for a file that is
    not a model.
    """
    model = read_model(earlier)
    places = external_tensors(model, earlier)
    shapes = {tensor.name: tensor for tensor in model.graph.initializer}
    return {
        name: places[name]
        for name, blob in artifact.tensors.items()
        if name in places
        and places[name].path.parent == folder
        and _has_form(shapes[name], blob)
        and _has_bytes(places[name], blob)
    }


def _has_form(tensor: onnx.TensorProto, blob: Blob) -> bool:
    return tuple(tensor.dims) == blob.shape and tensor.data_type == onnx.helper.np_dtype_to_tensor_dtype(blob.dtype)


def _has_bytes(place: ExternalTensor, blob: Blob) -> bool:
    """Tell whether a stretch of a file holds a payload; read side by side, up to the first difference."""
    if place.length not in (0, blob.nbytes):
        return False
    try:
        with open(place.path, "rb", buffering=0) as file:
            file.seek(place.offset)
            return all(_next_is(file.fileno(), chunk) for chunk in blob.chunks(_COMPARED_BYTES))
    except OSError:
        return False


def _next_is(descriptor: int, chunk: memoryview) -> bool:
    left = chunk.cast("B")
    while len(left):
        read = os.read(descriptor, len(left))
        if not read or read != left[: len(read)]:
            return False
        left = left[len(read) :]
    return True


def require_standing(places: Mapping[str, ExternalTensor]) -> None:
    """Raise FeedError where a file has gone since its tensors were compared."""
    for place in places.values():
        if (place.found or 0) < place.offset + place.length:
            raise FeedError(f"{place.path}: was removed while the model that refers to it was written; save again")
