"""Every row and every key of a file against the source, in every strategy and format, and what a fault looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import hugectr2onnx
from hugectr2onnx.backend.onnx.onnx_file import as_artifact, read_model
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.options import Options
from hugectr2onnx.passes.lookups.row_number_inputs import row_number_inputs
from hugectr2onnx.verification.table_comparison import TableComparison
from hugectr2onnx.verification.whole_tables import compare_tables

from .conftest import Table, TablesModel, change_tensor, random_table

STRATEGIES = ("auto", "direct", "label-encoder", "perfect-hash", "indices")
ROWS = "emb.vectors.rows"


def compare(model: TablesModel, path: Path, keys: str = "auto", **options: Any) -> tuple[TableComparison, ...]:
    graph = load(model.graph, model.write(), Options(**options)).graph
    row_number_inputs(graph, keys)
    return compare_tables(graph, as_artifact(read_model(path), path))


@pytest.fixture
def model(tmp_path: Path) -> TablesModel:
    return TablesModel(tmp_path / "source", {"emb": random_table(500, 8, spread=3)})


# Files that are right


@pytest.mark.parametrize("format", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("level", [0, 2, 3])
def test_a_right_file_is_the_same_in_every_row(
    level: int, strategy: str, format: str, model: TablesModel, tmp_path: Path
) -> None:
    path = model.compile(tmp_path / "m.onnx", level, keys=strategy, embedding=format)
    (table,) = compare(model, path, strategy)
    assert (table.keys, table.width, table.format, table.not_compared) == (500, 8, format, "")
    assert (table.differing, table.unexpected) == (0, 0)
    assert table.rows > 500


@pytest.mark.parametrize("nnz", [1, 3, 20])
@pytest.mark.parametrize("combiner", ["sum", "mean"])
def test_slots_of_several_keys(nnz: int, combiner: str, tmp_path: Path) -> None:
    model = TablesModel(tmp_path, {"emb": random_table(300, 4, spread=3)}, nnz=nnz, combiner=combiner)
    (table,) = compare(model, model.compile(tmp_path / "m.onnx"))
    assert (table.keys, table.differing, table.unexpected) == (300, 0, 0)


@pytest.mark.parametrize("level", [0, 3])
def test_slot_offsets(level: int, tmp_path: Path) -> None:
    model = TablesModel(tmp_path, {"emb": random_table(300, 4)})
    path = model.compile(tmp_path / "m.onnx", level, slot_size_array=[50, 200, 50])
    (table,) = compare(model, path, slot_size_array=(50, 200, 50))
    assert (table.keys, table.differing, table.unexpected) == (300, 0, 0)


def localized(tmp_path: Path) -> TablesModel:
    """Two GPUs; key 7 has a row on each, and a slot asks the GPU of its number."""
    keys, slots = np.array([7, 20, 30, 7, 40]), np.array([0, 2, 0, 1, 1])
    vectors = np.arange(10, dtype=np.float32).reshape(5, 2) + 1
    return TablesModel(tmp_path, {"emb": Table(keys, vectors, slots)})


@pytest.mark.parametrize("strategy", ["auto", "direct", "label-encoder", "perfect-hash"])
def test_a_key_with_a_row_on_each_gpu(strategy: str, tmp_path: Path) -> None:
    model = localized(tmp_path)
    (table,) = compare(model, model.compile(tmp_path / "m.onnx", keys=strategy, n_gpus=2), n_gpus=2)
    assert (table.keys, table.differing, table.unexpected) == (5, 0, 0)


def test_two_tables_of_one_input(tmp_path: Path) -> None:
    tables = {"wide": random_table(200, 4, seed=1, spread=3), "deep": random_table(300, 4, seed=2, spread=3)}
    model = TablesModel(tmp_path, tables)
    wide, deep = compare(model, model.compile(tmp_path / "m.onnx"))
    assert (wide.tensor, wide.keys, wide.differing) == ("wide.vectors.rows", 200, 0)
    assert (deep.tensor, deep.keys, deep.differing) == ("deep.vectors.rows", 300, 0)


def test_external_data(model: TablesModel, tmp_path: Path) -> None:
    (table,) = compare(model, model.compile(tmp_path / "m.onnx", external=True))
    assert (table.keys, table.differing, table.unexpected) == (500, 0, 0)


def test_shards(tmp_path: Path) -> None:
    model = TablesModel(tmp_path / "source", {top: random_table(20_000, 16, seed=i) for i, top in enumerate("ab")})
    compiled = hugectr2onnx.compile(model.graph, model.write(), simplify=False, check=False)
    compiled.save(tmp_path / "m.onnx", shard_size=1 << 20)
    assert len(list(tmp_path.glob("m.onnx.*"))) > 1
    assert [(table.keys, table.differing) for table in compare(model, tmp_path / "m.onnx")] == [(20_000, 0)] * 2


def test_a_table_that_is_empty(tmp_path: Path) -> None:
    model = TablesModel(tmp_path, {"emb": Table(np.empty(0, np.int64), np.empty((0, 4), np.float32))})
    (table,) = compare(model, model.compile(tmp_path / "m.onnx"))
    assert (table.keys, table.differing, table.unexpected) == (0, 0, 0)


def by_another_converter(path: Path, table: Table, slots: int) -> Path:
    """Row k is that of key k, names and operators are others, and no metadata tells what is what."""
    rows = np.zeros((table.keys.max() + 2, table.vectors.shape[1]), np.float32)
    rows[table.keys] = table.vectors
    bound = len(rows) - 1
    nodes = [
        helper.make_node("Clip", ["keys", "zero", "bound"], ["clipped"]),
        helper.make_node("Squeeze", ["clipped", "two"], ["flat"]),
        helper.make_node("Gather", ["e", "flat"], ["found"]),
        helper.make_node("Reshape", ["found", "shape"], ["emb_flat"]),
    ]
    constants = {"zero": np.array(0), "bound": np.array(bound), "two": np.array([2]), "e": rows}
    constants["shape"] = np.array([-1, slots * rows.shape[1]])
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("keys", TensorProto.INT64, [None, slots, 1])],
        [helper.make_tensor_value_info("emb_flat", TensorProto.FLOAT, [None, slots * rows.shape[1]])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_the_file_of_another_converter(tmp_path: Path) -> None:
    model = TablesModel(tmp_path, {"emb": random_table(300, 4, spread=2)})
    path = by_another_converter(tmp_path / "other.onnx", model.tables["emb"], model.slots)
    (table,) = compare(model, path)
    assert (table.tensor, table.keys, table.differing) == ("e", 300, 0)


def test_a_file_whose_table_cannot_be_found_says_so(tmp_path: Path) -> None:
    model = TablesModel(tmp_path, {"emb": random_table(30, 4)})
    path = by_another_converter(tmp_path / "other.onnx", random_table(30, 5), model.slots)
    (table,) = compare(model, path)
    assert table.not_compared == "no table of 4 columns is gathered from by keys of keys"
    assert table.keys == 0


# Planted faults


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("strategy", ["direct", "perfect-hash"])
def test_a_row_of_100_000_that_is_off_by_one(seed: int, strategy: str, large: TablesModel, tmp_path: Path) -> None:
    row = int(np.random.default_rng(seed).integers(100_000))
    path = large.compile(tmp_path / "m.onnx", keys=strategy, external=True)
    key = int(large.tables["emb"].keys[row])
    place = row if strategy == "perfect-hash" else key

    def change(rows: np.ndarray) -> None:
        rows[place, 1] += 1.0

    change_tensor(path, ROWS, change)
    (table,) = compare(large, path, strategy)
    assert table.differing == 1
    (example,) = table.examples
    assert (example.key, example.source_row, example.column) == (key, row, 1)
    assert example.max_error == pytest.approx(1.0, abs=1e-5)


@pytest.fixture
def large(tmp_path: Path) -> TablesModel:
    return TablesModel(tmp_path / "source", {"emb": random_table(100_000, 4, spread=1)}, slots=2)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_keys_that_are_swapped(strategy: str, large: TablesModel, tmp_path: Path) -> None:
    path = large.compile(tmp_path / "m.onnx", keys=strategy, external=True)

    def swap(rows: np.ndarray) -> None:
        rows[[70, 80_000]] = rows[[80_000, 70]]

    change_tensor(path, ROWS, swap)
    (table,) = compare(large, path, strategy)
    first, second = table.examples
    assert table.differing == 2
    assert (first.holds, second.holds) == (second.key, first.key)


def test_two_keys_that_are_swapped_in_the_encoder(model: TablesModel, tmp_path: Path) -> None:
    path = model.compile(tmp_path / "m.onnx", keys="label-encoder")
    loaded = onnx.load(path)
    node = next(node for node in loaded.graph.node if node.op_type == "LabelEncoder")
    keys = next(attribute for attribute in node.attribute if attribute.name == "keys_tensor")
    array = numpy_helper.to_array(keys.t).copy()
    array[[3, 400]] = array[[400, 3]]
    keys.t.CopyFrom(numpy_helper.from_array(array))
    onnx.save(loaded, path)
    (table,) = compare(model, path)
    assert sorted(example.key for example in table.examples) == sorted(array[[3, 400]].tolist())


def test_two_keys_that_are_swapped_in_the_hash(model: TablesModel, tmp_path: Path) -> None:
    path = model.compile(tmp_path / "m.onnx", keys="perfect-hash")
    (name,) = (t.name for t in onnx.load(path).graph.initializer if t.name.startswith("row_of_slot"))

    def swap(rows: np.ndarray) -> None:
        a, b = np.flatnonzero(rows == 3)[0], np.flatnonzero(rows == 400)[0]
        rows[[a, b]] = rows[[b, a]]

    change_tensor(path, name, swap)
    (table,) = compare(model, path)
    assert sorted(example.source_row for example in table.examples) == [3, 400]


@pytest.mark.parametrize("format", ["fp16", "int8"])
def test_a_rounded_row_that_is_one_step_off(format: str, model: TablesModel, tmp_path: Path) -> None:
    path = model.compile(tmp_path / "m.onnx", keys="perfect-hash", embedding=format)

    def change(rows: np.ndarray) -> None:
        rows[123, 5] = rows[123, 5] + 1 if format == "int8" else np.nextafter(rows[123, 5], np.float16(9))

    change_tensor(path, ROWS, change)
    (table,) = compare(model, path)
    assert [example.source_row for example in table.examples] == [123]


def test_a_scale_that_is_wrong(model: TablesModel, tmp_path: Path) -> None:
    path = model.compile(tmp_path / "m.onnx", keys="perfect-hash", embedding="int8")

    def change(scales: np.ndarray) -> None:
        scales[77] *= np.float32(1.001)

    change_tensor(path, "emb.vectors.scales.rows", change)
    (table,) = compare(model, path)
    assert [example.source_row for example in table.examples] == [77]


def test_tables_that_are_swapped(tmp_path: Path) -> None:
    tables = {"one": random_table(200, 4, seed=1, spread=3), "two": random_table(200, 4, seed=2, spread=3)}
    swapped = TablesModel(tmp_path / "a", {"one": tables["two"], "two": tables["one"]})
    one, two = compare(TablesModel(tmp_path / "b", tables), swapped.compile(tmp_path / "m.onnx"))
    assert one.differing == two.differing == 200


def test_a_filler_row_that_is_not_the_default(model: TablesModel, tmp_path: Path) -> None:
    path = model.compile(tmp_path / "m.onnx", keys="direct")
    missing = int(np.setdiff1d(np.arange(1400), model.tables["emb"].keys)[50])

    def change(rows: np.ndarray) -> None:
        rows[missing] = 0.5

    change_tensor(path, ROWS, change)
    (table,) = compare(model, path)
    assert table.differing == 0
    assert f"row {missing} belongs to no key" in table.unexpected_examples[0]
    assert any(f"key {missing} finds a row" in each for each in table.unexpected_examples)


def test_a_key_that_only_the_file_knows(model: TablesModel, tmp_path: Path) -> None:
    """The file was made from a table with one more key, for a row of the others."""
    path = model.compile(tmp_path / "m.onnx", keys="label-encoder")
    table = model.tables["emb"]
    fewer = TablesModel(tmp_path / "fewer", {"emb": Table(table.keys[:-1], table.vectors[:-1])})
    (found,) = compare(fewer, path)
    assert found.unexpected
    assert f"key {table.keys[-1]} finds a row, though the source lacks it" in found.unexpected_examples


def test_examples_are_few(tmp_path: Path) -> None:
    model = TablesModel(tmp_path, {"emb": random_table(3000, 4, spread=2)})
    path = model.compile(tmp_path / "m.onnx", keys="perfect-hash")

    def change(rows: np.ndarray) -> None:
        rows += 1

    change_tensor(path, ROWS, change)
    (table,) = compare(model, path)
    assert (table.differing, len(table.examples)) == (3000, 10)


def test_progress_goes_from_none_to_all(model: TablesModel, tmp_path: Path) -> None:
    path = model.compile(tmp_path / "m.onnx")
    graph = load(model.graph, model.write()).graph
    heard: list[tuple[str, float]] = []
    compare_tables(graph, as_artifact(read_model(path), path), lambda name, share: heard.append((name, share)))
    assert {name for name, _ in heard} == {"tables"}
    assert heard[-1][1] == 1.0


@pytest.mark.parametrize("strategy", ["label-encoder", "perfect-hash"])
def test_negative_keys_with_one_padding_key(strategy: str, tmp_path: Path) -> None:
    table = random_table(200, 4)
    keys = np.random.default_rng(5).integers(-(1 << 62), 1 << 62, 200)
    model = TablesModel(tmp_path / "source", {"emb": Table(keys, table.vectors)})
    path = model.compile(tmp_path / "m.onnx", keys=strategy, padding_key=-1)
    (found,) = compare(model, path, padding_key=-1)
    assert (found.keys, found.differing, found.unexpected, found.not_compared) == (200, 0, 0, "")
