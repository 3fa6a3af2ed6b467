"""EmbeddingCollection: the dump's bytes, the description of the look-ups, what they compute (formats 2.5, 3.6)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hugectr2onnx
from hugectr2onnx.errors import GraphJsonError, OptionError, UnsupportedError, WeightsError
from hugectr2onnx.frontend.embeddings.embedding_collection import open_collection
from hugectr2onnx.frontend.weights.embedding_dump import open_dump
from hugectr2onnx.frontend.weights.key_filter import read_all

GOLDEN = Path(__file__).parents[2] / "golden"
META_OF_TWO = bytes.fromhex(
    "02000000 01000000 00000000 00000000 0000000000000000 01000000 0300000000000000 0200000000000000 04000000 08000000"
)


def write_dump(folder: Path, tables: Sequence[np.ndarray], keys: Sequence[np.ndarray] | None = None) -> Path:
    inner = folder / "embedding_collection_0"
    inner.mkdir(parents=True)
    count = len(tables)
    keys = keys or [np.arange(len(table)) for table in tables]
    meta = np.array([count, 1, 0, 0, 0, *range(count)], "<i4").tobytes()
    meta += np.array([len(table) for table in tables], "<u8").tobytes()
    meta += np.array([table.shape[1] for table in tables], "<i4").tobytes()
    (inner / "meta_data").write_bytes(meta)
    for j, (table, own) in enumerate(zip(tables, keys, strict=True)):
        for kind, name, data in ((1, "key", own.astype("<i8")), (2, "weight", table.astype("<f4"))):
            head = np.zeros(32, "<i4")
            head[:2] = kind, j
            (inner / f"{name}{j}").write_bytes(head.tobytes() + data.tobytes())
    return folder


def graph(bottoms: Sequence[tuple[str, int]]) -> dict[str, Any]:
    sparse = [{"top": top, "slot_num": 1, "nnz_per_slot": [nnz], "is_fixed_length": False} for top, nnz in bottoms]
    label, dense = {"top": "label", "label_dim": 1}, {"top": "dense", "dense_dim": 0}
    return {"layers": [{"type": "Data", "label": label, "dense": dense, "sparse": sparse}]}


def test_the_byte_vector_of_the_specification(tmp_path: Path) -> None:
    write_dump(tmp_path, [np.ones((3, 4)), np.ones((2, 8))])
    assert (tmp_path / "embedding_collection_0" / "meta_data").read_bytes() == META_OF_TWO
    tables = open_dump(tmp_path)
    assert [tables[id].vectors.shape for id in (0, 1)] == [(3, 4), (2, 8)]


@pytest.mark.parametrize("layout", ["batch_major", "feature_major"])
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_golden_lookups(layout: str, level: int, tmp_path: Path) -> None:
    with np.load(GOLDEN / f"EmbeddingCollection_{layout}.npz") as file:
        vector = dict(file)
    lookups = json.loads(str(vector["attrs"]))["lookups"]
    batch = (len(vector["in1"]) - 1) // len(lookups)
    feeds = {f"data{i}": np.full((batch, 1, each["max_hotness"]), -1) for i, each in enumerate(lookups)}
    for bucket in range(len(lookups) * batch):
        keys = vector["in0"][vector["in1"][bucket] : vector["in1"][bucket + 1]]
        feeds[f"data{bucket // batch}"][bucket % batch, 0, : len(keys)] = keys
    tables, bottoms = list(range(len(lookups))), list(feeds)
    combiners = [each["combiner"] for each in lookups]
    if layout == "batch_major":
        calls: list[dict[str, Any]] = [{"table": tables, "bottom": bottoms, "combiner": combiners, "top": "all"}]
    else:
        parts = zip(tables, bottoms, combiners, strict=True)
        calls = [{"table": t, "bottom": b, "combiner": c, "top": f"emb{t}"} for t, b, c in parts]
    dump = write_dump(tmp_path, [vector[f"w_table{t}"] for t in tables])
    data = graph([(b, each["max_hotness"]) for b, each in zip(bottoms, lookups, strict=True)])
    description = {"path": str(dump), "lookups": calls}
    compiled = hugectr2onnx.compile(data, {}, level, embedding_collection=description)
    found = np.concatenate([array.ravel() for array in compiled.run(feeds).values()])
    np.testing.assert_allclose(found, vector["out0"], rtol=1e-5, atol=1e-6)


def test_a_description_in_a_file_finds_its_dump_beside_it(tmp_path: Path) -> None:
    write_dump(tmp_path / "dump", [np.array([[1.0, 2.0], [3.0, 4.0]])], [np.array([7, 2**62])])
    call = {"table": "user", "bottom": "keys", "top": "vec", "combiner": "sum"}
    (tmp_path / "collection.json").write_text(json.dumps({"path": "dump", "lookups": [call]}))
    compiled = hugectr2onnx.compile(graph([("keys", 2)]), {}, embedding_collection=tmp_path / "collection.json")
    keys = np.array([[[7, 2**62]], [[7, -1]], [[5, -1]]])
    np.testing.assert_array_equal(compiled.run({"keys": keys})["vec"], [[[4, 6]], [[1, 2]], [[0, 0]]])


def test_the_report_lists_the_files_of_the_dump(tmp_path: Path) -> None:
    dump = write_dump(tmp_path, [np.ones((3, 2))])
    call = {"table": 0, "bottom": "keys", "top": "vec", "combiner": "sum"}
    description = {"path": str(dump), "lookups": [call]}
    compiled = hugectr2onnx.compile(graph([("keys", 1)]), {}, embedding_collection=description, simplify=False)
    sizes = {"embedding_collection_0/key0": 128 + 3 * 8, "embedding_collection_0/weight0": 128 + 3 * 2 * 4}
    assert compiled.report.sources == sizes


def test_vectors_as_inputs_have_the_shapes_of_the_lookups(tmp_path: Path) -> None:
    dump = write_dump(tmp_path, [np.ones((2, 3)), np.ones((2, 5))])
    calls = [
        {"table": 0, "bottom": "a", "top": "va", "combiner": "concat"},
        {"table": [0, 1], "bottom": ["a", "b"], "top": "vb", "combiner": ["sum", "concat"]},
    ]
    layers = [{"type": "ReLU", "bottom": "va", "top": "ra"}, {"type": "ReLU", "bottom": "vb", "top": "rb"}]
    data = graph([("a", 2), ("b", 4)])
    data["layers"] += layers
    description = {"path": str(dump), "lookups": calls}
    compiled = hugectr2onnx.compile(data, {}, embedding_collection=description, convert_embedding=False)
    assert [str(value.type) for value in compiled.ir.inputs] == ["f32[N, 1, 6]", "f32[N, 23]"]


# Prune by use

TABLES = [np.float32([[1, 2], [3, 4], [5, 6]]), np.float32([[10], [20], [30], [40]])]
KEYS = [np.array([7, 2**62, 9]), np.array([8, 0, 2**63 - 1, 3])]


def two_tables(folder: Path) -> dict[str, Any]:
    """Tables user and 1: one read feature-major, and both batch-major."""
    dump = write_dump(folder / "dump", TABLES, KEYS)
    calls = [
        {"table": "user", "bottom": "u", "top": "vec", "combiner": "sum"},
        {"table": ["user", "item"], "bottom": ["u", "i"], "top": "all", "combiner": ["concat", "average"]},
    ]
    return {"path": str(dump), "lookups": calls}


FEEDS = {
    "u": np.array([[[7, 2**62]], [[9, -1]], [[2**62, 2**62]]]),
    "i": np.array([[[2**63 - 1, 3]], [[0, -5]], [[-1, -1]]]),
}


@pytest.mark.parametrize("keys", ["auto", "label-encoder", "perfect-hash"])
@pytest.mark.parametrize("level", range(4))
def test_dropped_keys_are_keys_that_the_table_lacks(level: int, keys: str, tmp_path: Path) -> None:
    kept = {"user": [9, 7, 1], "item": np.array([2**63 - 1])}
    compiled = hugectr2onnx.compile(
        graph([("u", 2), ("i", 2)]),
        {},
        level,
        embedding_collection=two_tables(tmp_path),
        keep_keys=kept,
        keys=keys,
        simplify=False,
    )
    found = compiled.run(FEEDS)
    np.testing.assert_array_equal(found["vec"], [[[1, 2]], [[5, 6]], [[0, 0]]])
    np.testing.assert_array_equal(found["all"], [[1, 2, 0, 0, 15], [5, 6, 0, 0, 0], [0, 0, 0, 0, 0]])
    stored = {each.table: each for each in compiled.report.stored}
    assert set(stored) == {"vec (user)", "all (item)"}
    user, item = stored["vec (user)"], stored["all (item)"]
    assert (user.rows, user.rows_dropped, user.bytes_before) == (2, 1, 24)
    assert (item.rows, item.rows_dropped, item.bytes_before) == (1, 3, 16)
    assert (user.bytes_saved, item.bytes_saved) == (8 - 8 * user.filler_rows, 12 - 4 * item.filler_rows)


def test_a_table_without_a_name_goes_by_its_number(tmp_path: Path) -> None:
    dump = write_dump(tmp_path, TABLES, KEYS)
    call = {"table": 1, "bottom": "i", "top": "vec", "combiner": "sum"}
    description = {"path": str(dump), "lookups": [call]}
    compiled = hugectr2onnx.compile(
        graph([("i", 2)]), {}, embedding_collection=description, keep_keys={1: []}, embedding="fp16"
    )
    np.testing.assert_array_equal(compiled.run({"i": FEEDS["i"]})["vec"], np.zeros((3, 1, 1)))
    (table,) = compiled.report.stored
    assert (table.table, table.rows, table.rows_dropped, table.bytes_saved) == ("vec (table1)", 0, 4, 16)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("usr", "no embedding's top or table of an EmbeddingCollection .*did you mean user"),
        ("all", r"a look-up of the EmbeddingCollection.*name the table \(user, item\)"),
    ],
)
def test_names_that_are_no_tables(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=f"keep_keys names '{name}', .*{message}"):
        hugectr2onnx.compile(
            graph([("u", 2), ("i", 2)]), {}, embedding_collection=two_tables(tmp_path), keep_keys={name: [1]}
        )


def test_a_name_of_two_tables(tmp_path: Path) -> None:
    """The table of an embedding layer goes by its top."""
    hparam = {"embedding_vec_size": 2, "combiner": "sum"}
    layer = {
        "type": "DistributedSlotSparseEmbeddingHash",
        "bottom": "u",
        "top": "user",
        "sparse_embedding_hparam": hparam,
    }
    both = graph([("u", 2), ("i", 2)])
    both["layers"].append(layer)
    (tmp_path / "t").mkdir()
    np.array([1]).tofile(tmp_path / "t" / "key")
    np.ones(2, "<f4").tofile(tmp_path / "t" / "emb_vector")
    options: dict[str, Any] = {"embedding_collection": two_tables(tmp_path), "keep_keys": {"user": [7]}}
    with pytest.raises(OptionError, match="keep_keys names 'user', which stands for 2 tables"):
        hugectr2onnx.compile(both, {"sparse": [tmp_path / "t"]}, **options)


def test_keys_that_hardly_match_are_warned_of(tmp_path: Path) -> None:
    collection = open_collection(two_tables(tmp_path), read_all({"user": [1, 2], "item": [3]}))
    assert [warning[:60] for warning in collection.warnings] == [
        "table user: keep_keys names 2 keys, of which none stand in t",
    ]


# Row formats


def test_a_format_by_the_name_of_a_table(tmp_path: Path) -> None:
    """Both look-ups of the table have it; that of a look-up's top comes first."""

    def formats(embedding: dict[str, str]) -> dict[str, str]:
        data, description = graph([("u", 2), ("i", 2)]), two_tables(tmp_path / str(len(embedding)))
        compiled = hugectr2onnx.compile(data, {}, embedding_collection=description, embedding=embedding, simplify=False)
        return {each.table: each.format for each in compiled.report.stored}

    assert formats({"user": "fp16"}) == {"vec (user)": "fp16", "all (item)": "fp32"}
    assert formats({"user": "fp16", "all": "int8"}) == {
        "vec (user)": "fp16",
        "all (user)": "int8",
        "all (item)": "int8",
    }
    with pytest.raises(OptionError, match=r"embedding names 'usr', which is no .* \(did you mean user"):
        formats({"usr": "fp16", "a": "fp16", "b": "fp16"})


