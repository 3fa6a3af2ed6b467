"""What is forecast before the work, against what the work then writes."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.checking.dry_run import check
from hugectr2onnx.checking.forecast import TableForecast, encoder_size_error, forecast, minimum_bytes
from hugectr2onnx.options import Options
from hugectr2onnx.tables.row_format import FORMATS

WIDTH = 16


def write(folder: Path, keys: np.ndarray) -> tuple[Path, Path]:
    hparam = {"embedding_vec_size": WIDTH, "combiner": "sum"}
    sparse = [{"top": "keys", "slot_num": 1, "nnz_per_slot": [1], "is_fixed_length": True}]
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
    layers = [
        {"type": "Data", "label": label, "dense": dense, "sparse": sparse},
        {
            "type": "DistributedSlotSparseEmbeddingHash",
            "bottom": "keys",
            "top": "emb",
            "sparse_embedding_hparam": hparam,
        },
        {"type": "Reshape", "bottom": "emb", "top": "flat", "leading_dim": WIDTH},
    ]
    (folder / "m.json").write_text(json.dumps({"layers": layers}))
    (folder / "m_dense_0.model").write_bytes(b"")
    (folder / "m0_sparse_0.model").mkdir()
    keys.astype("<i8").tofile(folder / "m0_sparse_0.model" / "key")
    np.ones((len(keys), WIDTH), "<f4").tofile(folder / "m0_sparse_0.model" / "emb_vector")
    return folder / "m.json", folder


@pytest.mark.parametrize("format", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize(
    ("keys", "strategy", "tolerance"),
    [
        (np.arange(20_000), "direct", 4096),
        (np.arange(20_000) * 3, "direct", 4096),
        (np.arange(20_000) << 40, "label-encoder", 100_000),
        (np.arange(20_000) << 40, "perfect-hash", 4096),
    ],
)
def test_bytes_are_those_that_are_written(
    keys: np.ndarray, strategy: str, tolerance: int, format: str, tmp_path: Path
) -> None:
    model = write(tmp_path, keys)
    report = check(*model, Options(embedding=format, keys=strategy))
    assert report.forecast is not None
    (table,) = report.forecast.tables
    assert (table.strategy, table.format, table.rows) == (strategy, format, 20_000)
    hugectr2onnx.compile(*model, keys=strategy, embedding=format, simplify=False).save(tmp_path / "m.onnx")
    written = sum(path.stat().st_size for path in tmp_path.glob("m.onnx*"))
    assert abs(written - report.forecast.output_bytes) <= tolerance


def test_memory_grows_with_keys_only() -> None:
    """300 MB, and 16 or 48 bytes a key."""
    for strategy, each in (("direct", 16), ("perfect-hash", 48)):
        expected = forecast(0, [TableForecast("emb", strategy, "fp32", 10**6, 128, 0)])
        assert expected.memory_bytes == (300 << 20) + each * 10**6
    assert expected.free_bytes is None


def test_memory_of_a_range_of_keys() -> None:
    """A row number for each number between, or a row that is written as it is read and remembered by its number."""
    through = forecast(0, [TableForecast("emb", "direct", "fp32", 2, 16, map_bytes=4 << 24)])
    assert through.memory_bytes == (300 << 20) + 32 + (4 << 24)
    ordered = forecast(0, [TableForecast("emb", "direct", "fp32", 4000, 128, map_bytes=512_000, filler_rows=1000)])
    assert ordered.memory_bytes == (300 << 20) + 16 * 4000 + 4 * 1000


@pytest.mark.parametrize("keys", [np.array([5, 2**60]), np.arange(20_000), np.array([1, 3])])
def test_row_numbers_as_inputs(keys: np.ndarray, tmp_path: Path) -> None:
    """The map lies beside the model: a head of 4096 bytes, 16 bytes for each key that can be asked for, a checksum of 8."""
    model = write(tmp_path, keys)
    report = check(*model, keys="indices")
    assert report.ok and report.forecast is not None
    assert report.forecast.map_bytes == 4096 + 16 * len(keys) + 8
    hugectr2onnx.compile(*model, keys="indices", simplify=False).save(tmp_path / "m.onnx")
    written = sum(path.stat().st_size for path in tmp_path.glob("m.onnx*"))
    assert abs(written - report.forecast.output_bytes) <= 4096


def test_below_level_2_keys_go_to_a_label_encoder(tmp_path: Path) -> None:
    model = write(tmp_path, np.arange(100))
    for level, strategy in ((0, "label-encoder"), (1, "label-encoder"), (2, "direct"), (3, "direct")):
        report = check(*model, opt_level=level)
        assert report.forecast is not None
        assert [table.strategy for table in report.forecast.tables] == [strategy]


def test_a_label_encoder_of_more_than_2_gib() -> None:
    """16 bytes a key."""
    small = TableForecast("a", "label-encoder", "fp32", 10**8, 1, 16 * 10**8)
    assert encoder_size_error([small, TableForecast("b", "perfect-hash", "fp32", 10**9, 1, 16 * 10**9)]) is None
    error = encoder_size_error([small, small])
    assert error is not None
    assert "take 3,200,000,000 bytes as a LabelEncoder" in str(error)
    assert "give keys='perfect-hash'" in str(error)


def test_minimum_bytes_of_a_table() -> None:
    """10 rows of 4 float32: 160 bytes, 80 as half floats, 80 as bytes with scales."""
    assert [minimum_bytes(5, [(160, format, 4)]) for format in FORMATS] == [165, 85, 85]


def test_a_disk_without_room_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = write(tmp_path, np.arange(100))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 90, 6000))
    report = check(*model, output=tmp_path / "m.onnx")
    assert report.exit_code == 3
    assert "the model needs 6,400 bytes and the disk has 6,000 left" in report.problems[0].message
    assert check(*model, Options(embedding="fp16"), output=tmp_path / "m.onnx").ok


def test_nothing_is_forecast_for_a_model_that_is_wrong(tmp_path: Path) -> None:
    model = write(tmp_path, np.arange(100))
    (tmp_path / "m_dense_0.model").write_bytes(b"1234")
    assert check(*model).forecast is None
    assert check(model[0]).forecast is None


def test_a_table_larger_than_memory_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hugectr2onnx.backend.runtime.system_memory.largest_private_map", lambda: 1000)
    graph, weights = write(tmp_path, np.arange(100))
    warned = "6,400 bytes, and this machine has 1,000"
    assert warned in "".join(hugectr2onnx.compile(graph, weights, check=False).report.warnings)
    report = check(graph, weights)
    assert not report.problems
    assert any("and this machine has 1,000" in warning for warning in report.warnings)
