"""`open_dataset`: any data that a HugeCTR model was trained or tried on, as batches of the converted model's inputs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hugectr2onnx.datasets import DATA_FORMATS, DataFormat, norm, raw
from hugectr2onnx.datasets.columns import Columns, columns_of
from hugectr2onnx.datasets.files import DataFiles, find_files, head
from hugectr2onnx.datasets.named_arrays import IterableSource, open_npz
from hugectr2onnx.datasets.parquet import TableSource, open_parquet
from hugectr2onnx.datasets.raw import RawFormat
from hugectr2onnx.datasets.read_ahead import read_ahead
from hugectr2onnx.datasets.request_forms import as_fed
from hugectr2onnx.datasets.row_batch import RowBatch
from hugectr2onnx.datasets.rows import Rows, in_batches, to_batch
from hugectr2onnx.datasets.schema import HasArtifact, Schema, schema_of, without_offsets
from hugectr2onnx.datasets.tabular import STREAM_MAGIC, csv_delimiter, is_frame, open_arrow, open_csv, open_frame
from hugectr2onnx.errors import FeedError

BATCH_SIZE = 8192
BATCHES_AHEAD = 3
"""Batches that the reading thread may be ahead of the session; each waits in memory."""


class Source(Protocol):
    """A source of samples. `rows` is None where only reading tells."""

    @property
    def rows(self) -> int | None: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    def pieces(self, size: int) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Dataset:
    """Samples in their order, as batches `{input: array}, {label: array}`; iterate as often as the data allows.

    `schema` is what the model takes, `format` how the data is written, `name` where it is.
    """

    name: str
    format: str
    schema: Schema
    source: Source
    batch_size: int = BATCH_SIZE
    limit: int | None = None
    warnings: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> int | None:
        """How many samples there are; None where only reading tells (CSV, iterators)."""
        known = self.source.rows
        if known is None or self.limit is None:
            return known
        return min(known, self.limit)

    def __len__(self) -> int:
        """Return the number of samples. Raises TypeError where only reading tells."""
        if self.rows is None:
            raise TypeError(f"the number of samples of {self.name} is not known before it is read")
        return self.rows

    def __iter__(self) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        for batch in self.batches():
            yield batch.inputs, batch.labels

    def batches(self, batch_size: int | None = None) -> Iterator[RowBatch]:
        """Return the batches, read in a thread beside the caller; the last one may be smaller.

        Raises FeedError where the data is damaged, after the batches before the damage.
        """
        size = self.batch_size if batch_size is None else batch_size
        if size < 1:
            raise FeedError(f"a batch size of {size} holds no samples")
        return self._assembled(read_ahead(in_batches(self.source.pieces(size), size, self.limit), BATCHES_AHEAD))

    def _assembled(self, pieces: Iterator[Rows | RowBatch]) -> Iterator[RowBatch]:
        """Yield the inputs of each batch, put together in the caller's thread while the next samples are decoded."""
        start = 0
        for piece in pieces:
            yield to_batch(piece, self.schema, start) if isinstance(piece, Rows) else as_fed(piece, self.schema)
            start += len(piece)

    def __repr__(self) -> str:
        rows = "samples" if self.rows is None else f"{self.rows:,} samples"
        return f"<Dataset {self.name}: {self.format}, {rows}; {self.schema}>"


