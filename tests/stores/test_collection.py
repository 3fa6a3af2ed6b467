"""Look-ups of an EmbeddingCollection: tables that several inputs share, concat, and keys that one table lacks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.options import Options
from hugectr2onnx.stores.export import export_split
from hugectr2onnx.stores.split_scorer import SplitScorer

from .models import same_bits


def write_dump(folder: Path, tables: dict[int, tuple[np.ndarray, np.ndarray]]) -> Path:
    """The files of `embedding_dump` (formats 2.5)."""
    inner = folder / "embedding_collection_0"
    inner.mkdir(parents=True)
    rows, widths = [len(keys) for keys, _ in tables.values()], [vectors.shape[1] for _, vectors in tables.values()]
    meta = np.array([len(tables), 1, 0, 0, 0, *tables], "<i4").tobytes()
    (inner / "meta_data").write_bytes(meta + np.array(rows, "<u8").tobytes() + np.array(widths, "<i4").tobytes())
    for number, (keys, vectors) in tables.items():
        for kind, name, data in ((1, "key", keys.astype("<i8")), (2, "weight", vectors.astype("<f4"))):
            head = np.zeros(32, "<i4")
            head[:2] = kind, number
            (inner / f"{name}{number}").write_bytes(head.tobytes() + data.tobytes())
    return folder


@pytest.mark.parametrize("level", [0, 2])
def test_shared_tables_and_concat(level: int, kind: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    dump = write_dump(tmp_path / "dump", {
        0: (np.arange(0, 40, 2), generator.normal(size=(20, 4))),
        1: (np.arange(30), generator.normal(size=(30, 3))),
    })  # fmt: skip
    sparse = [
        {"top": top, "slot_num": 1, "nnz_per_slot": [nnz], "is_fixed_length": False}
        for top, nnz in (("a", 2), ("b", 3))
    ]
    data = {
        "type": "Data",
        "label": {"top": "label", "label_dim": 1},
        "dense": {"top": "dense", "dense_dim": 0},
        "sparse": sparse,
    }
    graph = {"layers": [data, {"type": "ReLU", "bottom": "x", "top": "y"}, {"type": "ReLU", "bottom": "z", "top": "w"}]}
    described = {
        "path": str(dump),
        "lookups": [
            {"table": [0, 1], "bottom": ["a", "a"], "top": "x", "combiner": ["concat", "average"]},
            {"table": [0, 1], "bottom": ["b", "b"], "top": "z", "combiner": ["average", "sum"]},
        ],
    }
    options = Options(embedding_collection=described, opt_level=level, default_embedding=0.5)
    export_split(graph, {}, tmp_path / "split", store=kind, options=options)
    whole = hugectr2onnx.compile(graph, {}, options=options)
    feeds = {"a": generator.integers(-3, 45, (9, 1, 2)), "b": generator.integers(-3, 45, (9, 1, 5))}
    with SplitScorer(tmp_path / "split") as scorer:
        assert same_bits(scorer(feeds), whole.run(feeds))
        assert [(table.name, table.rows) for table in scorer.client.record.tables] == [("table0", 20), ("table1", 30)]
