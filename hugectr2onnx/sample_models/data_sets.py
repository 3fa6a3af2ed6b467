"""Data sets for sample models in HugeCTR's formats, with labels that a planted model draws (formats 4)."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from hugectr2onnx.datasets import HUGECTR_FORMATS, HugeCTRFormat
from hugectr2onnx.errors import OutputError, UnsupportedError
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.graph_json.clauses import DataClause
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.ir.feeds import PADDING
from hugectr2onnx.ir.types import Array
from hugectr2onnx.sample_models.catalog import SamplePaths
from hugectr2onnx.sample_models.feeds import sample_feeds

FILES = 2
"""Files of train/ and of val/ each."""
VALIDATION = 0.2
_DRAWN_ROWS = 1 << 14
LOGIT_SPREAD = 1.5
"""Standard deviation of the logits that labels are drawn from: a perfect model then reaches an AUC of about 0.83."""


@dataclass(frozen=True)
class DrawnSamples:
    """Some samples in the model's own terms: labels [n, columns], dense [n, d], keys [n, slots, nnz] with padding."""

    labels: Array
    dense: Array
    keys: Array


def write_data_set(
    sample: SamplePaths, folder: str | os.PathLike[str], *, rows: int, format: HugeCTRFormat = "parquet", seed: int = 0
) -> tuple[Path, Path]:
    """Write FOLDER/train and FOLDER/val, four fifths and one fifth of `rows` samples; returns their file lists.

    Keys are those of the model's tables, few of them often. In Parquet they are raw, slot by slot, where the sample has a
    slot_size_array, which FOLDER/slot_size_array.json then holds; in Norm and Raw they have their offsets, for only the
    Parquet reader adds them. Each label is drawn with the probability sigmoid(a * logit + b) of the sample model's own
    logit, scaled to a standard deviation of 1.5. The same arguments give the same bytes.

    Raises UnsupportedError for Raw where slots have several keys, and OutputError for a folder that has train/ or val/.
    """
    if format not in HUGECTR_FORMATS:
        raise UnsupportedError(f"there is no format {format!r} of data sets; there are {', '.join(HUGECTR_FORMATS)}")
    if rows < 2 * FILES:
        raise UnsupportedError(f"a data set of {rows} samples is too small for {FILES} files of train and val each")
    data = reader.read(sample.graph, REGISTRY.keys()).data
    if format == "raw" and any(nnz != 1 for sparse in data.sparse for nnz in sparse.nnz_per_slot):
        raise UnsupportedError(f"{sample.name} has slots of several keys, which Raw files cannot hold; choose parquet")
    place = Path(folder)
    sizes = sample.slot_size_array if format == "parquet" else None
    labelled = _Planted.of(sample, seed)
    lists = []
    for number, (part, count) in enumerate((("train", rows - int(rows * VALIDATION)), ("val", int(rows * VALIDATION)))):
        target = place / part
        if target.exists():
            raise OutputError(f"{target}: exists already; choose a new folder for the data set")
        target.mkdir(parents=True)
        lists.append(_write_part(target, count, seed + 1 + 1000 * number, format, data, sizes, labelled))
    if sizes:
        (place / "slot_size_array.json").write_text(
            json.dumps({"slot_size_array": list(sizes)}) + "\n", encoding="utf-8"
        )
    return lists[0], lists[1]


