"""An ONNX file on disk as a message, its external tensors left where they are."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import helper

from hugectr2onnx.backend.onnx import PROTOBUF_LIMIT
from hugectr2onnx.backend.onnx.artifact import Artifact, Blob, external_tensor
from hugectr2onnx.backend.onnx.emitter import PRODUCER
from hugectr2onnx.errors import FeedError, HugeCTR2ONNXError
from hugectr2onnx.tables.regular_file import open_regular, read_regular, shown

EXPORTED_NAME = "model.onnx"
"""The model in a folder that is made for a server or a store."""


@dataclass(frozen=True)
class ExternalTensor:
    """The place of a tensor outside the model file: bytes `offset` to `offset + length` of a file in the model's folder."""

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


def begins_as_own_model(head: bytes) -> bool:
    """Tell whether the first bytes of a file are those of an ONNX file whose producer is this compiler.

    ModelProto: `ir_version` is field 1, `producer_name` field 2 (onnx.proto); writers put fields in order.
    """
    name = PRODUCER.encode()
    after_version = re.match(rb"\x08[\x80-\xff]*[\x00-\x7f]", head)
    return after_version is not None and head[after_version.end() :].startswith(b"\x12" + bytes([len(name)]) + name)


def read_model(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """Return the message in a model file; raises FeedError where there is none."""
    content = read_regular(path, FeedError, "an ONNX file", max_bytes=PROTOBUF_LIMIT)
    name = shown(path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        raise FeedError(f"{name}: is not an ONNX file, or a damaged one") from None
    if not model.HasField("graph") or not model.graph.output:
        raise FeedError(f"{name}: is not an ONNX file: it holds no graph with outputs")
    if not _has_plain_text(model):
        raise FeedError(f"{name}: is a damaged ONNX file: a name in it is no text")
    return model


def _has_plain_text(message: Message) -> bool:
    """Tell whether every string is UTF-8: protobuf lets any bytes pass, and gives them out as bytes."""
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
    """Return the tensors of a model that lie in other files of its folder, by name.

    Raises FeedError for places that make no sense, and for files outside the folder: absolute paths, paths that lead out of
    it, links to files outside, and files that have other names outside (hard links).
    """
    folder = Path(os.path.realpath(path)).parent
    external = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    places = {tensor.name: _place(tensor, folder) for tensor in external}
    for file in {place.path for place in places.values()}:
        _refuse_outside(file, folder, next(name for name, place in places.items() if place.path == file))
    return places


def _place(tensor: onnx.TensorProto, folder: Path) -> ExternalTensor:
    entries: Mapping[str, str] = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    try:
        offset, length = (_natural(entries.get(key, "0")) for key in ("offset", "length"))
    except ValueError:
        location = ""
    if not location or "\0" in location:
        raise FeedError(
            f"the tensor {shown(tensor.name)!r} lies outside the model, and the model does not say where"
        ) from None
    if os.path.isabs(location) or ".." in Path(location).parts or "\\" in location:
        raise _outside(tensor.name, location)
    return ExternalTensor(folder / location, offset, length)


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(text)
    return int(text)


def _refuse_outside(path: Path, folder: Path, tensor: str) -> None:
    if not Path(os.path.realpath(path)).is_relative_to(folder):
        raise _outside(tensor, path)
    try:
        status = path.stat()
    except (OSError, ValueError):
        return  # a missing file is a matter of who reads it
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and status.st_nlink > _names_of(status, path.parent):
        raise _outside(tensor, path, "has another name outside", " (a hard link)")


def _names_of(status: os.stat_result, folder: Path) -> int:
    """Tell how many names in a folder are those of one file."""
    with os.scandir(folder) as entries:
        return sum(entry.inode() == status.st_ino and entry.is_file(follow_symlinks=False) for entry in entries)


def _outside(tensor: str, place: object, how: str = "is outside", why: str = "") -> FeedError:
    return FeedError(
        f"the tensor {shown(tensor)!r} lies in {shown(place)}, which {how} of the model's own folder{why}: put a copy of the "
        "file beside the model"
    )


def as_artifact(model: onnx.ModelProto, path: str | os.PathLike[str]) -> Artifact:
    """Return a model file as an artifact: its external tensors are mapped, not read. Raises FeedError."""
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
    name = shown(place.path)
    try:
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        shape = tuple(tensor.dims)
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or (place.length and place.length != size):
            raise FeedError(f"{name}: the tensor {shown(tensor.name)!r} has {size:,} bytes, not {place.length:,}")
        with open_regular(place.path, FeedError, "the data of an ONNX file") as file:
            if place.offset + size > os.fstat(file.fileno()).st_size:
                raise FeedError(f"{name}: is too short for the tensor {shown(tensor.name)!r}")
            if not size:
                return np.empty(shape, dtype)
            return np.memmap(file, dtype, "r", place.offset, shape)
    except HugeCTR2ONNXError:
        raise
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise FeedError(f"{name}: cannot be mapped for the tensor {shown(tensor.name)!r}: {error}") from None