# Descriptions that are wrong


@pytest.mark.parametrize("tables", [("item",), ("user", 1), ("user", "item", "shop")])
def test_names_stand_for_tables_only_where_all_are_named(tables: tuple[str | int, ...], tmp_path: Path) -> None:
    """The dump has no names: "item" alone would be the first table, and that is the user's."""
    dump = write_dump(tmp_path, TABLES, KEYS)
    calls = [{"table": t, "bottom": "u", "top": f"v{n}", "combiner": "sum"} for n, t in enumerate(tables)]
    with pytest.raises(GraphJsonError, match=r"the dump has 2: .*name all of them, or give ids: 0, 1"):
        open_collection({"path": str(dump), "lookups": calls})


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ("vec", "'vec' is the name of another look-up too"),
        ("u", "'u' is the name of a sparse input too"),
        ("dense", "'dense' is the name of the dense input too"),
        ("label", "'label' is the name of a label too"),
    ],
)
def test_a_top_is_a_new_name(top: str, message: str, tmp_path: Path) -> None:
    description = two_tables(tmp_path)
    description["lookups"][1]["top"] = top
    with pytest.raises(GraphJsonError, match=f"embedding_collection: the top {message}"):
        hugectr2onnx.compile(graph([("u", 2), ("i", 2)]), {}, embedding_collection=description)


