"""Requests and responses of the Open Inference Protocol v2: JSON, with tensors as JSON or as bytes behind it.

The binary form is the protocol's extension `binary_tensor_data`: the header Inference-Header-Content-Length says where the
JSON ends, and each tensor's `binary_data_size` how many bytes it has, little-endian, in the order of the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

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
MAX_VALUES = 1 << 40
MAX_EMPTY_PLACES = 1 << 20
"""The product of the other sizes of a tensor with a size of 0: it takes no bytes of a request, and its answer does."""
_ALLOWED: dict[str, set[type]] = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}
"""Types of JSON's values that each kind of numpy's types may come from."""


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
    shape: list[Annotated[int, Field(lt=1 << 63)]] = Field(max_length=MAX_DIMENSIONS)
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: Any = None


class InferenceRequest(_Part):
    """The JSON of a request."""

    id: str | None = None
    inputs: list[RequestTensor] = Field(max_length=MAX_TENSORS)
    outputs: list[RequestedTensor] | None = Field(None, max_length=MAX_TENSORS)
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
            arrays[tensor.name] = json_values(tensor.name, tensor.datatype, tensor.shape, tensor.data)
            continue
        arrays[tensor.name] = _from_bytes(tensor, size, body, place)
        place += size
    if place != len(body):
        raise FeedError(f"the request has {len(body) - place} bytes behind its last tensor")
    return Inputs(request, arrays)


def write_response(name: str, version: str, inputs: Inputs, outputs: Mapping[str, Array]) -> tuple[bytes, int | None]:
    """Return the body of a response, and the length of its JSON where tensors follow it as bytes."""
    request = inputs.request
    by_default = _flag(request.parameters, "binary_data_output", False)
    wanted = _wanted(request, outputs)
    described, tail = [], []
    for each in wanted:
        array = outputs[each.name]
        tensor: dict[str, Any] = {"name": each.name, "datatype": datatype_of(array), "shape": list(array.shape)}
        if _flag(each.parameters, "binary_data", by_default):
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


def _wanted(request: InferenceRequest, outputs: Mapping[str, Array]) -> list[RequestedTensor]:
    """Return the outputs of an answer: those that are asked for, each once, or all."""
    if not request.outputs:
        return [RequestedTensor(name=each) for each in outputs]
    names = [each.name for each in request.outputs]
    unknown = [name for name in names if name not in outputs]
    if unknown:
        raise FeedError(f"there is no output {', '.join(unknown)}; the model's outputs are: {', '.join(outputs)}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FeedError(f"the request asks for the output {', '.join(twice)} twice")
    return request.outputs


def _flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise FeedError(f"the parameter {name} is {str(value)[:40]!r}; it is true or false")
    return value


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


def _form(name: str, datatype: str, shape: Sequence[int]) -> tuple[np.dtype[Any], int]:
    """Return the type of a tensor, and how many values it has. Raises FeedError for a shape that no array can have."""
    if datatype not in DATATYPES:
        raise FeedError(f"input {name} has the type {datatype[:40]}; known are {', '.join(DATATYPES)}")
    if len(shape) > MAX_DIMENSIONS:
        raise FeedError(f"input {name} has {len(shape)} dimensions; a tensor has up to {MAX_DIMENSIONS}")
    if any(size < 0 for size in shape):
        raise FeedError(f"input {name} has the shape {list(shape)}; a size is not negative")
    count = math.prod(shape)
    # numpy multiplies the sizes of an empty array too, and what a model makes of empty slots has a place for each.
    if math.prod(size for size in shape if size) > (MAX_VALUES if count else MAX_EMPTY_PLACES):
        sizes = ", ".join(str(size) if size <= MAX_VALUES else "..." for size in shape)
        raise FeedError(f"input {name} has the shape [{sizes}], which is too large")
    return DATATYPES[datatype], count


def _from_bytes(tensor: RequestTensor, size: object, body: bytes, place: int) -> Array:
    dtype, wanted = _form(tensor.name, tensor.datatype, tensor.shape)
    if type(size) is not int or size != wanted * dtype.itemsize:
        raise FeedError(
            f"input {tensor.name} is {tensor.datatype} {tensor.shape}, which are {wanted * dtype.itemsize} bytes; its "
            f"binary_data_size is {str(size)[:40]}"
        )
    if place + size > len(body):
        raise FeedError(f"input {tensor.name} has {max(0, len(body) - place)} of its {size} bytes behind the JSON")
    return np.frombuffer(body, dtype, wanted, place).reshape(tensor.shape)


def json_values(name: str, datatype: str, shape: Sequence[int], data: object) -> Array:
    """Return the array of a tensor whose values came as JSON. Raises FeedError for values that its type cannot hold."""
    dtype, wanted = _form(name, datatype, shape)
    if not isinstance(data, list):
        raise FeedError(f"input {name} has no data: give a list, or binary_data_size and bytes")
    values = _numbers(name, data)
    if values.size != wanted:
        raise FeedError(f"input {name} has {values.size} values; the shape {list(shape)} has {wanted}")
    allowed = _ALLOWED[dtype.kind]
    kinds = set(map(type, values.tolist()))
    try:
        with np.errstate(over="ignore"):
            if kinds <= allowed:
                return values.astype(dtype).reshape(shape)
    except OverflowError:
        pass
    raise FeedError(f"input {name} has values that are not of the type {datatype}")


def _numbers(name: str, data: list[Any]) -> Array:
    """Return the values of nested lists in their order, as they are.

    Objects: as texts, which numpy gives the length of the longest, a few bytes of a request would take gigabytes.
    """
    try:
        values = np.asarray(data, object).ravel()
    except ValueError:
        values = None
    if values is None or (values.size and isinstance(values[0], list)):
        raise FeedError(f"input {name}: its data are lists of different lengths")
    return values
