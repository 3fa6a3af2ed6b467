"""Data sets of every format feed models that take keys and offsets in the place of padding."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.datasets.dataset import open_dataset
from hugectr2onnx.datasets.request_forms import in_rows
from hugectr2onnx.scoring.predict import predict

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
SIZES = [4, 5, 6, 7, 8]
ROWS, SLOTS, DENSE = 90, {"a": 3, "b": 2}, 2


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One model in each form: a product over the pooled vectors of two tables and two dense values."""
    folder = tmp_path_factory.mktemp("forms")
    sparse = [
        {"top": top, "slot_num": n, "nnz_per_slot": [4] * n, "is_fixed_length": False} for top, n in SLOTS.items()
    ]
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": DENSE}
    layers: list[Any] = [{"type": "Data", "label": label, "dense": dense, "sparse": sparse}]
    random = np.random.default_rng(0)
    for place, (top, slots) in enumerate(SLOTS.items()):
        hparam = {"embedding_vec_size": 4, "combiner": "mean"}
        layers += [
            {
                "type": "DistributedSlotSparseEmbeddingHash",
                "bottom": top,
                "top": f"e{top}",
                "sparse_embedding_hparam": hparam,
            },
            {"type": "Reshape", "bottom": f"e{top}", "top": f"r{top}", "leading_dim": slots * 4},
        ]
        table = folder / f"m{place}_sparse_1.model"
        table.mkdir()
        np.arange(50, dtype="<i8").tofile(table / "key")
        random.normal(size=(50, 4)).astype("<f4").tofile(table / "emb_vector")
    layers += [
        {"type": "Concat", "bottom": ["ra", "rb", "dense"], "top": "all"},
        {"type": "InnerProduct", "bottom": "all", "top": "fc", "fc_param": {"num_output": 1}},
        {"type": "BinaryCrossEntropyLoss", "bottom": ["fc", "label"], "top": "loss"},
    ]
    random.normal(size=sum(SLOTS.values()) * 4 + DENSE + 1).astype("<f4").tofile(folder / "m_dense_1.model")
    (folder / "m.json").write_text(json.dumps({"layers": layers}))
    found = {}
    for form, options in {
        "padded": {},
        "csr": {"interface": "csr"},
        "hugectr": {"interface": "hugectr"},
        "rows": {"interface": "csr", "keys": "indices"},
        "rows with offsets": {"interface": "csr", "keys": "indices", "slot_size_array": SIZES},
    }.items():
        found[form] = folder / f"{form}.onnx"
        hugectr2onnx.compile(folder / "m.json", folder, **options).save(found[form])
    return found


def samples(largest: int) -> tuple[np.ndarray, np.ndarray, list[list[list[int]]]]:
    """Labels, dense values and up to `largest` keys in each slot of each sample; with 1 each slot has one key."""
    random = np.random.default_rng(3)
    least = 1 if largest == 1 else 0
    keys = [
        [random.integers(0, 60, random.integers(least, largest + 1)).tolist() for _ in range(sum(SLOTS.values()))]
        for _ in range(ROWS)
    ]
    return random.integers(0, 2, ROWS).astype("<f4"), random.normal(size=(ROWS, DENSE)).astype("<f4"), keys


def table_of(largest: int) -> Any:
    labels, dense, keys = samples(largest)
    columns = {"label": pa.array(labels), "I1": pa.array(dense[:, 0].copy()), "I2": pa.array(dense[:, 1].copy())}
    for slot in range(sum(SLOTS.values())):
        own = [sample[slot] for sample in keys]
        columns[f"C{slot + 1}"] = (
            pa.array([one for (one,) in own]) if largest == 1 else pa.array(own, pa.list_(pa.int64()))
        )
    return pa.table(columns)


