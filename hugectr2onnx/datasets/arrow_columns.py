"""The columns of one piece of a table as arrays, checked: what Arrow holds in the types that HugeCTR's reader takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hugectr2onnx.datasets.rows import Keys, Lists, OneKeyEach
from hugectr2onnx.errors import FeedError, UnsupportedError
from hugectr2onnx.ir.types import Array

if TYPE_CHECKING:
    import pyarrow as pa


def pyarrow() -> Any:
    """Return the pyarrow module. Raises UnsupportedError where it is not installed."""
    try:
        import pyarrow as module
    except ImportError:
        raise UnsupportedError(
            "reading Parquet, Arrow and CSV needs pyarrow: pip install 'hugectr2onnx[parquet]'"
        ) from None
    return module


def is_list(kind: pa.DataType) -> bool:
    types = pyarrow().types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def plain(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values of a dictionary (a category of pandas), any other type as it is."""
    return kind.value_type if pyarrow().types.is_dictionary(kind) else kind


@dataclass(frozen=True)
class ColumnKinds:
    """The types of columns as text, and which are lists: asked of Arrow once a table, not once a piece."""

    of: Mapping[str, str]
    lists: frozenset[str]

    def is_list(self, name: str) -> bool:
        return name in self.lists

    @staticmethod
    def of_schema(schema: pa.Schema) -> ColumnKinds:
        lists = frozenset(entry.name for entry in schema if is_list(entry.type))
        return ColumnKinds({entry.name: str(plain(entry.type)) for entry in schema}, lists)


@dataclass(frozen=True)
class PieceReader:
    """Columns of one record batch as arrays; errors name the file, the column and the row."""

    piece: pa.RecordBatch
    kinds: ColumnKinds
    where: str
    first: int
    converted: dict[str, str]

    @cached_property
    def columns(self) -> Mapping[str, Any]:
        types = pyarrow().types
        return {
            name: array.dictionary_decode() if types.is_dictionary(array.type) else array
            for name, array in zip(self.piece.schema.names, self.piece.columns, strict=True)
        }

    def floats(self, names: Sequence[str], width: int) -> Array:
        """float32 [n, width]; a list column of a fixed length fills as many columns (formats 4.2)."""
        out = np.empty((self.piece.num_rows, width), np.float32)
        at = 0
        with np.errstate(over="ignore"):
            for name in names:
                values = self._numbers(name)
                take = values.shape[1] if values.ndim == 2 else 1
                if at + take > width:
                    raise FeedError(f"{self.where}: column {name!r} has lists of {take} values, too many for the model")
                if values.ndim == 2:
                    out[:, at : at + take] = values
                else:
                    out[:, at] = values
                at += take
        if at != width:
            raise FeedError(f"{self.where}: its lists give {at} columns where the model takes {width}")
        self._refuse_nan(out, names)
        return out

    def keys(self, names: Sequence[str]) -> Keys:
        """Return the columns where each holds one key a row, else the lists of each slot."""
        arrays = [self._whole(name) for name in names]
        if not arrays or any(self.kinds.is_list(name) for name in names):
            return tuple(self._lists(name, array) for name, array in zip(names, arrays, strict=True))
        return OneKeyEach((tuple(_signed(array.to_numpy(zero_copy_only=True)) for array in arrays),))

    def _lists(self, name: str, array: Any) -> Lists:
        if not self.kinds.is_list(name):
            return Lists(_as_int64(array.to_numpy()), np.arange(len(array) + 1))
        values = array.flatten()
        if values.null_count:
            row = self.first + next(i for i, each in enumerate(array) if None in each.as_py())
            raise FeedError(f"{self.where}: column {name!r} has a null among the keys of row {row}")
        if pyarrow().types.is_fixed_size_list(array.type):
            offsets = np.arange(len(array) + 1) * array.type.list_size
        else:
            offsets = array.offsets.to_numpy().astype(np.int64)
            offsets = offsets - offsets[0]
        return Lists(_as_int64(values.to_numpy()), offsets)

    def _numbers(self, name: str) -> Array:
        array = self._whole(name)
        if self.kinds.is_list(name):
            return self._fixed_lists(name, array)
        if self.kinds.of[name] != "float":
            self.converted.setdefault(name, self.kinds.of[name])
        values: Array = array.to_numpy(zero_copy_only=False)
        return values

    def _fixed_lists(self, name: str, array: Any) -> Array:
        values = array.flatten()
        length, odd = divmod(len(values), max(1, len(array)))
        if not pyarrow().types.is_fixed_size_list(array.type):
            lengths = np.diff(array.offsets.to_numpy())
            if odd or (lengths != length).any():
                row = self.first + int(np.argmax(lengths != lengths[0]))
                raise FeedError(f"{self.where}: column {name!r} has lists of several lengths, the first at row {row}")
        if values.null_count:
            raise FeedError(f"{self.where}: column {name!r} has a null in a list, behind row {self.first}")
        numbers: Array = values.to_numpy(zero_copy_only=False).reshape(len(array), length)
        return numbers

    def _whole(self, name: str) -> Any:
        """Return a column; FeedError where it has a null."""
        array = self.columns[name]
        if array.null_count:
            row = self.first + int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
            raise FeedError(f"{self.where}: column {name!r} has a null at row {row}")
        return array

    def _refuse_nan(self, values: Array, names: Sequence[str]) -> None:
        # The sum of a column with NaN is NaN: one pass, no array of flags.
        if not np.isnan(values.sum()):
            return
        for name in names:
            column = self._numbers(name)
            bad = np.isnan(column.astype(np.float64)).reshape(len(column), -1).any(1)
            if bad.any():
                raise FeedError(f"{self.where}: column {name!r} has NaN at row {self.first + int(np.argmax(bad))}")


def _signed(values: Array) -> Array:
    """Return keys as numbers of at most 64 bits with a sign: uint64 by its bits, as HugeCTR's own files hold them."""
    return values.view(np.int64) if values.dtype == np.uint64 else values


def _as_int64(values: Array) -> Array:
    return _signed(values).astype(np.int64, copy=False)
