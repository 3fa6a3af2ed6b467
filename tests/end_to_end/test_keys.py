"""`keys=` through the public API: every strategy at every level, saved, opened again, with checksums and key maps."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.backend.runtime import sessions
from hugectr2onnx.errors import OptionError, UnsupportedError

LEVELS = (0, 1, 2, 3)
STRATEGIES = ("auto", "direct", "label-encoder", "perfect-hash")
KEYS = np.random.default_rng(0).permutation(3000)
VECTORS = np.random.default_rng(1).normal(size=(3000, 4)).astype("<f4")


def graph(*embeddings: dict[str, Any], slots: int = 3, nnz: int = 1) -> dict[str, Any]:
    sparse = {"top": "data1", "slot_num": slots, "nnz_per_slot": [nnz] * slots, "is_fixed_length": True, "type": "x"}
    data = {"type": "Data", "label": {"top": "label", "label_dim": 1}, "dense": {"top": "dense", "dense_dim": 0}}
    return {"layers": [{**data, "sparse": [sparse]}, *embeddings]}


def embedding(top: str = "emb", type: str = "Distributed", combiner: str = "sum") -> dict[str, Any]:
    params = {"embedding_vec_size": 4, "combiner": combiner, "workspace_size_per_gpu_in_mb": 1}
    return {"type": f"{type}SlotSparseEmbeddingHash", "bottom": "data1", "top": top, "sparse_embedding_hparam": params}


def write(folder: Path, name: str = "0_sparse_0.model", keys: np.ndarray = KEYS) -> Path:
    path = folder / name
    path.mkdir()
    keys.astype("<i8").tofile(path / "key")
    VECTORS[: len(keys)].tofile(path / "emb_vector")
    return path


def files(folder: Path, *tables: Path) -> dict[str, Any]:
    (folder / "_dense_0.model").write_bytes(b"")
    return {"dense": folder / "_dense_0.model", "sparse": list(tables)}


ASKED = np.array([[[5], [2999], [-1]], [[3000], [2**63 - 1], [-(2**63)]]])


def expected(keys: np.ndarray) -> np.ndarray:
    rows = {int(key): row for row, key in enumerate(KEYS)}
    found = [[VECTORS[rows[int(k[0])]] if int(k[0]) in rows else np.zeros(4) for k in slots] for slots in keys]
    return np.array(found, np.float32)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("level", LEVELS)
def test_every_strategy_at_every_level(level: int, strategy: str, tmp_path: Path) -> None:
    weights = files(tmp_path, write(tmp_path))
    compiled = hugectr2onnx.compile(graph(embedding()), weights, level, keys=strategy, simplify=level == 2)
    np.testing.assert_array_equal(compiled.run({"data1": ASKED})["emb"], expected(ASKED))
    chosen = [choice["strategy"] for choice in compiled.report.to_dict()["key_maps"]]
    automatic = [] if level < 2 else ["direct"]
    assert chosen == (automatic if strategy == "auto" else [strategy])


def test_indices_take_rows_and_the_key_map_is_saved(tmp_path: Path) -> None:
    weights = files(tmp_path, write(tmp_path))
    compiled = hugectr2onnx.compile(graph(embedding()), weights, keys="indices", slot_size_array=[0, 0, 10])
    compiled.save(tmp_path / "m.onnx", manifest=True)
    mapper = hugectr2onnx.KeyMapper.open(tmp_path / "m.onnx", "data1")
    rows = mapper.rows(ASKED - np.where(ASKED >= 0, [[0], [0], [0]], 0))
    session = sessions.open_session(tmp_path / "m.onnx")
    np.testing.assert_array_equal(session.run(None, {mapper.input: rows})[0], expected(ASKED))
    entry = json.loads((tmp_path / "manifest.json").read_text())["models"]["m.onnx"]
    assert [re.sub("[.][0-9a-f]{16}[.]", ".ID.", each["name"]) for each in entry["files"]] == [
        "m.onnx",
        "m.onnx.ID.data1.keys",
    ]
    for file in entry["files"]:
        assert hashlib.sha256((tmp_path / file["name"]).read_bytes()).hexdigest() == file["sha256"]
    assert entry["sources"]["0_sparse_0.model/emb_vector"] == VECTORS.nbytes
    assert [choice["strategy"] for choice in entry["key_maps"]] == ["indices"]


def test_offsets_of_slots_are_added_by_the_mapper(tmp_path: Path) -> None:
    weights = files(tmp_path, write(tmp_path))
    options = {"slot_size_array": [100, 200, 300]}
    plain = hugectr2onnx.compile(graph(embedding()), weights, 0, **options)
    compiled = hugectr2onnx.compile(graph(embedding()), weights, keys="indices", **options)
    compiled.save(tmp_path / "m.onnx")
    mapper = hugectr2onnx.KeyMapper.open(tmp_path / "m.onnx", "data1")
    np.testing.assert_array_equal(
        compiled.run({"data1": mapper.rows(ASKED)})["emb"], plain.run({"data1": ASKED})["emb"]
    )


def test_one_input_cannot_hold_the_rows_of_two_tables(tmp_path: Path) -> None:
    weights = files(tmp_path, write(tmp_path), write(tmp_path, "1_sparse_0.model", KEYS[::-1]))
    two = graph(embedding("one"), embedding("two"))
    with pytest.raises(UnsupportedError, match="one cannot have keys='indices': its input data1 feeds two too"):
        hugectr2onnx.compile(two, weights, keys="indices")


def test_a_strategy_for_each_table(tmp_path: Path) -> None:
    weights = files(tmp_path, write(tmp_path), write(tmp_path, "1_sparse_0.model"))
    two = graph(embedding("one"), embedding("two"))
    compiled = hugectr2onnx.compile(two, weights, keys={"two": "perfect-hash"})
    assert {c.table: c.strategy for c in compiled.report.key_maps} == {"one": "direct", "two": "perfect-hash"}
    with pytest.raises(OptionError, match=r"'three', which is no embedding's top"):
        hugectr2onnx.compile(two, weights, keys={"three": "direct"})
    with pytest.raises(OptionError, match="keys is 'fast'"):
        hugectr2onnx.compile(two, weights, keys="fast")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("keys", [[], [7]], ids=["empty", "one row"])
def test_small_tables(strategy: str, keys: list[int], tmp_path: Path) -> None:
    weights = files(tmp_path, write(tmp_path, keys=np.array(keys, np.int64)))
    compiled = hugectr2onnx.compile(graph(embedding()), weights, keys=strategy)
    found = compiled.run({"data1": np.array([[[7], [-1], [8]]])})["emb"]
    first = VECTORS[0] if keys else np.zeros(4)
    np.testing.assert_array_equal(found, np.array([[first, np.zeros(4), np.zeros(4)]], np.float32))


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    weights = files(tmp_path, write(tmp_path))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        hugectr2onnx.compile(graph(embedding()), weights, keys="perfect-hash").save(
            tmp_path / name / "m.onnx", manifest=True
        )
    for name in ("m.onnx", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.slow
def test_a_model_above_all_limits_is_proven_saved_and_run(tmp_path: Path) -> None:
    """300 MB: the table never comes into memory, the session maps a copy on disk."""
    count, width = 600_000, 128
    table = tmp_path / "0_sparse_0.model"
    table.mkdir()
    keys = np.random.default_rng(0).permutation(count)
    keys.astype("<i8").tofile(table / "key")
    vectors = np.memmap(table / "emb_vector", "<f4", "w+", shape=(count, width))
    vectors[:, 0] = np.arange(count)
    vectors.flush()
    clause = embedding()
    clause["sparse_embedding_hparam"]["embedding_vec_size"] = width
    compiled = hugectr2onnx.compile(graph(clause), files(tmp_path, table), simplify=False)
    assert compiled.report.parity is not None
    asked = keys[[0, 5, 599_999]].reshape(1, 3, 1)
    assert compiled.run({"data1": asked})["emb"][0, :, 0].tolist() == [0, 5, 599_999]
    compiled.save(tmp_path / "m.onnx", external=True)
    session = sessions.open_session(tmp_path / "m.onnx")
    assert session.run(None, {"data1": asked})[0][0, :, 0].tolist() == [0, 5, 599_999]
    assert (tmp_path / "manifest.json").exists()
