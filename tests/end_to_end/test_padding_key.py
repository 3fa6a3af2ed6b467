"""Tables whose keys are 64-bit hashes, half of them negative: one key alone is padding, every other number is a key."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.backend.onnx.onnx_file import as_artifact, read_model
from hugectr2onnx.errors import OptionError
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.options import Options
from hugectr2onnx.verification.verify_file import verify
from hugectr2onnx.verification.whole_tables import compare_tables

WIDTH, ROWS = 6, 40
MIN, MAX = -(2**63), 2**63 - 1


def write(folder: Path, keys: np.ndarray, nnz: int = 2, combiner: str = "mean", slots: int = 3) -> tuple[Path, Path]:
    """A model whose only layer flattens the look-up."""
    hparam = {"embedding_vec_size": WIDTH, "combiner": combiner}
    sparse = {"top": "k", "slot_num": slots, "nnz_per_slot": [nnz] * slots, "is_fixed_length": False}
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
    layers = [
        {"type": "Data", "label": label, "dense": dense, "sparse": [sparse]},
        {"type": "DistributedSlotSparseEmbeddingHash", "bottom": "k", "top": "e", "sparse_embedding_hparam": hparam},
        {"type": "Reshape", "bottom": "e", "top": "r", "leading_dim": slots * WIDTH},
    ]
    (folder / "m.json").write_text(json.dumps({"layers": layers}))
    table = folder / "m0_sparse_1.model"
    table.mkdir()
    keys.astype("<i8").tofile(table / "key")
    rows(len(keys)).tofile(table / "emb_vector")
    (folder / "m_dense_1.model").write_bytes(b"")
    return folder / "m.json", folder


def rows(count: int) -> np.ndarray:
    """Numbers that every row format holds: a step of int8 is 1."""
    table = np.random.default_rng(0).integers(-126, 127, (count, WIDTH)).astype("<f4")
    table[:, 0] = 127
    return table


def pooled(
    keys: np.ndarray, asked: np.ndarray, padding: int, combiner: str, offsets: tuple[int, ...] = ()
) -> np.ndarray:
    """By hand: rows by key with its slot's offset; `padding` adds nothing and is not counted."""
    known = {int(key): row for key, row in zip(keys, rows(len(keys)).astype(np.float64), strict=True)}
    result = np.zeros((*asked.shape[:2], WIDTH))
    for sample, slot in np.ndindex(*asked.shape[:2]):
        own = [int(key) for key in asked[sample, slot] if key != padding]
        moved = [min(key + (offsets[slot] if offsets else 0), MAX) for key in own]
        total = sum((known.get(key, np.zeros(WIDTH)) for key in moved), np.zeros(WIDTH))
        result[sample, slot] = total / max(len(own), 1) if combiner == "mean" else total
    return result.reshape(len(asked), -1)


HASHED = np.random.default_rng(1).integers(MIN, MAX, ROWS)
KINDS = {
    "hashed": np.r_[HASHED, MIN, MAX, 0],
    "dense around 0": np.random.default_rng(2).permutation(np.arange(-20, 20)),
    "with -1": np.r_[HASHED[:5], -1, -2],
}


