"""Tables of every kind under every key map and row format, from files to outputs, against dicts in plain Python.

Where rows are added up their numbers are few bits wide, so that every order of adding gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hugectr2onnx
from hugectr2onnx.errors import UnsupportedError

MOST, LEAST = 2**63 - 1, -(2**63)
STRATEGIES = ("auto", "direct", "label-encoder", "perfect-hash", "indices", "vectors")
Array = np.ndarray

tables = settings(deadline=None, derandomize=True, max_examples=25)


class Case(Protocol):
    """A model of one or two tables: its files, what is fed, and what comes out by the specification."""

    options: dict[str, Any]
    formats: dict[str, str]

    def write(self, folder: Path) -> dict[str, Any]: ...
    def expected(self) -> dict[str, Array]: ...


# What the specification says, in plain Python (formats 3.2)


def stored(rows: Array, format: str) -> Array:
    """The float32 rows that come back: half floats, or steps of 1/127 of the largest number of the row."""
    if format == "fp16":
        return rows.astype(np.float16).astype(np.float32)
    if format == "fp32":
        return rows
    scale = np.abs(rows).max(axis=1, keepdims=True, initial=0) / np.float32(127)
    return np.rint(rows / np.where(scale, scale, 1)).astype(np.int8).astype(np.float32) * scale


def pooled(keys: Sequence[int], row_of: Callable[[int], Array | None], width: int, combiner: str) -> Array:
    """One slot of one sample: padding adds nothing, a missing key adds zeros and counts."""
    asked = [key for key in keys if key >= 0]
    found = [row for key in asked if (row := row_of(key)) is not None]
    total = np.sum(np.array(found, np.float64).reshape(-1, width), axis=0)
    return total / max(len(asked), 1) if combiner in ("mean", "average") else total


# Random keys, tables and feeds


def table_keys(data: st.DataObject, strategy: str, *, unsigned: bool = False) -> list[int]:
    """Dense, offset, sparse and extreme keys; negative ones need a padding key (test_padding_key)."""
    base = data.draw(st.sampled_from([0, 5, 1 << 20] if unsigned else [0, 5, 1 << 40, MOST - 60]))
    near = st.integers(base, base + 60)
    if strategy == "direct":
        return data.draw(st.lists(near, unique=True, max_size=20))
    if unsigned:
        return data.draw(st.lists(st.one_of(near, st.integers(0, 2**32 - 1)), unique=True, max_size=20))
    odd = st.sampled_from([0, 1, MOST, MOST - 1, 1 << 31, 1 << 32, (1 << 32) - 1])
    anywhere = st.one_of(near, odd, st.integers(0, MOST), st.integers(0, 1 << 20).map(lambda key: key << 40))
    return data.draw(st.lists(anywhere, unique=True, max_size=20))


def rows_of(data: st.DataObject, count: int, width: int, *, copied: bool) -> Array:
    """Any float32 where rows are copied, else multiples of 1/8 with 127/4 in each row: a step of its bytes is 1/4."""
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    if copied:
        return random.normal(size=(count, width)).astype(np.float32)
    rows = random.integers(-253, 254, (count, width)) / 8
    rows[:, 0] = random.choice([-127, 127], count) / 4
    return rows.astype(np.float32)


def asked_keys(data: st.DataObject, known: Sequence[int], shape: tuple[int, int, int]) -> Array:
    """Keys of the table, their neighbours, padding, extremes; the same key in several slots and twice in one."""
    near = [key + step for key in known for step in (-1, 0, 0, 0, 1) if LEAST <= key + step <= MOST]
    key = st.sampled_from([*near, -1, -1, 0, MOST, LEAST])
    count = int(np.prod(shape))
    return np.array(data.draw(st.lists(key, min_size=count, max_size=count)), np.int64).reshape(shape)


def write_table(path: Path, keys: Sequence[int], rows: Array, slots: Sequence[int] | None = None) -> Path:
    path.mkdir()
    np.array(keys, "<i8").tofile(path / "key")
    rows.astype("<f4").tofile(path / "emb_vector")
    if slots is not None:
        np.array(slots, "<i8").tofile(path / "slot_id")
    return path


def graph(sparse: Mapping[str, tuple[int, int]], layers: Sequence[dict[str, Any]], tops: Mapping[str, int]) -> Any:
    """Sparse inputs by (slots, hotness), and a Reshape behind each top, so that vectors may come in as inputs too."""
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
    inputs = [{"top": top, "slot_num": slots, "nnz_per_slot": [nnz] * slots} for top, (slots, nnz) in sparse.items()]
    flat = [{"type": "Reshape", "bottom": top, "top": f"{top}+", "leading_dim": size} for top, size in tops.items()]
    return {"layers": [{"type": "Data", "label": label, "dense": dense, "sparse": inputs}, *layers, *flat]}


class OneTable:
    """Distributed, with or without the reader's slot_size_array; OneHot; Localized with a key on several GPUs."""

    def __init__(self, data: st.DataObject, kind: str, strategy: str):
        self.kind = kind
        # A key on two GPUs needs a slot on each.
        self.slots = data.draw(st.integers(2 if kind == "localized" else 1, 3))
        hotness = 1 if kind == "one-hot" else data.draw(st.integers(1, 3))
        self.combiner = data.draw(st.sampled_from(["sum", "mean"]))
        self.width = data.draw(st.sampled_from([1, 3, 8]))
        self.keys = table_keys(data, strategy)
        if kind in ("slot_size_array", "one-hot"):
            # A sum beyond int64 becomes the largest, which marks an empty slot of HugeCTR's tables (formats 2.1).
            self.keys = [key for key in self.keys if key < MOST]
        self.slot_ids: list[int] | None = None
        self.sizes = data.draw(st.lists(st.integers(0, 30), min_size=self.slots, max_size=self.slots))
        if kind == "slot_size_array":
            self.sizes = self.sizes[: data.draw(st.integers(1, self.slots))]
        self.options: dict[str, Any] = {"slot_size_array": self.sizes} if kind == "slot_size_array" else {}
        if kind == "localized":
            self._double(data)
        self.rows = rows_of(data, len(self.keys), self.width, copied=hotness == 1)
        format = data.draw(st.sampled_from(["fp32", "fp16", "int8"]))
        self.formats = {"emb": format}
        shape = data.draw(st.integers(1, 4)), self.slots, hotness
        self.asked = asked_keys(data, [key - self._offset(s) for key in self.keys for s in range(self.slots)], shape)

    def _double(self, data: st.DataObject) -> None:
        """Some keys stand on the second of two GPUs too; a file lists its rows GPU by GPU (formats 2.2)."""
        twice = [key for key in self.keys if data.draw(st.booleans())]
        even = st.sampled_from(range(0, self.slots, 2))
        self.slot_ids = [data.draw(even) for _ in self.keys] + [1 for _ in twice]
        self.keys = [*self.keys, *twice]
        self.options["n_gpus"] = 2

    def _offset(self, slot: int) -> int:
        adds = self.kind in ("slot_size_array", "one-hot") and slot < len(self.sizes)
        return sum(self.sizes[:slot]) if adds else 0

    def write(self, folder: Path) -> dict[str, Any]:
        (folder / "m_dense_0.model").write_bytes(b"")
        types = {"localized": "LocalizedSlotSparseEmbeddingHash", "one-hot": "LocalizedSlotSparseEmbeddingOneHot"}
        hparam: dict[str, Any] = {"embedding_vec_size": self.width, "combiner": self.combiner}
        if self.kind == "one-hot":
            hparam["slot_size_array"] = self.sizes
        layer = {"type": types.get(self.kind, "DistributedSlotSparseEmbeddingHash"), "bottom": "keys", "top": "emb"}
        sparse = {"keys": self.asked.shape[1:]}
        table = write_table(folder / "m0_sparse_0.model", self.keys, self.rows, self.slot_ids)
        return {
            "graph": graph(sparse, [{**layer, "sparse_embedding_hparam": hparam}], {"emb": self.slots * self.width}),
            "weights": {"dense": folder / "m_dense_0.model", "sparse": [table]},
        }

    @property
    def feeds(self) -> dict[str, Array]:
        return {"keys": self.asked}

    def expected(self) -> dict[str, Array]:
        rows = stored(self.rows, self.formats["emb"])
        found = np.zeros((len(self.asked), self.slots, self.width))
        for sample, slot in np.ndindex(len(self.asked), self.slots):
            keys = self.asked[sample, slot].tolist()
            found[sample, slot] = pooled(
                keys, lambda key, slot=slot: self._row(rows, key, slot), self.width, self.combiner
            )
        return {"emb": found.astype(np.float32)}

    def _row(self, rows: Array, key: int, slot: int) -> Array | None:
        """A slot of a Localized table reads the rows of its own GPU alone."""
        for row, known in enumerate(self.keys):
            on_gpu = self.slot_ids is None or self.slot_ids[row] % 2 == slot % 2
            if known == key + self._offset(slot) and on_gpu:
                return np.asarray(rows[row])
        return None


