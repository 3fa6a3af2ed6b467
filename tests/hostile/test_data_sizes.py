"""Data files that claim absurd sizes, or unpack to them: our own error, in a process that may take little memory."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ALLOWED = 300 << 20
"""Bytes beyond what the libraries reserve; each file stands for more."""
PROGRAM = f"""
import resource, sys
import pyarrow.parquet, pyarrow.csv, pyarrow.ipc
from hugectr2onnx.datasets.dataset import open_dataset
from hugectr2onnx.datasets.schema import KeyInput, LabelColumns, Schema
from hugectr2onnx.errors import HugeCTR2ONNXError

schema = Schema((LabelColumns("label", 1),), "dense", 2, (KeyInput("keys", 2, None),))
with open("/proc/self/statm") as file:
    reserved = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (reserved + {ALLOWED},) * 2)
try:
    print("read", sum(len(inputs["keys"]) for inputs, _ in open_dataset(sys.argv[1], schema)))
except HugeCTR2ONNXError as error:
    print("refused:", error)
"""


def outcome(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout.strip()


def with_hole(path: Path, start: bytes, size: int) -> None:
    """A file of `size` bytes that takes no room on the disk: zeros follow its start."""
    path.write_bytes(start)
    os.truncate(path, size)


def csv_of_one_huge_field(path: Path) -> None:
    with_hole(path, b"label,I1,I2,C1,C2\n1,1,1,1,1\n1,1,1,1," + b"1" * 8192, 1 << 30)


def csv_of_endless_names(path: Path) -> None:
    with_hole(path, b"label,I1,I2,C1,C2," + b"x" * 8192, 1 << 30)


def npy_head(shape: tuple[int, ...], kind: str) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def npz_of(path: Path, rows: int, held: int, width: int = 1) -> None:
    """An archive whose headers claim `rows`, with the zeros of `held` rows behind them, deflated."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, shape, kind in (("dense", (rows, 2), "<f4"), ("keys", (rows, 2, width), "<i8")):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                member.write(npy_head(shape, kind))
                row = int(np.prod(shape[1:])) * int(kind[-1])
                for start in range(0, held, 1 << 16):
                    member.write(bytes(min(1 << 16, held - start) * row))


def norm_of(records: int, keys: int) -> bytes:
    return struct.pack("<8q3fi", 0, records, 1, 2, 2, 0, 0, 0, 0.0, 0.0, 0.0, keys)


def parquet_of_one_value(path: Path) -> None:
    """400 MB of one value in a few KB."""
    rows = 2_000_000
    kinds = {"label": "<f4", "I1": "<f4", "I2": "<f4", "C1": "<i8", "C2": "<i8"}
    table = pa.table({name: np.zeros(rows, kind) for name, kind in kinds.items()})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(7):
            writer.write_table(table, row_group_size=rows)


def parquet_of_a_huge_count(path: Path) -> None:
    """A footer in which each 10, the number of rows among them, has become 2^60."""
    kinds = {"label": "f4", "I1": "f4", "I2": "f4", "C1": "i8", "C2": "i8"}
    pq.write_table(pa.table({name: np.zeros(10, kind) for name, kind in kinds.items()}), path)
    data = path.read_bytes()
    (size,) = struct.unpack("<i", data[-8:-4])
    footer = data[-8 - size : -8].replace(b"\x14", bytes([0x80] * 8 + [0x10]))
    path.write_bytes(data[: -8 - size] + footer + struct.pack("<i", len(footer)) + b"PAR1")


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS and /proc are Linux's")
@pytest.mark.parametrize(
    ("name", "write", "expected"),
    [
        ("field.csv", csv_of_one_huge_field, "refused: .*field.csv: is damaged behind row 1"),
        ("names.csv", csv_of_endless_names, "refused: .*names.csv: cannot be read as CSV"),
        ("rows.npz", lambda path: npz_of(path, 1 << 60, 3), "refused: .*the array dense is shorter than its header"),
        ("wide.npz", lambda path: npz_of(path, 1, 0, 1 << 40), "refused: .*the array keys has rows of more than"),
        ("bomb.npz", lambda path: npz_of(path, 20_000_000, 20_000_000), "read 20000000"),
        (
            "records",
            lambda path: path.write_bytes(norm_of(1 << 60, 1)),
            "refused: .*ends in record 0 of 1152921504606846976",
        ),
        (
            "keys",
            lambda path: with_hole(path, norm_of(3, 1 << 19), 1 << 30),
            "refused: .*keys: has bytes behind its 3 records",
        ),
        ("one_value.parquet", parquet_of_one_value, "read 14000000"),
        ("count.parquet", parquet_of_a_huge_count, "refused: .*count.parquet: (holds|is)"),
    ],
)
def test_absurd_sizes_are_refused_or_read_in_little_memory(
    name: str, write: Callable[[Path], None], expected: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    found = outcome(tmp_path / name)
    assert re.match(expected, found), found[:300]
