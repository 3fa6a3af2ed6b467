"""Data files written byte by byte after the specification (formats 4), by code that shares nothing with the readers."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def norm_file(
    path: Path,
    labels: list[list[float]],
    dense: list[list[float]],
    keys: list[list[list[int]]],
    *,
    sums: bool,
    key_bytes: int = 8,
    slots: int | None = None,
) -> None:
    """`keys[sample][slot]` is a list of keys."""
    count = slots if slots is not None else len(keys[0])
    header = struct.pack("<8q", int(sums), len(labels), len(labels[0]), len(dense[0]) if dense else 0, count, 0, 0, 0)
    out = _unit(header, sums)
    kind = "q" if key_bytes == 8 else "I"
    for one, values, lists in zip(labels, dense, keys, strict=True):
        payload = struct.pack(f"<{len(one)}f", *one) + struct.pack(f"<{len(values)}f", *values)
        for each in lists:
            payload += struct.pack(f"<i{len(each)}{kind}", len(each), *each)
        out += _unit(payload, sums)
    path.write_bytes(out)


def _unit(payload: bytes, sums: bool) -> bytes:
    return struct.pack("<i", len(payload)) + payload + bytes([sum(payload) % 256]) if sums else payload


def parquet_set(
    folder: Path,
    tables: list[dict[str, object]],
    *,
    labels: list[str],
    conts: list[str],
    cats: list[str],
    row_group_size: int = 100,
    metadata: bool = True,
) -> Path:
    """Files 0.parquet, 1.parquet, ..., `_metadata.json` and `_file_list.txt`; returns the list."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, columns in enumerate(tables):
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        pq.write_table(table, folder / f"{number}.parquet", row_group_size=row_group_size)
    names = list(tables[0]) if isinstance(tables[0], dict) else tables[0].schema.names
    if metadata:
        rows = [pq.read_metadata(folder / f"{number}.parquet").num_rows for number in range(len(tables))]
        (folder / "_metadata.json").write_text(
            json.dumps(
                {
                    "file_stats": [{"file_name": f"{n}.parquet", "num_rows": r} for n, r in enumerate(rows)],
                    "labels": [{"col_name": each, "index": names.index(each)} for each in labels],
                    "conts": [{"col_name": each, "index": names.index(each)} for each in conts],
                    "cats": [{"col_name": each, "index": names.index(each)} for each in cats],
                }
            )
        )
    listed = folder / "_file_list.txt"
    listed.write_text(f"{len(tables)}\n" + "".join(f"{folder}/{n}.parquet\n" for n in range(len(tables))))
    return listed


def raw_file(path: Path, labels: np.ndarray, dense: np.ndarray, keys: np.ndarray) -> None:
    """Arrays of 4-byte labels and dense values and of keys, one record a sample."""
    with open(path, "wb") as file:
        for one, values, own in zip(labels, dense, keys, strict=True):
            file.write(one.tobytes() + values.tobytes() + own.tobytes())