class TwoTables:
    """An EmbeddingCollection: look-ups of each combiner, feature-major and batch-major; uint32 or int64 keys."""

    slots = 1

    def __init__(self, data: st.DataObject, strategy: str):
        self.unsigned = data.draw(st.booleans())
        self.keys = [table_keys(data, strategy, unsigned=self.unsigned) for _ in "ab"]
        self.widths = [data.draw(st.sampled_from([1, 3, 8])) for _ in "ab"]
        pairs = zip(self.keys, self.widths, strict=True)
        self.rows = [rows_of(data, len(keys), width, copied=False) for keys, width in pairs]
        batch = data.draw(st.integers(1, 4))
        self.feeds = {
            name: asked_keys(data, keys, (batch, 1, data.draw(st.integers(1, 3))))
            for name, keys in zip("ab", self.keys, strict=True)
        }
        self.combiners = [data.draw(st.sampled_from(["sum", "average", "concat"])) for _ in range(3)]
        formats = {top: data.draw(st.sampled_from(["fp32", "fp16", "int8"])) for top in ("one", "both")}
        self.formats = formats
        self.options: dict[str, Any] = {}

    def write(self, folder: Path) -> dict[str, Any]:
        inner = folder / "embedding_collection_0"
        inner.mkdir()
        counts = np.array([len(keys) for keys in self.keys], "<u8").tobytes()
        meta = np.array([2, 0 if self.unsigned else 1, 0, 0, 0, 0, 1], "<i4").tobytes() + counts
        (inner / "meta_data").write_bytes(meta + np.array(self.widths, "<i4").tobytes())
        for table, (keys, rows) in enumerate(zip(self.keys, self.rows, strict=True)):
            numbers = np.array(keys, "<u4" if self.unsigned else "<i8")
            for kind, name, contents in ((1, "key", numbers), (2, "weight", rows.astype("<f4"))):
                head = np.array([kind, table, *[0] * 30], "<i4").tobytes()
                (inner / f"{name}{table}").write_bytes(head + contents.tobytes())
        first, *others = self.combiners
        lookups = [
            {"table": 0, "bottom": "a", "top": "one", "combiner": first},
            {"table": [0, 1], "bottom": ["a", "b"], "top": "both", "combiner": others},
        ]
        sizes = {top: array.shape[1] for top, array in self.expected().items()}
        sparse = {name: array.shape[1:] for name, array in self.feeds.items()}
        return {
            "graph": graph(sparse, [], sizes),
            "weights": {},
            "embedding_collection": {"path": str(folder), "lookups": lookups},
        }

    def expected(self) -> dict[str, Array]:
        one = self._part(0, self.combiners[0], self.formats["one"])
        both = [self._part(t, c, self.formats["both"]) for t, c in zip((0, 1), self.combiners[1:], strict=True)]
        return {"one": one, "both": np.concatenate(both, axis=1)}

    def _part(self, table: int, combiner: str, format: str) -> Array:
        """Concat leaves zeros where keys are missing (formats 3.6)."""
        width, asked = self.widths[table], self.feeds["ab"[table]][:, 0]
        rows = dict(zip(self.keys[table], stored(self.rows[table], format), strict=True))
        if combiner == "concat":
            parts = [[pooled([key], rows.get, width, "sum") for key in keys] for keys in asked.tolist()]
            return np.array(parts, np.float32).reshape(len(asked), -1)
        return np.array([pooled(keys, rows.get, width, combiner) for keys in asked.tolist()], np.float32)


