"""Requests and responses of the Open Inference Protocol v2: JSON, with tensors as JSON or as bytes behind it.

The binary form is the protocol's extension `binary_tensor_data`: the header Inference-Header-Content-Length says where the
JSON ends, and each tensor's `binary_data_size` how many bytes it has, little-endian, in the order of the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array
from hugectr2onnx.serving.tensor_forms import DATATYPES, TensorForm, datatype_of

HEADER_LENGTH = "inference-header-content-length"
EXTENSIONS = ("binary_tensor_data",)
MAX_TENSORS = 1000
MAX_DIMENSIONS = 16


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class RequestedTensor(_Part):
    """An output that a client asks for."""

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class RequestTensor(_Part):
    """An input: its values in `data`, or behind the JSON."""

    name: str
    datatype: str
    shape: list[int] = Field(max_length=MAX_DIMENSIONS)
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: Any = None


class InferenceRequest(_Part):
    """The JSON of a request."""

    id: str | None = None
    inputs: list[RequestTensor] = Field(max_length=MAX_TENSORS)
    outputs: list[RequestedTensor] | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """A request that was read: arrays by name, and how the answer shall look."""

    request: InferenceRequest
    arrays: Mapping[str, Array]


def read_request(body: bytes, header_length: str | None, forms: Sequence[TensorForm]) -> Inputs:
    """Raises FeedError for a body that is no request, and for tensors that do not fit, before their values are read."""
    split = _json_length(body, header_length)
    try:
        request = InferenceRequest.model_validate_json(body[:split])
    except ValidationError as error:
        raise FeedError(f"the request is not one of the Open Inference Protocol: {_first(error)}") from None
    known = {form.name: form for form in forms}
    arrays: dict[str, Array] = {}
    place = split
    for tensor in request.inputs:
        if tensor.name in arrays:
            raise FeedError(f"the request has the input {tensor.name} twice")
        if tensor.name in known:
            known[tensor.name].check(tensor.datatype, tensor.shape)
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            arrays[tensor.name] = json_values(tensor)
            continue
        arrays[tensor.name] = _from_bytes(tensor, size, body, place)
        place += size
    if place != len(body):
        raise FeedError(f"the request has {len(body) - place} bytes behind its last tensor")
    return Inputs(request, arrays)


def write_response(name: str, version: str, inputs: Inputs, outputs: Mapping[str, Array]) -> tuple[bytes, int | None]:
    """Return the body of a response, and the length of its JSON where tensors follow it as bytes."""
    request = inputs.request
    by_default = bool(request.parameters.get("binary_data_output", False))
    wanted = request.outputs or [RequestedTensor(name=each) for each in outputs]
    unknown = [each.name for each in wanted if each.name not in outputs]
    if unknown:
        raise FeedError(f"there is no output {', '.join(unknown)}; the model's outputs are: {', '.join(outputs)}")
    described, tail = [], []
    for each in wanted:
        array = outputs[each.name]
        tensor: dict[str, Any] = {"name": each.name, "datatype": datatype_of(array), "shape": list(array.shape)}
        if each.parameters.get("binary_data", by_default):
            data = np.ascontiguousarray(array).tobytes()
            tensor["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            tensor["data"] = array.ravel().tolist()
        described.append(tensor)
    head: dict[str, Any] = {"model_name": name, "model_version": version, "outputs": described}
    if request.id is not None:
        head["id"] = request.id
    # NaN and infinity, which JSON lacks, are null.
    text = to_json(head, inf_nan_mode="null")
    return b"".join([text, *tail]), len(text) if tail else None


def _json_length(body: bytes, header_length: str | None) -> int:
    if header_length is None:
        return len(body)
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 16):
        raise FeedError(f"the header {HEADER_LENGTH} is {header_length[:40]!r}; it is a number of bytes")
    if int(header_length) > len(body):
        raise FeedError(f"the header {HEADER_LENGTH} says {header_length}, and the body has {len(body)} bytes")
    return int(header_length)


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, fault["loc"]))
    return f"{place}: {fault['msg']}" if place else fault["msg"]


def _count(tensor: RequestTensor) -> int:
    if tensor.datatype not in DATATYPES:
        raise FeedError(f"input {tensor.name} has the type {tensor.datatype}; known are {', '.join(DATATYPES)}")
    count = 1
    for size in tensor.shape:
        if size < 0:
            raise FeedError(f"input {tensor.name} has the shape {tensor.shape}; a size is not negative")
        count *= size
    return count


def _from_bytes(tensor: RequestTensor, size: object, body: bytes, place: int) -> Array:
    dtype, wanted = DATATYPES.get(tensor.datatype), _count(tensor)
    assert dtype is not None
    if type(size) is not int or size != wanted * dtype.itemsize:
        raise FeedError(
            f"input {tensor.name} is {tensor.datatype} {tensor.shape}, which are {wanted * dtype.itemsize} bytes; its "
            f"binary_data_size is {size}"
        )
    if place + size > len(body):
        raise FeedError(f"input {tensor.name} has {max(0, len(body) - place)} of its {size} bytes behind the JSON")
    return np.frombuffer(body, dtype, wanted, place).reshape(tensor.shape)


def json_values(tensor: RequestTensor) -> Array:
    """Return the array of a tensor whose values are in `data`. Raises FeedError for values that its type cannot hold."""
    dtype, wanted = DATATYPES.get(tensor.datatype), _count(tensor)
    assert dtype is not None
    if not isinstance(tensor.data, list):
        raise FeedError(f"input {tensor.name} has no data: give a list, or binary_data_size and bytes")
    try:
        array = np.asarray(tensor.data) if tensor.data else np.empty(0, dtype)
    except (ValueError, OverflowError):
        raise FeedError(f"input {tensor.name}: its data are lists of different lengths") from None
    if array.size != wanted:
        raise FeedError(f"input {tensor.name} has {array.size} values; the shape {tensor.shape} has {wanted}")
    allowed = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[dtype.kind]
    if array.dtype.kind not in allowed or not _in_range(array, dtype):
        raise FeedError(f"input {tensor.name} has values that are not of the type {tensor.datatype}")
    with np.errstate(over="ignore"):
        return array.astype(dtype).reshape(tensor.shape)


def _in_range(array: Array, dtype: np.dtype[Any]) -> bool:
    if dtype.kind not in "iu" or not array.size:
        return True
    bounds = np.iinfo(dtype)
    return int(array.min()) >= bounds.min and int(array.max()) <= bounds.max
