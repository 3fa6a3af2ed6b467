"""Keys and rows of an embedding table as Parquet, Arrow or npz, written piece by piece."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.errors import OutputError, UnsupportedError
from hugectr2onnx.inspection.embedding_table import EmbeddingTable
from hugectr2onnx.ir.types import Array


def write_table(table: EmbeddingTable, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write the columns `key`, `slot_id` where there is one, and `vector`; the file appears when it is whole.

    The ending of the path tells the format: .parquet, .arrow or .npz. Raises OutputError for a path that cannot be
    written or that exists (unless `force`), UnsupportedError where pyarrow is not installed.
    """
    target = Path(path)
    writer = _WRITERS.get(target.suffix)
    if writer is None:
        raise OutputError(f"{target}: a table is written as {', '.join(_WRITERS)}; choose one of these endings")
    if os.path.exists(target) and (not force or not os.path.isfile(target)):
        raise OutputError(f"{target}: exists already; choose another path, or overwrite it with force (--force)")
    scratch = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        try:
            writer(table, scratch)
            os.replace(scratch, target)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error


def _parquet(table: EmbeddingTable, path: Path) -> None:
    pa = _pyarrow()
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, _schema(pa, table)) as writer:
        for piece in table.pieces():
            writer.write_table(pa.table(_columns(pa, piece), schema=_schema(pa, table)))


def _arrow(table: EmbeddingTable, path: Path) -> None:
    pa = _pyarrow()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _schema(pa, table)) as writer:
        for piece in table.pieces():
            writer.write_table(pa.table(_columns(pa, piece), schema=_schema(pa, table)))


def _npz(table: EmbeddingTable, path: Path) -> None:
    arrays = {"key": (table.keys, (len(table),)), "vector": (table.rows, (len(table), table.width))}
    if table.slot_ids is not None:
        arrays["slot_id"] = (table.slot_ids, (len(table),))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, (array, shape) in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = {"descr": array.dtype.newbyteorder("<").str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                for piece in table.pieces():
                    member.write(np.ascontiguousarray(piece[name]).data)


def _schema(pa: Any, table: EmbeddingTable) -> Any:
    slots = [("slot_id", pa.int64())] if table.slot_ids is not None else []
    return pa.schema([("key", pa.int64()), *slots, ("vector", pa.list_(pa.float32(), table.width))])


def _columns(pa: Any, piece: Mapping[str, Array]) -> dict[str, Any]:
    vectors = piece["vector"]
    flat = pa.array(np.ascontiguousarray(vectors).ravel())
    plain = {name: pa.array(np.ascontiguousarray(array)) for name, array in piece.items() if name != "vector"}
    return plain | {"vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise UnsupportedError("writing Parquet and Arrow needs pyarrow: pip install 'hugectr2onnx[parquet]'") from None
    return pyarrow


_WRITERS: Mapping[str, Callable[[EmbeddingTable, Path], None]] = {".parquet": _parquet, ".arrow": _arrow, ".npz": _npz}