# Dumps that are wrong


def break_meta(folder: Path, offset: int, value: int) -> None:
    path = folder / "embedding_collection_0" / "meta_data"
    data = bytearray(path.read_bytes())
    data[offset : offset + 4] = np.int32(value).tobytes()
    path.write_bytes(bytes(data))


def test_half_precision_is_refused(tmp_path: Path) -> None:
    write_dump(tmp_path, [np.ones((2, 3))])
    break_meta(tmp_path, 8, 1)
    with pytest.raises(UnsupportedError, match="half-precision"):
        open_dump(tmp_path)


def test_a_dump_of_some_tables_is_refused(tmp_path: Path) -> None:
    write_dump(tmp_path, [np.ones((2, 3))])
    break_meta(tmp_path, 20, 1)
    with pytest.raises(UnsupportedError, match="without table names"):
        open_dump(tmp_path)


def test_several_collections_are_refused(tmp_path: Path) -> None:
    write_dump(tmp_path, [np.ones((2, 3))])
    (tmp_path / "embedding_collection_1").mkdir()
    with pytest.raises(UnsupportedError, match="2 collections"):
        open_dump(tmp_path)


def test_swapped_files_are_refused(tmp_path: Path) -> None:
    folder = write_dump(tmp_path, [np.ones((2, 3)), np.zeros((2, 3))]) / "embedding_collection_0"
    (folder / "weight0").rename(folder / "other")
    (folder / "weight1").rename(folder / "weight0")
    with pytest.raises(WeightsError, match="kind 2 of table 1, expected kind 2 of 0"):
        open_dump(tmp_path)


def test_a_short_file_says_what_it_should_have(tmp_path: Path) -> None:
    path = write_dump(tmp_path, [np.ones((2, 3))]) / "embedding_collection_0" / "weight0"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(WeightsError, match="148 bytes; by meta_data it should have 128 of head and 24"):
        open_dump(tmp_path)


def test_a_bottom_that_is_no_sparse_input_is_named(tmp_path: Path) -> None:
    dump = write_dump(tmp_path, [np.ones((2, 3))])
    call = {"table": 0, "bottom": "keyz", "top": "vec", "combiner": "sum"}
    with pytest.raises(GraphJsonError, match=r"'keyz' is no sparse input.*did you mean keys"):
        hugectr2onnx.compile(graph([("keys", 1)]), {}, embedding_collection={"path": str(dump), "lookups": [call]})
