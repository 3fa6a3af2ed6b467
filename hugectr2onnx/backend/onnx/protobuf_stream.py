"""Protobuf's wire format, as much as it takes to write a model file without holding its weights in memory.

A model message is its plain fields and one graph; a graph is its plain fields and its initializers, written here one by
one. Field numbers are those of onnx.proto: ModelProto.graph 7, GraphProto.initializer 5, TensorProto.raw_data 9.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

from hugectr2onnx.errors import OutputError

P = TypeVar("P")
M = TypeVar("M", onnx.ModelProto, onnx.GraphProto, onnx.NodeProto, onnx.TensorProto)

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9


@dataclass(frozen=True, eq=False)
class Entry(Generic[P]):
    """One initializer: the tensor without payload, and what stands for the payload that becomes its `raw_data`."""

    tensor: onnx.TensorProto
    payload_size: int = 0
    payload: P | None = None

    def head(self) -> bytes:
        """Return everything that comes before the payload."""
        tensor = serialise(self.tensor)
        if self.payload_size:
            tensor += _header(_RAW_DATA, self.payload_size)
        return _header(_INITIALIZER, len(tensor) + self.payload_size) + tensor


def stream(
    model: onnx.ModelProto, entries: Sequence[Entry[P]], metadata: Mapping[str, str] = MappingProxyType({})
) -> Iterator[bytes | P]:
    """Yield the model file in pieces: `entries` for initializers, their payloads among the bytes, and more `metadata`."""
    graph = serialise(without(model.graph, "initializer"))
    heads = [entry.head() for entry in entries]
    size = len(graph) + sum(map(len, heads)) + sum(entry.payload_size for entry in entries)
    plain = without(model, "graph")
    for key, value in metadata.items():
        plain.metadata_props.add(key=key, value=value)
    yield serialise(plain) + _header(_GRAPH, size)
    yield graph
    for head, entry in zip(heads, entries, strict=True):
        yield head
        if entry.payload is not None:
            yield entry.payload


def serialise(message: Any) -> bytes:
    """Return the bytes of a protobuf message: the same for the same content, whatever the hash seed."""
    try:
        return bytes(message.SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as error:
        raise OutputError(
            f"the model does not fit into one protobuf message, which holds 2 GiB at most ({error}): "
            "tables may lie beside the model, but the keys of an embedding cannot; leave out keys that are not used"
        ) from error


def without(message: M, *fields: str) -> M:
    """Return a copy that lacks some fields, which are not even copied."""
    copy = type(message)()
    for field, value in message.ListFields():
        if field.name not in fields:
            _copy_field(copy, field, value)
    return copy


def _copy_field(target: Any, field: Any, value: Any) -> None:
    place = getattr(target, field.name)
    if hasattr(place, "MergeFrom"):
        place.MergeFrom(value)
    else:
        setattr(target, field.name, value)


def _header(field: int, size: int) -> bytes:
    return _varint(field << 3 | 2) + _varint(size)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
