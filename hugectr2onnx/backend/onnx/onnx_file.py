"""An ONNX file on disk as a message, its external tensors left where they are."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import helper

from hugectr2onnx.backend.onnx.artifact import PROTOBUF_LIMIT, Artifact, Blob, external_tensor
from hugectr2onnx.errors import FeedError, HugeCTR2ONNXError


@dataclass(frozen=True)
class ExternalTensor:
    """Where a tensor of a model lies: bytes `offset` to `offset + length` of a file beside the model."""

    path: Path
    offset: int
    length: int

    @property
    def found(self) -> int | None:
        """The size of the file; None where there is none."""
        try:
            return self.path.stat().st_size
        except (OSError, ValueError):
            return None


def read_model(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The message in a model file; raises FeedError where there is none."""
    name = os.fspath(path)
    model = onnx.ModelProto()
    try:
        if os.path.getsize(name) > PROTOBUF_LIMIT:
            raise FeedError(f"{name}: is larger than any protobuf message, so it is no ONNX file")
        model.ParseFromString(Path(name).read_bytes())
    except HugeCTR2ONNXError:
        raise
    except DecodeError:
        raise FeedError(f"{name}: is not an ONNX file, or a damaged one") from None
    except (OSError, ValueError) as error:
        raise FeedError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not model.HasField("graph") or not model.graph.output:
        raise FeedError(f"{name}: is not an ONNX file: it holds no graph with outputs")
    if not _has_plain_text(model):
        raise FeedError(f"{name}: is a damaged ONNX file: a name in it is no text")
    return model


def _has_plain_text(message: Message) -> bool:
    """Whether every string is UTF-8: protobuf lets any bytes pass, and gives them out as bytes."""
    stack = [message]
    while stack:
        for field, value in stack.pop().ListFields():
            values = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)
            if field.type == field.TYPE_STRING and not all(isinstance(text, str) for text in values):
                return False
            if field.type == field.TYPE_MESSAGE:
                stack.extend(values)
    return True


def external_tensors(model: onnx.ModelProto, path: str | os.PathLike[str]) -> dict[str, ExternalTensor]:
    """The tensors of a model that lie in other files, by name; raises FeedError for places that make no sense."""
    folder = Path(os.path.realpath(path)).parent
    external = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    return {tensor.name: _place(tensor, folder) for tensor in external}


def _place(tensor: onnx.TensorProto, folder: Path) -> ExternalTensor:
    entries: Mapping[str, str] = {entry.key: entry.value for entry in tensor.external_data}
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", "0"))
        return ExternalTensor(folder / entries["location"], offset, length)
    except (KeyError, ValueError):
        raise FeedError(
            f"the tensor {tensor.name!r} lies outside the model, and the model does not say where"
        ) from None


def as_artifact(model: onnx.ModelProto, path: str | os.PathLike[str]) -> Artifact:
    """A model file as an artifact: its external tensors are mapped, not read. Raises FeedError."""
    places = external_tensors(model, path)
    skeleton = onnx.ModelProto()
    skeleton.CopyFrom(model)
    blobs: dict[str, Blob] = {}
    for tensor in skeleton.graph.initializer:
        if tensor.name in places:
            blobs[tensor.name] = Blob((_mapped(tensor, places[tensor.name]),))
            tensor.CopyFrom(external_tensor(tensor.name, blobs[tensor.name]))
    return Artifact(skeleton, blobs)


def _mapped(tensor: onnx.TensorProto, place: ExternalTensor) -> np.ndarray[Any, Any]:
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        shape = tuple(tensor.dims)
        if place.found is None or place.offset + math.prod(shape) * dtype.itemsize > place.found:
            raise FeedError(f"{place.path}: is missing or too short for the tensor {tensor.name!r}")
        if 0 in shape:
            return np.empty(shape, dtype)
        return np.memmap(place.path, dtype, "r", place.offset, shape)
    except HugeCTR2ONNXError:
        raise
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise FeedError(f"{place.path}: cannot be mapped for the tensor {tensor.name!r}: {error}") from None
