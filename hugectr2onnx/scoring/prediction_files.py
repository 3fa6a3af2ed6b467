"""Files of predictions: Parquet, CSV, npy and npz, written batch by batch and put in place when all are whole."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from hugectr2onnx.datasets.arrow_columns import pyarrow
from hugectr2onnx.errors import OutputError
from hugectr2onnx.ir.types import Array

ROW_GROUP_ROWS = 1 << 17
NPY_HEADER_BYTES = 128
FILE_ENDINGS = (".parquet", ".csv", ".npy", ".npz")
PREDICTION = "prediction"


def prediction_columns(
    labels: Mapping[str, Array], predictions: Mapping[str, Array], ids: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the columns of a file: ids and labels under their names, `prediction`, or `prediction_LABEL` of several labels.

    One column of a label is [n], several are [n, columns].
    """
    names = prediction_names(tuple(predictions))
    columns = dict(ids)
    columns |= {name: _plain(array) for name, array in labels.items()}
    return columns | {names[name]: _plain(array) for name, array in predictions.items()}


def prediction_names(outputs: Sequence[str]) -> dict[str, str]:
    """Return the name of the column of each output."""
    return {name: PREDICTION if len(outputs) == 1 else f"{PREDICTION}_{name}" for name in outputs}


def _plain(array: Array) -> Array:
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


class Writer(Protocol):
    """Takes columns batch by batch."""

    def add(self, columns: Mapping[str, Array]) -> None: ...
    def close(self) -> None: ...


def check_path(path: str | os.PathLike[str], *, force: bool, others: Sequence[str | os.PathLike[str]] = ()) -> Path:
    """Return the path of a new file of predictions. Raises OutputError for one that must not be written.

    `others` are files that are being read: they are refused even with `force`.
    """
    target = Path(path)
    if target.suffix not in FILE_ENDINGS:
        raise OutputError(
            f"{target}: predictions are written as {', '.join(FILE_ENDINGS)}; choose one of these endings"
        )
    if not os.path.isdir(target.parent):
        raise OutputError(f"{target}: there is no folder {target.parent}; create it first")
    if any(os.path.exists(each) and os.path.exists(target) and os.path.samefile(each, target) for each in others):
        raise OutputError(f"{target}: is one of the files that are being read; choose another path")
    if os.path.exists(target) and (not force or not os.path.isfile(target)):
        raise OutputError(f"{target}: exists already; choose another path, or overwrite it with force (--force)")
    return target


