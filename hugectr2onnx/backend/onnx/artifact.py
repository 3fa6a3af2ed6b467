"""An onnx model whose large tensors stay where they are: in memory maps, outside protobuf."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from hugectr2onnx.backend.onnx import PROTOBUF_LIMIT
from hugectr2onnx.backend.onnx.protobuf_stream import Entry, serialise, stream, without
from hugectr2onnx.errors import CompilerError, OutputError
from hugectr2onnx.tables import paging
from hugectr2onnx.tables.gathered import Converted, Gathered, TensorData

__all__ = ["Artifact", "Blob", "external_tensor", "located_tensor", "serialise"]

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Blob:
    """One tensor in parts that are stacked along axis 0; each part may be a memory map.

    A table with an extra row of zeros is `Blob((memory_map, zeros))`: nothing is copied to append the row. `shape` is
    that of the stack, `dtype` is in native byte order.
    """

    parts: tuple[TensorData, ...]
    shape: tuple[int, ...] = field(init=False)
    dtype: np.dtype[Any] = field(init=False)

    def __post_init__(self) -> None:
        types = {part.dtype.newbyteorder("=") for part in self.parts}
        if len(types) != 1:
            raise CompilerError(f"a tensor needs parts of one type, not {[part.dtype.str for part in self.parts]}")
        object.__setattr__(self, "shape", _stacked_shape(self.parts))
        object.__setattr__(self, "dtype", types.pop())

    @property
    def nbytes(self) -> int:
        """The size of the payload."""
        return math.prod(self.shape) * self.dtype.itemsize

    def materialise(self) -> NDArray[Any]:
        """Return the whole tensor, C-contiguous and in native byte order; one part that is so already is not copied."""
        if len(self.parts) == 1:
            return np.asarray(_whole(self.parts[0]), dtype=self.dtype, order="C")
        return np.concatenate([_whole(part) for part in self.parts]).astype(self.dtype, copy=False)

    def rows(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Return some rows of the stack, in native byte order."""
        found = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        start = 0
        for part in self.parts:
            mine = (numbers >= start) & (numbers < start + len(part))
            own = numbers[mine] - start
            found[mine] = part.rows(own) if isinstance(part, Gathered | Converted) else paging.take(part, own)
            start += len(part)
        return found

    def chunks(self, size: int = 1 << 22) -> Iterator[memoryview]:
        """Yield the payload as little-endian bytes in C order, at most `size` (or one row) at a time."""
        for part in self.parts:
            yield from part_chunks(part, max(1, size))


def _whole(part: TensorData) -> NDArray[Any]:
    return part[:] if isinstance(part, Gathered | Converted) else part


def _stacked_shape(parts: tuple[TensorData, ...]) -> tuple[int, ...]:
    if len(parts) == 1:
        return parts[0].shape
    if any(part.ndim == 0 or part.shape[1:] != parts[0].shape[1:] for part in parts):
        raise CompilerError(f"tensors of shapes {[part.shape for part in parts]} do not stack along axis 0")
    return (sum(len(part) for part in parts), *parts[0].shape[1:])


