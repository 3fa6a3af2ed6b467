"""Localized tables and EmbeddingCollections with keys of any sign, padded and in compressed sparse rows, by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.errors import UnsupportedError

STRATEGIES = ["auto", "label-encoder", "perfect-hash", "direct"]
INTERFACES = ["padded", "csr", "hugectr"]
SLOTS, WIDTH, GPUS = 3, 4, 2
KEYS = np.arange(-12, 18)
MIN, MAX = -(2**63), 2**63 - 1
Slots = list[list[list[int]]]


def drawn(slots: int, padding_key: int | None, seed: int = 0) -> Slots:
    """Keys of each slot of six samples: known ones, unknown ones, padding among them and slots without keys."""
    random = np.random.default_rng(seed)
    asked = [[random.integers(-14, 20, random.integers(0, 5)).tolist() for _ in range(slots)] for _ in range(6)]
    asked[0][0] += [MIN, MAX, -1 if padding_key is None else padding_key, 3]
    return asked


def is_padding(key: int, padding_key: int | None) -> bool:
    return key < 0 if padding_key is None else key == padding_key


def feed(interface: str, tops: dict[str, Slots], padding_key: int | None) -> dict[str, np.ndarray]:
    """The keys of each top in one of the forms."""
    each = {top: [keys for sample in asked for keys in sample] for top, asked in tops.items()}
    flat = {top: np.array([key for keys in slots for key in keys], np.int64) for top, slots in each.items()}
    offsets = {top: np.cumsum([0, *map(len, slots)]) for top, slots in each.items()}
    if interface == "csr":
        return {**flat, **{f"{top}.offsets": own for top, own in offsets.items()}}
    if interface == "hugectr":
        return {
            "CATCOLUMN": np.concatenate([*flat.values()]),
            "ROWINDEX": np.concatenate([*offsets.values()]).astype("i4"),
        }
    padding = -1 if padding_key is None else padding_key
    padded = {}
    for top, slots in each.items():
        most = max(1, *map(len, slots))
        rows = [[*keys, *[padding] * (most - len(keys))] for keys in slots]
        padded[top] = np.array(rows, np.int64).reshape(len(tops[top]), -1, most)
    return padded


def pool(rows: list[np.ndarray], mean: bool, width: int) -> np.ndarray:
    return sum(rows, np.zeros(width)) / (max(len(rows), 1) if mean else 1)


# Localized: a key may stand in the table once for each GPU


def write_localized(folder: Path, keys: np.ndarray, combiner: str) -> tuple[Path, np.ndarray]:
    """Each key twice: the row of GPU 0 (slots 0 and 2), then that of GPU 1 (slot 1)."""
    hparam = {"embedding_vec_size": WIDTH, "combiner": combiner}
    sparse = {"top": "k", "slot_num": SLOTS, "nnz_per_slot": [3] * SLOTS, "is_fixed_length": False}
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
    layers = [
        {"type": "Data", "label": label, "dense": dense, "sparse": [sparse]},
        {"type": "LocalizedSlotSparseEmbeddingHash", "bottom": "k", "top": "e", "sparse_embedding_hparam": hparam},
    ]
    (folder / "m.json").write_text(json.dumps({"layers": layers}))
    table = folder / "m0_sparse_1.model"
    table.mkdir()
    np.repeat(keys, GPUS).astype("<i8").tofile(table / "key")
    np.tile(np.arange(GPUS), len(keys)).astype("<u8").tofile(table / "slot_id")
    vectors = np.random.default_rng(5).normal(size=(GPUS * len(keys), WIDTH)).astype("<f4")
    vectors.tofile(table / "emb_vector")
    (folder / "m_dense_1.model").write_bytes(b"")
    return folder, vectors


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("level", "combiner", "padding_key"), [(0, "mean", 99), (2, "sum", 99), (3, "mean", None), (2, "sum", -3)]
)
def test_localized_tables(
    level: int, combiner: str, padding_key: int | None, strategy: str, interface: str, tmp_path: Path
) -> None:
    keys = KEYS if padding_key is not None else KEYS[KEYS >= 0]
    folder, vectors = write_localized(tmp_path, keys, combiner)
    compiled = hugectr2onnx.compile(
        folder / "m.json", folder, level, n_gpus=GPUS, keys=strategy, interface=interface, padding_key=padding_key
    )
    asked = drawn(SLOTS, padding_key)
    (found,) = compiled.run(feed(interface, {"k": asked}, padding_key)).values()
    row = {int(key): GPUS * place for place, key in enumerate(keys)}
    for sample, slot in np.ndindex(len(asked), SLOTS):
        own = [key for key in asked[sample][slot] if not is_padding(key, padding_key)]
        rows = [vectors[row[key] + slot % GPUS] if key in row else np.zeros(WIDTH) for key in own]
        np.testing.assert_allclose(found[sample, slot], pool(rows, combiner == "mean", WIDTH), rtol=1e-5, atol=1e-6)


# EmbeddingCollection: look-ups of one slot each, several of one table


def write_collection(folder: Path, keys: np.ndarray) -> tuple[dict[str, Any], list[np.ndarray]]:
    """A dump of two tables with the same keys in another order (formats 2.5)."""
    inner = folder / "embedding_collection_0"
    inner.mkdir()
    tables = [np.random.default_rng(width).normal(size=(len(keys), width)).astype("<f4") for width in (WIDTH, 1)]
    meta = np.array([2, 1, 0, 0, 0, 0, 1], "<i4").tobytes() + np.array([len(keys)] * 2, "<u8").tobytes()
    (inner / "meta_data").write_bytes(meta + np.array([WIDTH, 1], "<i4").tobytes())
    for number, (table, own) in enumerate(zip(tables, (keys, keys[::-1]), strict=True)):
        for kind, name, data in ((1, "key", own.astype("<i8")), (2, "weight", table)):
            head = np.zeros(32, "<i4")
            head[:2] = kind, number
            (inner / f"{name}{number}").write_bytes(head.tobytes() + data.tobytes())
    sparse = [{"top": top, "slot_num": 1, "nnz_per_slot": [3], "is_fixed_length": False} for top in ("u", "i")]
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
    return {"layers": [{"type": "Data", "label": label, "dense": dense, "sparse": sparse}]}, tables


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("level", "padding_key"), [(0, 99), (2, -3), (3, 99), (2, None)])
def test_embedding_collections(
    level: int, padding_key: int | None, strategy: str, interface: str, tmp_path: Path
) -> None:
    keys = KEYS if padding_key is not None else KEYS[KEYS >= 0]
    graph, tables = write_collection(tmp_path, keys)
    calls = [
        {"table": 0, "bottom": "u", "combiner": "sum", "top": "alone"},
        {"table": [0, 1, 1], "bottom": ["i", "u", "i"], "combiner": ["average", "sum", "average"], "top": "all"},
    ]
    compiled = hugectr2onnx.compile(
        graph,
        {},
        level,
        embedding_collection={"path": str(tmp_path), "lookups": calls},
        keys=strategy,
        interface=interface,
        padding_key=padding_key,
    )
    asked = {"u": drawn(1, padding_key, 1), "i": drawn(1, padding_key, 2)}
    found = compiled.run(feed(interface, asked, padding_key))
    known = [dict(zip(own.tolist(), table, strict=True)) for own, table in zip((keys, keys[::-1]), tables, strict=True)]

    def pooled(table: int, bottom: str, mean: bool) -> np.ndarray:
        width = tables[table].shape[1]
        own = [[key for key in sample[0] if not is_padding(key, padding_key)] for sample in asked[bottom]]
        return np.array(
            [pool([known[table].get(key, np.zeros(width)) for key in sample], mean, width) for sample in own]
        )

    np.testing.assert_allclose(found["alone"][:, 0], pooled(0, "u", False), rtol=1e-5, atol=1e-6)
    wanted = np.concatenate([pooled(0, "i", True), pooled(1, "u", False), pooled(1, "i", True)], axis=1)
    np.testing.assert_allclose(found["all"], wanted, rtol=1e-5, atol=1e-6)


def test_a_concat_look_up_needs_padded_keys(tmp_path: Path) -> None:
    graph, _ = write_collection(tmp_path, KEYS[KEYS >= 0])
    call = {"table": 0, "bottom": "u", "combiner": "concat", "top": "alone"}
    described = {"path": str(tmp_path), "lookups": [call]}
    with pytest.raises(
        UnsupportedError, match=r'u is read by a look-up with the combiner "concat".*interface=.padded.'
    ):
        hugectr2onnx.compile(graph, {}, embedding_collection=described, interface="csr")