@contextmanager
def writing(target: Path, *, partial: bool) -> Iterator[Writer]:
    """Open a writer whose file takes the place of `target` when the block ends well; `partial`: also when it does not."""
    try:
        handle, scratch = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".new", dir=target.parent)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error
    os.close(handle)
    writer = _WRITERS[target.suffix](Path(scratch))
    try:
        try:
            yield writer
        except BaseException:
            if partial:
                _put_in_place(writer, scratch, target)
            else:
                writer.close()
            raise
        _put_in_place(writer, scratch, target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            os.unlink(scratch)


def _put_in_place(writer: Writer, scratch: str, target: Path) -> None:
    writer.close()
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(scratch, 0o666 & ~mask)
    with open(scratch, "rb") as file:
        os.fsync(file.fileno())
    os.replace(scratch, target)


class ParquetWriter:
    """Row groups of about 131,000 rows; label columns of several values are lists."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None
        self._held: list[Any] = []
        self._rows = 0

    def add(self, columns: Mapping[str, Array]) -> None:
        self._held.append(arrow_table(columns))
        self._rows += self._held[-1].num_rows
        if self._rows >= ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        if not self._held:
            return
        import pyarrow.parquet as pq

        table = pyarrow().concat_tables(self._held)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        self._held, self._rows = [], 0


def arrow_table(columns: Mapping[str, Array]) -> Any:
    """Return columns as an Arrow table; [n, columns] becomes lists."""
    module = pyarrow()
    return module.table({name: _arrow_column(array) for name, array in columns.items()})


def _arrow_column(array: Array) -> Any:
    module = pyarrow()
    if array.ndim == 1:
        return module.array(array)
    return module.FixedSizeListArray.from_arrays(module.array(np.ascontiguousarray(array).ravel()), array.shape[1])


class CsvWriter:
    """One line of names, then one line a sample; a label of several columns takes several, `NAME[0]`, `NAME[1]`, ..."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115  closed by close()
        self._has_names = False

    def add(self, columns: Mapping[str, Array]) -> None:
        import csv

        flat = dict(_flattened(columns))
        writer = csv.writer(self._file, lineterminator="\n")
        if not self._has_names:
            writer.writerow(flat)
            self._has_names = True
        writer.writerows(zip(*(_shortest(column) for column in flat.values()), strict=True))

    def close(self) -> None:
        self._file.close()


def _flattened(columns: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    for name, array in columns.items():
        if array.ndim == 1:
            yield name, array
        else:
            yield from ((f"{name}[{column}]", array[:, column]) for column in range(array.shape[1]))


def _shortest(column: Array) -> list[Any]:
    """Return values as text that reads back to the same bits: a float32 needs 9 digits at most, not a float64's 17."""
    return column.astype(str).tolist() if column.dtype == np.float32 else list(column.tolist())


class NpyWriter:
    """One column; the number of rows is filled in at the end. `is_matrix`: [n] becomes [n, 1]."""

    def __init__(self, path: Path, column: str = PREDICTION, is_matrix: bool = True) -> None:
        self._file: IO[bytes] = open(path, "wb")  # noqa: SIM115  closed by close()
        self._file.write(bytes(NPY_HEADER_BYTES))
        self._column = column
        self._is_matrix = is_matrix
        self._rows = 0
        self._shape: tuple[int, ...] = (1,) if is_matrix else ()
        self._dtype = np.dtype(np.float32)

    def add(self, columns: Mapping[str, Array]) -> None:
        if self._column not in columns:
            raise OutputError("an .npy file holds the predictions of one label; choose .npz or .parquet for several")
        array = columns[self._column]
        array = array[:, None] if array.ndim == 1 and self._is_matrix else array
        self._rows, self._shape, self._dtype = self._rows + len(array), array.shape[1:], array.dtype
        self._file.write(np.ascontiguousarray(array).data)

    def close(self) -> None:
        """Write the header, padded to the length that was kept free."""
        shape = (self._rows, *self._shape)
        text = f"{{'descr': {self._dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
        head = b"\x93NUMPY\x01\x00" + (NPY_HEADER_BYTES - 10).to_bytes(2, "little")
        self._file.seek(0)
        self._file.write(head + text.ljust(NPY_HEADER_BYTES - 11).encode("latin1") + b"\n")
        self._file.close()


class NpzWriter:
    """An archive with an array for each column, uncompressed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = tempfile.TemporaryDirectory(prefix=f"{path.name}.", dir=path.parent)
        self._columns: dict[str, NpyWriter] = {}

    def add(self, columns: Mapping[str, Array]) -> None:
        for number, (name, array) in enumerate(columns.items()):
            if array.dtype.kind not in "fiubU":
                raise OutputError(f"column {name!r} is {array.dtype}, which an .npz file cannot hold; choose .parquet")
            if name not in self._columns:
                self._columns[name] = NpyWriter(Path(self._folder.name, f"{number}.npy"), name, is_matrix=False)
            self._columns[name].add(columns)

    def close(self) -> None:
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for number, (name, writer) in enumerate(self._columns.items()):
                writer.close()
                archive.write(Path(self._folder.name, f"{number}.npy"), f"{name}.npy")
        self._folder.cleanup()


_WRITERS: Mapping[str, Any] = {".parquet": ParquetWriter, ".csv": CsvWriter, ".npy": NpyWriter, ".npz": NpzWriter}


@dataclass(frozen=True)
class Nowhere:
    """A writer for predictions that nobody wants to keep."""

    def add(self, columns: Mapping[str, Array]) -> None: ...
    def close(self) -> None: ...


@dataclass
class InMemory:
    """A writer that keeps the columns; `columns` joins them."""

    parts: list[dict[str, Array]]

    def add(self, columns: Mapping[str, Array]) -> None:
        self.parts.append(dict(columns))

    def close(self) -> None: ...

    @property
    def columns(self) -> dict[str, Array]:
        return {
            name: np.concatenate([part[name] for part in self.parts]) for name in (self.parts[0] if self.parts else ())
        }
