"""The perfect hash in ONNX: standard operators of opset 17 only, all its tables outside protobuf."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np

from hugectr2onnx.ir.op import Emitter
from hugectr2onnx.ir.ops.key_maps import KeyMap, emit_offsets, is_padding
from hugectr2onnx.ir.types import Array
from hugectr2onnx.tables import perfect_hash
from hugectr2onnx.tables.perfect_hash import HashError, HashTables

UINT64, INT64 = 13, 7
"""onnx.TensorProto's numbers of types that the IR does not have or that Cast needs by number."""
FIRST_WITH_UINT64_PRODUCTS = (1, 21)
"""The first onnxruntime on whose CPU `Mul` takes uint64."""


@dataclass(frozen=True, repr=False)
class PerfectHash(KeyMap):
    """Hash the key, displace it by its bucket, compare it with the key in its slot: any number of keys (`ir.perfect_hash`)."""

    strategy = "perfect-hash"
    count: int
    tables: HashTables = field(repr=False, compare=False)

    @staticmethod
    def build(keys: Array, rows: Array, missing: int) -> PerfectHash:
        """For the keys of 0 and more and their rows; raises HashError where no seed works, or the runtime is too old."""
        if not is_runnable():
            raise HashError("the installed onnxruntime cannot multiply uint64: install 1.32 or newer")
        tables = perfect_hash.build(keys, missing)
        if len(rows) and (rows[0] != 0 or rows[-1] != len(rows) - 1):
            # Not by EMPTY: -1 may be a key of the table.
            taken = tables.rows != missing
            tables.rows[taken] = rows[tables.rows[taken]]
        return PerfectHash(len(keys), tables)

    @property
    def nbytes(self) -> int:
        return self.tables.nbytes

    def row_type(self, missing: int) -> np.dtype[Any]:
        return self.tables.rows.dtype

    def emit_rows(
        self, out: Emitter, keys: str, offsets: tuple[int, ...], known: Array, rows: Array, missing: int, apart: bool
    ) -> str:
        moved = emit_offsets(out, keys, offsets) if any(offsets) else keys
        found = self.emit_found(out, moved, known, rows, missing)
        if not apart:
            return found
        padding = out.stacked("padding_row", np.array([[[missing + 1]]], self.tables.rows.dtype))
        return out.node("Where", is_padding(out, keys), padding, found)

    def emit_found(self, out: Emitter, keys: str, known: Array, rows: Array, missing: int) -> str:
        tables = self.tables
        x = self._emit_mixed(out, keys)
        bucket = out.node("Cast", self._shifted(out, x, tables.shift), to=INT64)
        displacement = out.node("Gather", out.stacked("displacement_of_bucket", tables.displacements), bucket, axis=0)
        scaled = out.node(
            "Mul", self._shifted(out, out.node("Mul", x, displacement), 32), _uint64(out, len(tables.keys))
        )
        slot = out.node("Cast", self._shifted(out, scaled, 32), to=INT64)
        stored = out.node("Gather", out.stacked("key_of_slot", tables.keys), slot, axis=0)
        row = out.node("Gather", out.stacked("row_of_slot", tables.rows), slot, axis=0)
        nothing = out.stacked("missing_row", np.array([[[missing]]], tables.rows.dtype))
        return out.node("Where", out.node("Equal", stored, keys), row, nothing)

    def _emit_mixed(self, out: Emitter, keys: str) -> str:
        first, second = self.tables.mix
        a = out.node("Mul", out.node("Cast", keys, to=UINT64), _uint64(out, first))
        return out.node("Mul", out.node("Add", a, self._shifted(out, a, 32)), _uint64(out, second))

    def _shifted(self, out: Emitter, x: str, bits: int) -> str:
        return out.node("BitShift", x, _uint64(out, bits), direction="RIGHT")

    def __repr__(self) -> str:
        return f"perfect-hash[{self.count} keys, seed {self.tables.seed}]"


def is_runnable() -> bool:
    """Tell whether the installed onnxruntime has a product of uint64; onnxruntime-gpu and the like count as new."""
    try:
        installed = metadata.version("onnxruntime")
    except metadata.PackageNotFoundError:
        return True
    return tuple(map(int, installed.split(".")[:2])) >= FIRST_WITH_UINT64_PRODUCTS


def _uint64(out: Emitter, number: int) -> str:
    return out.stacked("hash", np.array([[[number]]], np.uint64))