def written(format: str, folder: Path) -> Any:
    if format == "frame":
        return table_of(3)
    if format == "parquet":
        pq.write_table(table_of(3), folder / "a.parquet", row_group_size=17)
        return folder / "a.parquet"
    if format == "csv":
        from pyarrow import csv

        csv.write_csv(table_of(1), folder / "a.csv")
        return folder / "a.csv"
    largest = 1 if format == "raw" else 3
    labels, dense, keys = samples(largest)
    if format in ("npz", "iterable"):
        padded = np.full((ROWS, sum(SLOTS.values()), 3), -1, np.int64)
        for sample, slots in enumerate(keys):
            for slot, own in enumerate(slots):
                padded[sample, slot, : len(own)] = own
        arrays = {"label": labels, "dense": dense, "a": padded[:, :3], "b": padded[:, 3:]}
        if format == "iterable":
            return [{name: array[start : start + 30] for name, array in arrays.items()} for start in range(0, ROWS, 30)]
        np.savez(folder / "a.npz", **arrays)
        return folder / "a.npz"
    with open(folder / "a.data", "wb") as file:
        if format == "norm":
            file.write(struct.pack("<8q", 0, ROWS, 1, DENSE, sum(SLOTS.values()), 0, 0, 0))
        for label, values, slots in zip(labels, dense, keys, strict=True):
            file.write(struct.pack(f"<{1 + DENSE}f", label, *values))
            for own in slots:
                count = struct.pack("<i", len(own)) if format == "norm" else b""
                file.write(count + struct.pack(f"<{len(own)}q", *own))
    return folder / "a.data"


@pytest.mark.parametrize("format", ["parquet", "csv", "frame", "norm", "raw", "npz", "iterable"])
def test_every_format_feeds_every_form(format: str, models: dict[str, Path], tmp_path: Path) -> None:
    data = written(format, tmp_path)
    options = {"format": "raw", "float_dense": True, "int64_keys": True, "hotness": [1] * 5} if format == "raw" else {}
    expected = predict(models["padded"], data, **options).columns
    for form in ("csr", "hugectr", "rows"):
        found = predict(models[form], data, batch_size=32, **options).columns
        np.testing.assert_allclose(found["prediction"], expected["prediction"], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found["label"], samples(1)[0] if format in ("csv", "raw") else expected["label"])


def test_a_batch_is_what_the_model_itself_is_fed_with(models: dict[str, Path], tmp_path: Path) -> None:
    _, dense, keys = samples(3)
    ((inputs, _),) = open_dataset(written("parquet", tmp_path), models["hugectr"])
    first = [key for sample in keys for slot in sample[:3] for key in slot]
    second = [key for sample in keys for slot in sample[3:] for key in slot]
    counts = [[len(slot) for sample in keys for slot in part(sample)] for part in (lambda s: s[:3], lambda s: s[3:])]
    assert inputs["CATCOLUMN"].tolist() == first + second
    assert inputs["ROWINDEX"].tolist() == [at for part in counts for at in np.cumsum([0, *part]).tolist()]
    np.testing.assert_array_equal(inputs["DES"], dense.reshape(-1))
    assert inputs["ROWINDEX"].dtype == np.int32


def test_padding_is_left_out_wherever_it_stands() -> None:
    keys, offsets = in_rows(np.array([[[-1, 4], [7, 8]], [[-1, -1], [-1, 5]]]), -1)
    assert (keys.tolist(), offsets.tolist()) == ([4, 7, 8, 5], [0, 1, 3, 3, 4])


@pytest.mark.parametrize("form", ["padded", "csr", "hugectr"])
def test_unknown_keys_are_found_in_every_form(form: str, models: dict[str, Path]) -> None:
    table = table_of(3)
    unknown = pa.array([[key + 10**6 for key in keys] for keys in table["C5"].to_pylist()], pa.list_(pa.int64()))
    changed = table.set_column(table.schema.names.index("C5"), "C5", unknown)
    doubtful = [each for each in predict(models[form], changed).warnings if "not in the model's table" in each]
    assert len(doubtful) == 1 and "100% of the first" in doubtful[0] and "slot 1 of b" in doubtful[0]


def test_rows_are_found_behind_the_offset_of_each_slot(models: dict[str, Path]) -> None:
    expected = predict(models["padded"], table_of(3), slot_size_array=SIZES).columns["prediction"]
    found = predict(models["rows with offsets"], table_of(3)).columns["prediction"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_offsets_of_other_keys_are_refused_by_a_key_map(models: dict[str, Path]) -> None:
    mapper = hugectr2onnx.KeyMapper.open(models["rows with offsets"], "b")
    with pytest.raises(
        hugectr2onnx.FeedError, match=r"the map wants \[K\] keys and offsets \[N \* 2 \+ 1\] from 0 to K"
    ):
        mapper.rows([1, 2, 3], [0, 1, 2])
