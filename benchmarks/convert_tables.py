"""Tables to convert: rows in no order, as training leaves them, written a block at a time, whatever their number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SLOTS = 26
TABLE = "model0_sparse_0.model"
BLOCK = 1 << 16
HASH_BITS = 62
_STEPS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)

Numbers = NDArray[np.uint64]


def write_table(order: Mapping[str, Any]) -> dict[str, Any]:
    """A model that is one table: keys dense or hashed, each once."""
    folder, rows, width = Path(order["folder"]), int(order["rows"]), int(order["width"])
    table = folder / TABLE
    table.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    with open(table / "key", "wb") as keys, open(table / "emb_vector", "wb") as vectors:
        for start in range(0, rows, BLOCK):
            places = np.arange(start, min(start + BLOCK, rows), dtype=np.uint64)
            own = shuffled(places, rows) if order["keys"] == "dense" else scattered(places, HASH_BITS)
            keys.write(own.astype("<i8").tobytes())
            vectors.write(generator.random((len(places), width), np.float32).astype("<f4", copy=False).data)
    (folder / "model_dense_0.model").write_bytes(b"")
    (folder / "graph.json").write_text(json.dumps(_graph(width, int(order["hotness"]))), encoding="utf-8")
    return {"bytes": rows * width * 4}


def scattered(places: Numbers, bits: int) -> Numbers:
    """A number of so many bits for each place, another for each: both steps can be undone."""
    mask, x = np.uint64((1 << bits) - 1), places.copy()
    for step in _STEPS:
        x ^= x >> np.uint64(bits // 2 + 1)
        x *= np.uint64(step)
        x &= mask
    return np.asarray(x ^ (x >> np.uint64(bits // 2 + 1)))


def shuffled(places: Numbers, count: int) -> Numbers:
    """The numbers from 0 to count - 1 in an order that has nothing to do with theirs; one that falls outside goes on."""
    bits = max(count - 1, 1).bit_length()
    x = scattered(places, bits)
    while (outside := x >= np.uint64(count)).any():
        x[outside] = scattered(x[outside], bits)
    return x


def _graph(width: int, hotness: int) -> dict[str, Any]:
    sparse = {"top": "keys", "slot_num": SLOTS, "nnz_per_slot": [hotness] * SLOTS, "is_fixed_length": True}
    data = {"type": "Data", "label": {"top": "label", "label_dim": 1}, "dense": {"top": "dense", "dense_dim": 0}}
    hparam = {"embedding_vec_size": width, "combiner": "sum", "workspace_size_per_gpu_in_mb": 1}
    embedding = {"type": "DistributedSlotSparseEmbeddingHash", "bottom": "keys", "top": "emb"}
    return {"layers": [{**data, "sparse": [sparse]}, {**embedding, "sparse_embedding_hparam": hparam}]}