def part_chunks(part: TensorData, size: int) -> Iterator[memoryview]:
    """Yield one part as `Blob.chunks` gives it."""
    if not part.nbytes:
        return
    if isinstance(part, Gathered | Converted):
        for rows in part.chunks():
            yield from part_chunks(rows, size)
        return
    little = part.dtype.newbyteorder("<")
    if part.flags.c_contiguous and part.dtype == little:
        flat = part.reshape(-1).view(np.uint8)
        yield from (chunk.data for chunk in paging.chunks(flat, size))
        return
    rows = part.reshape(1) if part.ndim == 0 else part
    step = max(1, size * len(rows) // part.nbytes)
    for start in range(0, len(rows), step):
        block = np.ascontiguousarray(rows[start : start + step], dtype=little)
        yield block.reshape(-1).view(np.uint8).data


@dataclass(frozen=True, eq=False)
class Artifact:
    """A model: `skeleton` with every small tensor inline, and `tensors` with the payloads of the others.

    Each name of `tensors` is an initializer of the skeleton with dims and data_type, `data_location` EXTERNAL and no
    payload; `external_tensor` makes one. The skeleton is not changed after this.
    """

    skeleton: onnx.ModelProto
    tensors: Mapping[str, Blob]

    def __post_init__(self) -> None:
        external = {t.name: t for t in self.skeleton.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL}
        if external.keys() != self.tensors.keys():
            names = sorted(external.keys() ^ self.tensors.keys())
            raise CompilerError(f"either the tensor or its place in the model is missing: {', '.join(names)}")
        for name, blob in self.tensors.items():
            _require_same(external[name], blob)

    @property
    def nbytes(self) -> int:
        """The size of the model and all its tensors, without the few bytes that frame them in a file."""
        return int(self.skeleton.ByteSize()) + sum(blob.nbytes for blob in self.tensors.values())

    def inline(self) -> onnx.ModelProto:
        """Return the model in one message, every payload as `raw_data`.

        Raises OutputError above protobuf's limit of 2 GiB.
        """
        if self.nbytes + 64 * len(self.tensors) > PROTOBUF_LIMIT:
            raise OutputError(
                f"the model has {self.nbytes:,} bytes and one protobuf message holds at most {PROTOBUF_LIMIT:,}: "
                "use save(), which puts the tables beside the model, or session()"
            )
        model = onnx.ModelProto()
        model.CopyFrom(self.skeleton)
        for tensor in model.graph.initializer:
            if tensor.name in self.tensors:
                tensor.ClearField("data_location")
                tensor.raw_data = b"".join(self.tensors[tensor.name].chunks())
        return model

    def stream(self, located: Mapping[str, onnx.TensorProto] = MappingProxyType({})) -> Iterator[bytes | memoryview]:
        """Yield the bytes of a model file in pieces: tensors in `located` refer to a file, the others are inline."""
        for piece in self.pieces(located):
            yield from piece.chunks() if isinstance(piece, Blob) else (piece,)

    def pieces(
        self,
        located: Mapping[str, onnx.TensorProto] = MappingProxyType({}),
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[bytes | Blob]:
        """Return the same with each payload as a whole, and more entries in the model's metadata."""
        entries = [self._entry(tensor, located) for tensor in self.skeleton.graph.initializer]
        return stream(self.skeleton, entries, metadata)

    def _entry(self, tensor: onnx.TensorProto, located: Mapping[str, onnx.TensorProto]) -> Entry[Blob]:
        if tensor.name in located or tensor.name not in self.tensors:
            return Entry(located.get(tensor.name, tensor))
        blob = self.tensors[tensor.name]
        return Entry(without(tensor, "data_location", "external_data"), blob.nbytes, blob)


def external_tensor(name: str, blob: Blob) -> onnx.TensorProto:
    """Return the initializer that stands for `blob` in a skeleton."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(blob.dtype)
    return onnx.TensorProto(name=name, dims=blob.shape, data_type=kind, data_location=onnx.TensorProto.EXTERNAL)


def located_tensor(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> onnx.TensorProto:
    """Return the same initializer with its place in a file filled in."""
    found = without(tensor, "external_data")
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        found.external_data.add(key=key, value=value)
    return found


def _require_same(tensor: onnx.TensorProto, blob: Blob) -> None:
    kind = onnx.helper.np_dtype_to_tensor_dtype(blob.dtype)
    if tuple(tensor.dims) == blob.shape and tensor.data_type == kind:
        return
    raise CompilerError(
        f"tensor {tensor.name} is {onnx.TensorProto.DataType.Name(tensor.data_type)} {list(tensor.dims)} in the model "
        f"and {blob.dtype} {list(blob.shape)} in its payload"
    )