# Compile, feed, compare


def answers(case: OneTable | TwoTables, strategy: str, level: int, folder: Path) -> dict[str, Array]:
    given = {**case.write(folder), **case.options, "simplify": False}
    if strategy == "vectors":
        compiled = hugectr2onnx.compile(**given, opt_level=level, convert_embedding=False)
        shapes = {value.node.name: (-1, *value.type.shape[1:]) for value in compiled.ir.inputs}
        return compiled.run({top: array.reshape(shapes[top]) for top, array in case.expected().items()})
    compiled = hugectr2onnx.compile(**given, opt_level=level, keys=strategy, embedding=case.formats)
    if strategy != "indices":
        return compiled.run(case.feeds)
    compiled.save(folder / "m.onnx")
    mappers = [hugectr2onnx.KeyMapper.open(folder / "m.onnx", name) for name in case.feeds]
    return compiled.run({each.input: each.rows(case.feeds[each.input]) for each in mappers})


def check(case: OneTable | TwoTables, strategy: str, level: int) -> None:
    with TemporaryDirectory() as folder:
        found = answers(case, strategy, level, Path(folder))
    for top, array in case.expected().items():
        np.testing.assert_array_equal(found[f"{top}+"], array.reshape(len(array), -1), err_msg=top)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", ["distributed", "slot_size_array", "one-hot", "localized"])
@settings(tables)
@given(data=st.data(), level=st.integers(0, 3))
def test_rows_of_one_table(kind: str, strategy: str, level: int, data: st.DataObject) -> None:
    case = OneTable(data, kind, strategy)
    if kind == "localized" and strategy == "indices":
        with pytest.raises(UnsupportedError, match="the slot decides which row is meant"):
            check(case, strategy, level)
        return
    check(case, strategy, level)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(tables)
@given(data=st.data(), level=st.integers(0, 3))
def test_rows_of_an_embedding_collection(strategy: str, level: int, data: st.DataObject) -> None:
    check(TwoTables(data, strategy), strategy, level)
