"""The inputs and outputs of a model in the words of the Open Inference Protocol, which Triton's are too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hugectr2onnx.errors import FeedError
from hugectr2onnx.ir.types import Array

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""numpy's types by the protocol's names; numbers travel little-endian."""
_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
_OF_ONNX = {"tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(float16)": "FP16", "tensor(int64)": "INT64",
            "tensor(int32)": "INT32", "tensor(bool)": "BOOL"}  # fmt: skip


@dataclass(frozen=True)
class TensorForm:
    """Name, type and shape of an input or output; -1 is a dimension that each request chooses."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @classmethod
    def of_entry(cls, entry: Any) -> TensorForm:
        """Of an entry of `InferenceSession.get_inputs()` or `get_outputs()`."""
        shape = tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in entry.shape)
        return cls(entry.name, _OF_ONNX.get(entry.type, "FP32"), shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return DATATYPES[self.datatype]

    def to_dict(self) -> dict[str, object]:
        """As model metadata show it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def __str__(self) -> str:
        return f"{self.datatype} {list(self.shape)}"

    def check(self, datatype: str, shape: Sequence[int]) -> None:
        """Raise FeedError, which says what was found and expected, unless a tensor of this type and shape fits."""
        fits = len(shape) == len(self.shape) and all(
            size == dim for dim, size in zip(self.shape, shape, strict=True) if dim != -1
        )
        if not (fits or self.is_batch_of_one(shape)) or datatype != self.datatype:
            raise FeedError(f"input {self.name} is {datatype} {list(shape)}; the model takes {self}")

    def is_batch_of_one(self, shape: Sequence[int]) -> bool:
        """Clients of HugeCTR's inference backend send a vector as [1, length]."""
        return len(self.shape) == 1 and len(shape) == 2 and shape[0] == 1


def datatype_of(array: Array) -> str:
    """Return the protocol's name of an array's type. Raises FeedError for types that it lacks, such as texts."""
    name = _NAMES.get(array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype)
    if name is None:
        raise FeedError(f"the type {array.dtype} is none of {', '.join(DATATYPES)}")
    return name
