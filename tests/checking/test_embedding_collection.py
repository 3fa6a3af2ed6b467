"""The tables of an EmbeddingCollection in a report."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from hugectr2onnx.checking.embedding_collection import collection_tables
from hugectr2onnx.checking.report import TableCheck
from hugectr2onnx.frontend.embeddings.embedding_collection import Collection, CollectionLookup
from hugectr2onnx.frontend.weights.sparse_table import SparseTable


def table(*keys: int, width: int) -> SparseTable:
    return SparseTable(None, np.array(keys, np.int64), np.zeros((len(keys), width), np.float32))


def told(collection: Collection, *sparse: SimpleNamespace) -> list[TableCheck]:
    data: Any = SimpleNamespace(sparse=sparse)
    return list(collection_tables(collection, data, is_needed=True))


def sparse(top: str, max_nnz: int) -> SimpleNamespace:
    return SimpleNamespace(top=top, max_nnz=max_nnz)


USER = CollectionLookup((0,), ("user_keys",), ("sum",), "user", batch_major=False)
BOTH = CollectionLookup((0, 1), ("friends", "items"), ("mean", "concat"), "both", batch_major=True)


def test_a_table_is_told_with_all_look_ups_that_read_it() -> None:
    tables = {0: table(5, 9, width=4), 1: table(width=2)}
    collection = Collection((USER, BOTH), tables, {0: "people", 1: "things"})
    people, things = told(collection, sparse("user_keys", 1), sparse("friends", 3), sparse("items", 2))
    assert (people.top, people.bottom, people.combiner) == ("user, both (people)", "user_keys, friends", "sum, mean")
    assert (things.top, things.bottom, things.combiner) == ("both (things)", "items", "concat")
    assert (people.max_nnz, things.max_nnz) == (3, 2)


def test_rows_keys_and_bytes_are_those_of_the_dump() -> None:
    collection = Collection((USER,), {0: table(5, 1 << 40, -3, width=4)}, {0: "people"})
    (found,) = told(collection, sparse("user_keys", 1))
    assert (found.rows, found.smallest_key, found.largest_key) == (3, -3, 1 << 40)
    # 3 rows of 4 floats.
    assert (found.expected_bytes, found.found_bytes) == (48, 48)


def test_an_empty_table_has_no_keys() -> None:
    collection = Collection((USER,), {0: table(width=4)}, {0: "people"})
    (found,) = told(collection, sparse("user_keys", 1))
    assert (found.rows, found.smallest_key, found.expected_bytes) == (0, None, 0)