@dataclass(frozen=True)
class _Planted:
    """The model that draws labels; `scale` and `shift` bring its logits to the wanted spread around 0."""

    sample: SamplePaths
    compiled: Any
    scale: Mapping[str, float]
    shift: Mapping[str, float]

    @staticmethod
    def of(sample: SamplePaths, seed: int) -> _Planted:
        from hugectr2onnx.compiler import compile

        compiled = compile(sample.graph, sample.weights, 1, check=False)
        logits = _logits(compiled.run(sample_feeds(sample, 4096, seed)))
        spread = {name: float(values.std()) or 1.0 for name, values in logits.items()}
        return _Planted(
            sample,
            compiled,
            {name: LOGIT_SPREAD / value for name, value in spread.items()},
            {name: float(values.mean()) for name, values in logits.items()},
        )

    def draw(self, rows: int, seed: int) -> DrawnSamples:
        feeds = sample_feeds(self.sample, rows, seed)
        generator = np.random.default_rng([seed, 7])
        columns = []
        for name, logit in _logits(self.compiled.run(feeds)).items():
            chance = 1 / (1 + np.exp(-(logit - self.shift[name]) * self.scale[name]))
            columns.append((generator.random(chance.shape) < chance).astype(np.float32))
        dense = feeds.get("dense", np.empty((rows, 0), np.float32))
        keys = [array for array in feeds.values() if array.dtype == np.int64]
        widest = max(array.shape[2] for array in keys)
        padded = [np.pad(each, ((0, 0), (0, 0), (0, widest - each.shape[2])), constant_values=PADDING) for each in keys]
        return DrawnSamples(np.concatenate(columns, axis=1), dense, np.concatenate(padded, axis=1))