def open_dataset(
    data: Any,
    model: str | os.PathLike[str] | HasArtifact | Schema,
    *,
    format: DataFormat | None = None,
    batch_size: int = BATCH_SIZE,
    limit: int | None = None,
    slot_size_array: Sequence[int] | None = None,
    columns: str | Columns | Mapping[str, Sequence[str]] | None = None,
    float_dense: bool = False,
    int64_keys: bool | None = None,
    num_samples: int | None = None,
    hotness: Sequence[int] = (),
) -> Dataset:
    """Open data for a model.

    data: a file, a folder, a glob or a file list (`_file_list.txt`) of Parquet, Norm, Raw, npz, CSV or Arrow files; or
    a pandas or polars frame, an Arrow table, or an iterable of `{input: array}`. model: an ONNX file or a CompiledModel.
    format: forces what is otherwise found from the content.

    slot_size_array: the list of HugeCTR's Parquet reader; its running sums are added to the keys. Norm and Raw files hold
    keys with their offsets: without the list, a model that adds them itself gets the keys without them. columns: which
    columns are which (`"labels=click;dense=I1..I13;keys=C1..C26;ids=user"`), where no `_metadata.json` says. float_dense,
    num_samples, hotness: of Raw files; int64_keys: of Raw and Norm files (None: Norm tells by its content, Raw is 32 bit).

    Raises FeedError for data that cannot be read or does not fit the model, before the first batch (formats 4).
    """
    if batch_size < 1 or (limit is not None and limit < 0):
        raise FeedError(f"batch_size {batch_size} and limit {limit} must be positive")
    schema = schema_of(model, slot_size_array)
    chosen = None if columns is None else columns_of(columns)
    key_bytes = None if int64_keys is None else 8 if int64_keys else 4
    layout = RawFormat(float_dense, None, key_bytes or 4, tuple(hotness), num_samples)
    name, kind, source, warnings = _source(data, schema, format, chosen, key_bytes, layout)
    if kind in ("norm", "raw") and slot_size_array is None:
        schema = without_offsets(schema)
    return Dataset(name, kind, schema, source, batch_size, limit, (*warnings, *source.warnings))


def _source(
    data: Any,
    schema: Schema,
    format: DataFormat | None,
    columns: Columns | None,
    key_bytes: int | None,
    layout: RawFormat,
) -> tuple[str, str, Source, tuple[str, ...]]:
    if isinstance(data, str | os.PathLike):
        files = find_files(data)
        kind = format or format_of(files, schema, layout)
        return os.fspath(data), kind, _file_source(kind, files, schema, columns, key_bytes, layout), files.warnings
    if is_frame(data):
        return f"a {type(data).__name__}", "frame", open_frame(data, schema, columns), ()
    if isinstance(data, Mapping):
        return "a mapping", "arrays", IterableSource([data], schema), ()
    if isinstance(data, Iterable):
        return f"a {type(data).__name__}", "arrays", IterableSource(data, schema), ()
    raise FeedError(f"the data is a {type(data).__name__}; give a path, a table or an iterable of batches")


def _file_source(
    kind: str, files: DataFiles, schema: Schema, columns: Columns | None, key_bytes: int | None, layout: RawFormat
) -> Source:
    if kind not in DATA_FORMATS:
        raise FeedError(f"there is no format {kind!r}; there are {', '.join(DATA_FORMATS)}")
    _require_columns(kind, schema)
    if kind == "norm":
        return norm.open_norm(files.paths, schema, key_bytes)
    if kind == "raw":
        return raw.open_raw(files.paths, schema, layout)
    if kind == "npz":
        return open_npz(files.paths, schema)
    opener = {"parquet": open_parquet, "csv": open_csv, "arrow": open_arrow}[kind]
    source: TableSource = opener(files.paths, schema, columns)
    return source


def _require_columns(kind: str, schema: Schema) -> None:
    if kind != "npz" and schema.vectors:
        raise FeedError(
            f"the model takes {', '.join(schema.vectors)}, which {kind} files do not hold; give an .npz archive with an "
            "array for each input"
        )


def format_of(files: DataFiles, schema: Schema, layout: RawFormat) -> DataFormat:
    """Return the format of data files, from the content of the first. Raises FeedError where it fits none."""
    path = files.paths[0]
    start = head(path)
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    if start[:2] == b"\x1f\x8b":
        raise FeedError(f"{path}: is compressed with gzip; unpack it first")
    with suppress(FeedError):
        header = norm.read_header(start)
        if header and (header.dense_dim, header.slots) == (schema.dense_dim, schema.slots):
            return "norm"
    if csv_delimiter(start):
        return "csv"
    if _fits_raw(path, schema, layout):
        return "raw"
    header = norm.read_header(start)
    if header is not None:
        return "norm"
    raise FeedError(
        f"{path}: its format cannot be told: it begins like none of Parquet, Arrow, npz, Norm and CSV, and its size is not "
        "that of Raw records of this model; give the format (--format)"
    )


_MAGIC: tuple[tuple[bytes, DataFormat], ...] = (
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (STREAM_MAGIC, "arrow"),
    (b"PK\x03\x04", "npz"),
)


def _fits_raw(path: Path, schema: Schema, layout: RawFormat) -> bool:
    with suppress(FeedError):
        return bool(raw.open_raw((path,), schema, layout).rows)
    return False