def asked_of(keys: np.ndarray, padding: int) -> np.ndarray:
    random = np.random.default_rng(3)
    asked = random.choice(keys, (30, 3, 2))
    asked[random.random(asked.shape) < 0.2] = padding
    asked[random.random(asked.shape) < 0.1] = random.integers(MIN, MAX)
    asked[0] = [[-1, -1], [MIN, MAX], [padding, -1]]
    return asked


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", ["auto", "direct", "label-encoder", "perfect-hash", "indices"])
@pytest.mark.parametrize(("level", "format"), [(0, "fp32"), (2, "int8"), (3, "fp16")])
def test_every_number_but_the_padding_key_is_a_key(
    level: int, format: str, strategy: str, kind: str, tmp_path: Path
) -> None:
    if (strategy, kind) != ("direct", "dense around 0") and strategy == "direct":
        return
    keys, padding, combiner = KINDS[kind], -7777, ("sum", "mean")[level % 2]
    model = write(tmp_path, keys, combiner=combiner)
    compiled = hugectr2onnx.compile(*model, level, padding_key=padding, keys=strategy, embedding=format, simplify=False)
    asked = asked_of(keys, padding)
    feed = asked
    if strategy == "indices":
        compiled.save(tmp_path / "m.onnx")
        feed = hugectr2onnx.KeyMapper.open(tmp_path / "m.onnx", "k").rows(asked)
    (found,) = compiled.run({"k": feed}).values()
    np.testing.assert_allclose(found, pooled(keys, asked, padding, combiner), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("strategy", ["auto", "label-encoder", "perfect-hash", "indices"])
@pytest.mark.parametrize("level", [0, 2])
def test_offsets_of_slots_do_not_make_padding_of_a_key(level: int, strategy: str, tmp_path: Path) -> None:
    """With offsets 0, 10, 30 the raw key -11 of the second slot means the key -1, which pads nothing there."""
    keys = np.arange(-30, 60)
    model = write(tmp_path, keys)
    compiled = hugectr2onnx.compile(
        *model, level, padding_key=-1, slot_size_array=[10, 20, 5], keys=strategy, simplify=False
    )
    asked = np.random.default_rng(4).integers(-40, 40, (50, 3, 2))
    asked[:5] = [[[-1, 0], [-11, -1], [-31, 3]]]
    feed = asked
    if strategy == "indices":
        compiled.save(tmp_path / "m.onnx")
        feed = hugectr2onnx.KeyMapper.open(tmp_path / "m.onnx", "k").rows(asked)
    (found,) = compiled.run({"k": feed}).values()
    np.testing.assert_allclose(found, pooled(keys, asked, -1, "mean", (0, 10, 30)), rtol=1e-6, atol=1e-4)


def test_negative_keys_without_a_padding_key_are_refused(tmp_path: Path) -> None:
    model = write(tmp_path, np.r_[np.arange(5), -3, -1])
    with pytest.raises(OptionError, match=r"2 of its 7 keys are negative.* padding_key=9223372036854775807"):
        hugectr2onnx.compile(*model)


def test_a_padding_key_that_the_table_holds_is_told(tmp_path: Path) -> None:
    compiled = hugectr2onnx.compile(*write(tmp_path, np.r_[np.arange(5), -1]), padding_key=-1, simplify=False)
    assert any("the padding key -1 is a key of the table" in warning for warning in compiled.report.warnings)
    asked = np.array([[[-1, 3], [-1, -1], [2, 2]]])
    (found,) = compiled.run({"k": asked}).values()
    np.testing.assert_allclose(found, pooled(np.r_[np.arange(5), -1], asked, -1, "mean"), rtol=1e-6)


@pytest.mark.parametrize("strategy", ["auto", "label-encoder", "perfect-hash"])
@pytest.mark.parametrize("level", [0, 2])
def test_missing_keys_give_the_default_vector_and_padding_does_not(level: int, strategy: str, tmp_path: Path) -> None:
    keys = np.arange(-5, 5)
    model = write(tmp_path, keys, combiner="sum", nnz=1)
    options = {"padding_key": 99, "keys": strategy, "default_embedding": 0.5, "simplify": False}
    compiled = hugectr2onnx.compile(*model, level, **options)  # type: ignore[arg-type]
    asked = np.array([[[-5], [99], [-6]], [[4], [5], [MIN]], [[-1], [0], [MAX]]])
    (found,) = compiled.run({"k": asked}).values()
    expected = pooled(keys, asked, 99, "sum").reshape(3, 3, WIDTH)
    for sample, slot in ((0, 2), (1, 1), (1, 2), (2, 2)):
        expected[sample, slot] = 0.5
    np.testing.assert_allclose(found, expected.reshape(3, -1), rtol=1e-6)


def test_the_file_records_it_and_verify_follows(tmp_path: Path) -> None:
    model = write(tmp_path, HASHED)
    compiled = hugectr2onnx.compile(*model, padding_key=-1)
    compiled.save(tmp_path / "m.onnx")
    metadata = {entry.key: entry.value for entry in compiled.artifact.skeleton.metadata_props}
    assert json.loads(metadata["hugectr2onnx.options"])["padding_key"] == -1
    assert verify(tmp_path / "m.onnx", *model).parity.outputs[0].max_error < 1e-4


@pytest.mark.parametrize("strategy", ["label-encoder", "perfect-hash"])
def test_whole_tables_are_compared_with_their_negative_keys(strategy: str, tmp_path: Path) -> None:
    model = write(tmp_path, HASHED)
    hugectr2onnx.compile(*model, padding_key=-1, keys=strategy, simplify=False).save(tmp_path / "m.onnx")
    graph = load(*model, Options(keys=strategy, padding_key=-1)).graph
    (table,) = compare_tables(graph, as_artifact(read_model(tmp_path / "m.onnx"), tmp_path / "m.onnx"))
    assert (table.keys, table.differing, table.unexpected) == (ROWS, 0, 0)