def _logits(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the logit of each label; two columns of a softmax are one label."""
    found = {}
    for name, array in outputs.items():
        chance = array[:, 1:2] if array.shape[1] == 2 else array
        clipped = np.clip(chance.astype(np.float64), 1e-6, 1 - 1e-6)
        found[name] = np.log(clipped) - np.log1p(-clipped)
    return found


def _write_part(
    folder: Path,
    rows: int,
    seed: int,
    format: HugeCTRFormat,
    data: DataClause,
    sizes: Sequence[int] | None,
    planted: _Planted,
) -> Path:
    names = []
    for number in range(FILES):
        count = rows // FILES + (rows % FILES if number == FILES - 1 else 0)
        chunks = _chunks(planted, count, seed + 100 * number)
        names.append(f"gen_{number}.{'parquet' if format == 'parquet' else 'data'}")
        _WRITERS[format](folder / names[-1], chunks, count, sizes)
    if format == "parquet":
        counts = [rows // FILES] * (FILES - 1) + [rows - (FILES - 1) * (rows // FILES)]
        _write_metadata(folder, names, counts, data)
    listed = folder / "_file_list.txt"
    listed.write_text(f"{FILES}\n" + "".join(f"{name}\n" for name in names), encoding="utf-8")
    return listed


def _chunks(planted: _Planted, rows: int, seed: int) -> Iterator[DrawnSamples]:
    for number, start in enumerate(range(0, rows, _DRAWN_ROWS)):
        yield planted.draw(min(_DRAWN_ROWS, rows - start), seed + number)


def _columns(data: DataClause) -> tuple[list[str], list[str], list[str]]:
    """label0, ...; I1, ...; C1, ...: the column names of HugeCTR's own samples."""
    labels = [f"label{number}" for number in range(sum(label.dim for label in data.labels))]
    slots = sum(sparse.slot_num for sparse in data.sparse)
    return (
        ["label"] if len(labels) == 1 else labels,
        [f"I{number + 1}" for number in range(data.dense_dim)],
        [f"C{number + 1}" for number in range(slots)],
    )


def _write_metadata(folder: Path, names: Sequence[str], counts: Sequence[int], data: DataClause) -> None:
    labels, dense, keys = _columns(data)
    order = [*labels, *dense, *keys]
    groups = {"labels": labels, "conts": dense, "cats": keys}
    listed = {
        group: [{"col_name": name, "index": order.index(name)} for name in columns] for group, columns in groups.items()
    }
    stats = [{"file_name": name, "num_rows": count} for name, count in zip(names, counts, strict=True)]
    text = json.dumps({"file_stats": stats, **listed}, indent=2)
    (folder / "_metadata.json").write_text(text + "\n", encoding="utf-8")


def _write_parquet(path: Path, chunks: Iterator[DrawnSamples], rows: int, sizes: Sequence[int] | None) -> None:
    from hugectr2onnx.datasets.arrow_columns import pyarrow

    pa = pyarrow()
    import pyarrow.parquet as pq

    writer = None
    for chunk in chunks:
        columns: dict[str, Any] = {}
        labels = chunk.labels.shape[1]
        for number in range(labels):
            columns["label" if labels == 1 else f"label{number}"] = pa.array(chunk.labels[:, number])
        for number in range(chunk.dense.shape[1]):
            columns[f"I{number + 1}"] = pa.array(np.ascontiguousarray(chunk.dense[:, number]))
        offsets = [0, *accumulate(sizes or [0] * chunk.keys.shape[1])]
        for slot in range(chunk.keys.shape[1]):
            columns[f"C{slot + 1}"] = _key_column(pa, chunk.keys[:, slot], offsets[slot])
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _key_column(pa: Any, keys: Array, offset: int) -> Any:
    """Return one key a row, or lists without the padding; without the offset of the slot."""
    there = keys != PADDING
    if keys.shape[1] == 1 and there.all():
        return pa.array(keys[:, 0] - offset)
    starts = np.concatenate([[0], np.cumsum(there.sum(1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(starts), pa.array(keys[there] - offset))


def _write_norm(path: Path, chunks: Iterator[DrawnSamples], rows: int, _: Sequence[int] | None) -> None:
    """With check sums, as `hugectr.tools.DataGenerator` writes them (formats 4.3)."""
    with open(path, "wb") as file:
        for chunk in chunks:
            if not file.tell():
                counts = chunk.labels.shape[1], chunk.dense.shape[1], chunk.keys.shape[1]
                file.write(_checked(struct.pack("<8q", 1, rows, *counts, 0, 0, 0)))
            file.write(_norm_records(chunk))


def _norm_records(chunk: DrawnSamples) -> bytes:
    """Return all records of a chunk: made as wide as the widest could be, then without the places of missing keys."""
    rows, slots, width = chunk.keys.shape
    there = chunk.keys != PADDING
    counts = there.sum(2, dtype="<i4").view(np.uint8).reshape(rows, slots, 4)
    keys = np.ascontiguousarray(chunk.keys, "<i8").view(np.uint8).reshape(rows, slots, 8 * width)
    own = np.concatenate([counts, keys], axis=2).reshape(rows, -1)
    used = np.concatenate([np.ones((rows, slots, 4), bool), np.repeat(there, 8, axis=2)], axis=2).reshape(rows, -1)
    values = [np.ascontiguousarray(each, "<f4").view(np.uint8) for each in (chunk.labels, chunk.dense)]
    payload = np.concatenate([*values, np.where(used, own, 0)], axis=1)
    fixed = payload.shape[1] - own.shape[1]
    sums = payload.sum(1, dtype=np.uint64).astype(np.uint8)[:, None]
    lengths = (fixed + used.sum(1)).astype("<i4")[:, None].view(np.uint8)
    whole = np.concatenate([lengths, payload, sums], axis=1)
    kept = np.ones(whole.shape, bool)
    kept[:, 4 + fixed : -1] = used
    return whole[kept].tobytes()


def _checked(payload: bytes) -> bytes:
    return struct.pack("<i", len(payload)) + payload + bytes([sum(payload) & 0xFF])


def _write_raw(path: Path, chunks: Iterator[DrawnSamples], rows: int, _: Sequence[int] | None) -> None:
    """float32 labels and dense values, 64-bit keys (formats 4.4)."""
    with open(path, "wb") as file:
        for chunk in chunks:
            kinds = [("label", "<f4", chunk.labels.shape[1:]), ("dense", "<f4", chunk.dense.shape[1:])]
            records = np.empty(len(chunk.labels), [*kinds, ("keys", "<i8", chunk.keys.shape[1:2])])
            records["label"], records["dense"], records["keys"] = chunk.labels, chunk.dense, chunk.keys[:, :, 0]
            file.write(records.tobytes())


_WRITERS: Mapping[str, Callable[[Path, Iterator[DrawnSamples], int, Sequence[int] | None], None]] = {
    "parquet": _write_parquet,
    "norm": _write_norm,
    "raw": _write_raw,
}
