"""Tell what an ONNX file holds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import onnx

from hugectr2onnx.backend.onnx.node_layers import layers_of
from hugectr2onnx.backend.onnx.onnx_file import ExternalTensor, external_tensors, read_model
from hugectr2onnx.ir.types import Tensor
from hugectr2onnx.tables.regular_file import first_bytes


@dataclass(frozen=True)
class StoredTensor:
    """A constant of an ONNX model; `file` is where it lies if not in the model itself."""

    name: str
    type: str
    bytes: int
    file: str | None = None


@dataclass(frozen=True)
class StoredKeyMap:
    """The keys of an embedding table in an ONNX model."""

    node: str
    layers: str
    keys: int
    smallest_key: int | None
    largest_key: int | None


@dataclass(frozen=True)
class DataFile:
    """A file beside the model: the bytes that the model needs of it, and those that are there (None: no such file)."""

    path: str
    needed_bytes: int
    found_bytes: int | None


@dataclass(frozen=True)
class OnnxSummary:
    """An ONNX file: interface, operators, the HugeCTR layers that its nodes came from, constants, metadata."""

    path: str
    bytes: int
    graph_name: str
    producer: str
    ir_version: int
    opsets: Mapping[str, int]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: int
    operators: Mapping[str, int]
    layers: Mapping[str, int]
    tensors: tuple[StoredTensor, ...]
    tables: tuple[StoredKeyMap, ...]
    data_files: tuple[DataFile, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as JSON-ready data."""
        return asdict(self)


def is_onnx(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is meant as an ONNX model rather than a graph JSON: by its name, else by how it begins."""
    name = os.fspath(path).lower()
    if name.endswith((".onnx", ".json")):
        return name.endswith(".onnx")
    start = first_bytes(path, 64)
    return bool(start) and not start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"["))


def inspect_onnx(path: str | os.PathLike[str]) -> OnnxSummary:
    """Tell what an ONNX file holds; its tables are not read. Raises FeedError where it is none."""
    model = read_model(path)
    graph = model.graph
    places = external_tensors(model, path)
    constants = {tensor.name for tensor in graph.initializer}
    return OnnxSummary(
        path=os.fspath(path),
        bytes=os.path.getsize(path),
        graph_name=graph.name,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        ir_version=model.ir_version,
        opsets={each.domain or "ai.onnx": each.version for each in model.opset_import},
        inputs=tuple(_interface(each) for each in graph.input if each.name not in constants),
        outputs=tuple(map(_interface, graph.output)),
        nodes=len(graph.node),
        operators=_counted(_operator(node) for node in graph.node),
        layers=dict(Counter(_layers(node) for node in graph.node)),
        tensors=tuple(_stored(tensor, places) for tensor in graph.initializer),
        tables=tuple(_tables(graph)),
        data_files=tuple(_data_files(places)),
        metadata={entry.key: entry.value for entry in model.metadata_props},
    )


def _counted(names: Iterator[str]) -> dict[str, int]:
    """Return the most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0])))


def _operator(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain and node.domain != "ai.onnx" else str(node.op_type)


def _layers(node: onnx.NodeProto) -> str:
    return ", ".join(layers_of(node))


def _interface(value: onnx.ValueInfoProto) -> Tensor:
    tensor = value.type.tensor_type
    dims = [str(dim.dim_param or dim.dim_value) if dim.WhichOneof("value") else "?" for dim in tensor.shape.dim]
    return Tensor(value.name, f"{_element_type(tensor.elem_type)}[{', '.join(dims)}]")


def _stored(tensor: onnx.TensorProto, places: Mapping[str, ExternalTensor]) -> StoredTensor:
    kind = f"{_element_type(tensor.data_type)}[{', '.join(map(str, tensor.dims))}]"
    place = places.get(tensor.name)
    if place is None:
        return StoredTensor(tensor.name, kind, tensor.ByteSize())
    return StoredTensor(tensor.name, kind, place.length, place.path.name)


def _element_type(number: int) -> str:
    try:
        name = str(onnx.TensorProto.DataType.Name(number))
    except ValueError:
        return f"type {number}"
    return {"FLOAT": "f32", "DOUBLE": "f64", "INT64": "i64", "INT32": "i32", "BOOL": "bool"}.get(name, name.lower())


def _tables(graph: onnx.GraphProto) -> Iterator[StoredKeyMap]:
    for node in graph.node:
        keys = _keys(node) if node.op_type == "LabelEncoder" else None
        if keys is not None:
            low, high = (int(keys.min()), int(keys.max())) if keys.size else (None, None)
            yield StoredKeyMap(node.name, _layers(node), int(keys.size), low, high)


def _keys(node: onnx.NodeProto) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    for attribute in node.attribute:
        if attribute.name == "keys_int64s":
            return np.array(attribute.ints, np.int64)
        if attribute.name == "keys_tensor" and attribute.t.data_type == onnx.TensorProto.INT64:
            raw = attribute.t.raw_data
            if raw and len(raw) % 8 == 0:
                return np.frombuffer(raw, "<i8")
            return np.array(attribute.t.int64_data, np.int64)
    return None


def _data_files(places: Mapping[str, ExternalTensor]) -> Iterator[DataFile]:
    ends: dict[str, int] = {}
    found: dict[str, int | None] = {}
    for place in places.values():
        path = str(place.path)
        ends[path] = max(ends.get(path, 0), place.offset + place.length)
        found[path] = place.found
    for path, end in ends.items():
        yield DataFile(path, end, found[path])
