"""Sizes of tables, by the sizes of their files alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hugectr2onnx.checking.table_sizes import table_sizes
from hugectr2onnx.frontend.weights.snapshot import Weights
from hugectr2onnx.options import Options

TABLES = ("first", "second")
ROWS, WIDTH = 1000, 16
BYTES = ROWS * WIDTH * 4


def embedding(name: str) -> dict[str, Any]:
    return {
        "type": "DistributedSlotSparseEmbeddingHash",
        "bottom": f"{name}_keys",
        "top": name,
        "sparse_embedding_hparam": {"embedding_vec_size": WIDTH, "combiner": "sum"},
    }


def sparse(name: str) -> dict[str, Any]:
    return {"top": f"{name}_keys", "slot_num": 1, "nnz_per_slot": [1], "is_fixed_length": True}


GRAPH: dict[str, Any] = {
    "layers": [
        {
            "type": "Data",
            "label": {"top": "label", "label_dim": 1},
            "dense": {"top": "dense", "dense_dim": 0},
            "sparse": [sparse(name) for name in TABLES],
        },
        *(embedding(name) for name in TABLES),
    ]
}


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    """Two tables of 1,000 rows, whose files hold nothing that could be read."""
    folders = [tmp_path / f"m{i}_sparse_0.model" for i in range(len(TABLES))]
    for folder in folders:
        folder.mkdir()
        (folder / "emb_vector").touch()
        os.truncate(folder / "emb_vector", BYTES)
    return Weights(tmp_path / "m_dense_0.model", folders)


def sizes(weights: Weights, **options: Any) -> dict[str, tuple[int, str, int]]:
    found = table_sizes(GRAPH, weights, Options(**options))
    return {top: (size, row_format.name, width) for top, size, row_format, width in found}


def test_each_table_has_its_bytes_format_and_width(weights: Weights) -> None:
    assert sizes(weights) == {"first": (BYTES, "fp32", WIDTH), "second": (BYTES, "fp32", WIDTH)}


def test_the_format_is_the_one_asked_for(weights: Weights) -> None:
    assert sizes(weights, embedding={"second": "int8"})["second"] == (BYTES, "int8", WIDTH)


def test_a_table_whose_vectors_are_fed_is_left_out(weights: Weights) -> None:
    assert list(sizes(weights, input_shapes={"first": ("N", 1, WIDTH)})) == ["second"]
    assert sizes(weights, convert_embedding=False) == {}


def test_a_table_that_is_missing_is_left_to_who_opens_it(weights: Weights) -> None:
    (weights.tables[0] / "emb_vector").unlink()
    assert list(sizes(weights)) == ["second"]
