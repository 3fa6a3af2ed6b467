"""The record of a version of a split model: its tables, the inputs of its dense part, and how keys become these.

It is JSON, kept in the store and beside the dense part, and it is written when every row is in place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hugectr2onnx.errors import OptionError, StoreError
from hugectr2onnx.ir.given_feeds import InputForm
from hugectr2onnx.tables.array import Array
from hugectr2onnx.tables.row_format import FORMATS_BY_NAME, RowFormat

FORMAT, FORMAT_VERSION = "hugectr2onnx.split", 1
MAX_WIDTH = 1 << 26
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class TableRecord:
    """One table of the store. `default`: every number of the vector of a key that the table lacks."""

    name: str
    rows: int
    width: int
    row_format: str = "fp32"
    default: float = 0.0

    @property
    def format(self) -> RowFormat:
        return FORMATS_BY_NAME[self.row_format]

    @property
    def row_bytes(self) -> int:
        """Bytes of a stored row: its numbers, then its scale where the format has one, little-endian both."""
        return self.format.row_bytes(self.width)


@dataclass(frozen=True)
class RowsInput:
    """An input float32 [R, width] of the dense part; a key of slot s has its row in table `tables[s % len(tables)]`."""

    input: str
    tables: tuple[str, ...]


@dataclass(frozen=True)
class PlacesInput:
    """An input int64 [N, slot, nnz] of the dense part: the place of each key among the different keys of the request.

    `keys`: the input of the whole model that it stands for. `offsets`: added to the keys of each slot first.
    """

    input: str
    keys: str
    offsets: tuple[int, ...]
    padding_key: int | None
    rows: tuple[RowsInput, ...]


@dataclass(frozen=True)
class InputRecord:
    """An input of the whole model; symbolic dimensions by name."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    @property
    def form(self) -> InputForm:
        return InputForm(np.dtype(self.dtype), self.shape)


@dataclass(frozen=True)
class VersionRecord:
    """A version: the interface of the whole model, the inputs of the dense part that stand for keys, and the tables.

    `model_sha256`: of the ONNX file of the dense part. `ignored`: feeds that may be given and are not read, such as labels.
    `store`: what the kind of store must know to find the rows.
    """

    version: str
    model_sha256: str
    inputs: tuple[InputRecord, ...]
    places: tuple[PlacesInput, ...]
    tables: tuple[TableRecord, ...]
    ignored: tuple[str, ...] = ()
    store: Mapping[str, Any] = field(default_factory=dict)

    def table(self, name: str) -> TableRecord:
        """Return a table by name. Raises StoreError."""
        found = next((table for table in self.tables if table.name == name), None)
        if found is None:
            listed = ", ".join(table.name for table in self.tables) or "none"
            raise StoreError(f"version {self.version} has no table {name!r}: its tables are {listed}")
        return found

    def to_json(self) -> str:
        return json.dumps(
            {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}, indent=1, sort_keys=True
        )

    @staticmethod
    def from_json(text: str | bytes, where: str) -> VersionRecord:
        """Read a record. Raises StoreError, which begins with `where`, for a text that `to_json` cannot have written."""
        try:
            plain = json.loads(text)
            if plain.pop("format") != FORMAT:
                raise ValueError("it is not a record of a split model")
            if plain.pop("format_version") != FORMAT_VERSION:
                raise ValueError("a later release of hugectr2onnx wrote it")
            record = _read(plain)
            _check(record)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StoreError(f"{where}: the record of the version cannot be used: {error}") from error
        return record


def check_version_name(version: str) -> str:
    """Return the name of a version. Raises OptionError for one that cannot be a part of a path and of a key."""
    if not _VERSION.fullmatch(version):
        raise OptionError(
            f"{version[:80]!r} cannot name a version: give up to 64 letters, digits, dots, dashes and underscores",
            option="version",
        )
    return version


def _read(plain: Mapping[str, Any]) -> VersionRecord:
    places = tuple(_read_places(entry) for entry in plain["places"])
    inputs = tuple(InputRecord(e["name"], e["dtype"], tuple(e["shape"])) for e in plain["inputs"])
    tables = tuple(TableRecord(**entry) for entry in plain["tables"])
    ignored, store = tuple(plain["ignored"]), dict(plain["store"])
    return VersionRecord(plain["version"], plain["model_sha256"], inputs, places, tables, ignored, store)


def _read_places(plain: Mapping[str, Any]) -> PlacesInput:
    rows = tuple(RowsInput(entry["input"], tuple(entry["tables"])) for entry in plain["rows"])
    return PlacesInput(plain["input"], plain["keys"], tuple(plain["offsets"]), plain["padding_key"], rows)


def _check(record: VersionRecord) -> None:
    if not isinstance(record.version, str) or not _VERSION.fullmatch(record.version):
        raise ValueError(f"{record.version!r} is not the name of a version")
    for table in record.tables:
        if table.row_format not in FORMATS_BY_NAME or not _is_count(table.rows) or not 1 <= table.width <= MAX_WIDTH:
            raise ValueError(f"table {table.name!r} has {table.rows!r} {table.row_format!r} rows of {table.width!r}")
        if not isinstance(table.default, float | int):
            raise ValueError(f"table {table.name!r} has the default {table.default!r}")
    for each in record.inputs:
        if each.dtype not in ("float32", "int64", "int32"):
            raise ValueError(f"input {each.name!r} is of {each.dtype!r}")
    known = {entry.name: entry for entry in record.inputs}
    for places in record.places:
        slots = known[places.keys].shape[1]
        if places.offsets and (len(places.offsets) != slots or not all(map(_is_count, places.offsets))):
            raise ValueError(f"{len(places.offsets)} offsets for the {slots} slots of {places.keys}")
        if len({len(rows.tables) for rows in places.rows}) != 1:
            raise ValueError(f"the tables of {places.keys} do not agree in their number of GPUs")
        for name in (name for rows in places.rows for name in rows.tables):
            record.table(name)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def decode(table: TableRecord, stored: Array) -> Array:
    """float32 [n, width] of stored rows, uint8 [n, row_bytes]."""
    format = table.format
    end = format.dtype.itemsize * table.width
    numbers = np.ascontiguousarray(stored[:, :end]).view(format.dtype).reshape(len(stored), table.width)
    scales = np.ascontiguousarray(stored[:, end:]).view("<f4").reshape(-1, 1) if format.has_scales else None
    return np.asarray(format.decode(numbers, scales), np.float32)


def encode(table: TableRecord, rows: Array) -> Array:
    """uint8 [n, row_bytes] of float32 rows."""
    parts: Sequence[Array | None] = (table.format.encode(rows), table.format.scales(rows))
    views = [np.ascontiguousarray(part).reshape(len(rows), -1).view(np.uint8) for part in parts if part is not None]
    return np.hstack(views) if len(views) > 1 else views[0]
