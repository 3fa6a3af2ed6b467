"""Faults planted in files, folders and recordings of sample models: each is found, and named."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import hugectr2onnx
from hugectr2onnx.errors import ParityError
from hugectr2onnx.sample_models import SamplePaths, write_sample
from hugectr2onnx.sample_models.feeds import sample_feeds
from hugectr2onnx.verification.result import FileDiffersError, Verification
from hugectr2onnx.verification.verify_file import verify

from .conftest import Table, TablesModel, change_tensor, random_table


def compiled(sample: SamplePaths, path: Path, level: int = 2, **options: Any) -> Path:
    options = {"simplify": False, "check": False, "layer_attrs": sample.layer_attrs, **options}
    options.setdefault("slot_size_array", sample.slot_size_array)
    hugectr2onnx.compile(sample.graph, sample.weights, level, **options).save(path)
    return path


def difference(*arguments: Any, **options: Any) -> Verification:
    with pytest.raises(FileDiffersError) as caught:
        verify(*arguments, **options)
    return caught.value.verification


@pytest.fixture
def wdl(tmp_path: Path) -> SamplePaths:
    return write_sample("wdl", tmp_path / "wdl")


# Constants of the file


def constants(path: Path) -> list[str]:
    tensors = onnx.load(path, load_external_data=False).graph.initializer
    return [t.name for t in tensors if t.data_type == onnx.TensorProto.FLOAT and np.prod(t.dims) > 1]


def test_other_names_of_nodes_are_no_difference(wdl: SamplePaths, tmp_path: Path) -> None:
    path = compiled(wdl, tmp_path / "m.onnx", keys="label-encoder")
    model = onnx.load(path)
    for number, node in enumerate(model.graph.node):
        node.name = f"renamed {number}"
    onnx.save(model, path)
    assert verify(path, wdl.graph, wdl.weights).identity.identical


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wdl", "dcn", "dcnv2", "deepfm", "dlrm", "criteo_bn", "din", "bst", "mmoe"])
def test_a_changed_constant_is_named_whatever_the_layer(name: str, tmp_path: Path) -> None:
    """One number of one constant, by a hundredth: whether or not a feed reaches it."""
    sample = write_sample(name, tmp_path / name)
    path = compiled(sample, tmp_path / "m.onnx", 0)
    generator = np.random.default_rng(0)
    names = [constant for constant in constants(path) if not constant.endswith(".rows")]
    for constant in names[:: max(1, len(names) // 3)]:
        copy = Path(shutil.copy(path, tmp_path / "wrong.onnx"))

        def change(array: np.ndarray) -> None:
            array.reshape(-1)[generator.integers(array.size)] += 1e-2

        change_tensor(copy, constant, change)
        found = difference(copy, sample.graph, sample.weights)
        assert any(f"the constant {constant} is not that of the source" in each for each in found.problems)


def dead_layer(folder: Path, bias: float) -> tuple[dict[str, Any], dict[str, Path]]:
    """relu(x @ w1 + bias) @ w2, where the bias keeps every unit at zero on any feed."""
    data = {"type": "Data", "label": {"top": "label", "label_dim": 1}, "dense": {"top": "dense", "dense_dim": 3}}
    layers = [
        {**data, "sparse": []},
        {"type": "InnerProduct", "bottom": "dense", "top": "fc1", "fc_param": {"num_output": 4}},
        {"type": "ReLU", "bottom": "fc1", "top": "relu1"},
        {"type": "InnerProduct", "bottom": "relu1", "top": "fc2", "fc_param": {"num_output": 1}},
        {"type": "BinaryCrossEntropyLoss", "bottom": ["fc2", "label"], "top": "loss"},
    ]
    generator = np.random.default_rng(0)
    parts = [generator.normal(size=12), np.full(4, bias), generator.normal(size=4), [0.5]]
    dense = folder / "m_dense_0.model"
    dense.write_bytes(np.concatenate(parts).astype("<f4").tobytes())
    return {"layers": layers}, {"dense": dense}


def replaced_first_layer(path: Path) -> None:
    def change(weight: np.ndarray) -> None:
        weight *= -2

    change_tensor(path, "fc1.weight", change)


@pytest.mark.parametrize("bias", [-50.0, -1e9])
def test_a_layer_that_is_dead_on_small_features_is_not_replaced_unseen(bias: float, tmp_path: Path) -> None:
    graph, weights = dead_layer(tmp_path, bias)
    hugectr2onnx.compile(graph, weights, simplify=False).save(tmp_path / "m.onnx")
    assert verify(tmp_path / "m.onnx", graph, weights).identity.identical
    replaced_first_layer(tmp_path / "m.onnx")
    found = difference(tmp_path / "m.onnx", graph, weights)
    assert any("the constant fc1.weight is not that of the source" in each for each in found.problems)


def test_larger_features_notice_a_dead_layer_even_without_the_source_s_constants(tmp_path: Path) -> None:
    graph, weights = dead_layer(tmp_path, -50.0)
    hugectr2onnx.compile(graph, weights, simplify=False).save(tmp_path / "m.onnx")
    replaced_first_layer(tmp_path / "m.onnx")
    with pytest.raises(ParityError, match="output 'label' differs"):
        verify(tmp_path / "m.onnx", graph, weights, quick=True)


def test_what_no_feed_reaches_is_told(tmp_path: Path) -> None:
    graph, weights = dead_layer(tmp_path, -1e9)
    hugectr2onnx.compile(graph, weights, simplify=False).save(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "m.onnx")
    result = verify(tmp_path / "m.onnx", graph, weights)
    assert (result.coverage.hidden_units, result.coverage.active_units) == (4, 0)
    assert "their weights are not exercised: relu1 100%" in result.notes[-1]
    assert result.identity.reason == "the file does not say how it was compiled"


def test_quick_leaves_tables_and_constants_out(wdl: SamplePaths, tmp_path: Path) -> None:
    result = verify(compiled(wdl, tmp_path / "m.onnx"), wdl.graph, wdl.weights, quick=True)
    assert (result.tables, result.identity, result.coverage.keys) == ((), None, 0)


# Tables and their maps


def test_swapped_tables_are_named(tmp_path: Path) -> None:
    tables = {"one": random_table(200, 4, seed=1, spread=3), "two": random_table(200, 4, seed=2, spread=3)}
    model = TablesModel(tmp_path / "a", tables)
    weights = model.write()
    swapped = {"dense": weights.dense, "sparse": list(reversed(weights.tables))}
    hugectr2onnx.compile(model.graph, swapped, simplify=False, check=False).save(tmp_path / "m.onnx")
    found = difference(tmp_path / "m.onnx", model.graph, weights)
    assert any("swapped tables: m0_sparse_0.model and m1_sparse_0.model" in note for note in found.notes)
    assert sum("200 of 200 keys have another vector" in each for each in found.problems) == 2


def test_a_key_map_file_that_is_wrong(tmp_path: Path) -> None:
    """Two rows are swapped, and the checksum is that of the file as it now is."""
    model = TablesModel(tmp_path / "a", {"emb": random_table(100, 4, spread=3)})
    path = model.compile(tmp_path / "m.onnx", keys="indices")
    (file,) = tmp_path.glob("m.onnx.*.keys.keys")
    content = bytearray(file.read_bytes())
    rows = np.frombuffer(content, "<i8")[-101:-1]
    rows[[3, 50]] = rows[[50, 3]]
    content[-8:] = zlib.crc32(content[-1608:-8]).to_bytes(8, "little")
    file.write_bytes(content)
    found = difference(path, model.graph, model.write())
    assert any("the key map of keys gives another row for 2 keys of emb: key " in each for each in found.problems)


def test_a_key_map_file_that_is_not_there(tmp_path: Path) -> None:
    model = TablesModel(tmp_path / "a", {"emb": random_table(100, 4, spread=3)})
    path = model.compile(tmp_path / "m.onnx", keys="indices")
    next(tmp_path.glob("m.onnx.*.keys.keys")).unlink()
    result = verify(path, model.graph, model.write())
    assert any(note.startswith("the keys of emb were not compared: ") for note in result.notes)


# Another iteration, offsets, logarithms


def other_iteration(sample: SamplePaths, folder: Path, number: int) -> None:
    """A second iteration in the sample's folder, of other weights."""
    other = write_sample(sample.name, folder / "other", seed=1)
    for path in Path(other.graph).parent.glob("*_0.model*"):
        target = Path(sample.graph).parent / path.name.replace("_0.model", f"_{number}.model")
        (shutil.copytree if path.is_dir() else shutil.copy)(path, target)


def test_a_file_of_another_iteration_is_told_which(wdl: SamplePaths, tmp_path: Path) -> None:
    path = compiled(wdl, tmp_path / "m.onnx")
    other_iteration(wdl, tmp_path, 500)
    found = difference(path, wdl.graph, Path(wdl.graph).parent)
    assert "the file's answers are those of iteration 0, which lies in the same folder" in found.notes


@pytest.mark.parametrize("kind", ["logarithm", "no logarithm"])
def test_features_with_or_without_their_logarithm(kind: str, wdl: SamplePaths, tmp_path: Path) -> None:
    path = compiled(wdl, tmp_path / "m.onnx")
    model = hugectr2onnx.compile(wdl.graph, wdl.weights, slot_size_array=wdl.slot_size_array, check=False)
    feeds = sample_feeds(wdl, 40)
    raw = np.random.default_rng(0).integers(0, 30, feeds["dense"].shape).astype(np.float32)
    logs = np.log1p(raw)
    seen, trained = (raw, logs) if kind == "logarithm" else (logs, raw)
    predictions = model.run({**feeds, "dense": trained})
    np.savez(tmp_path / "s.npz", **{**feeds, "dense": seen}, **predictions)
    found = difference(path, wdl.graph, wdl.weights, tmp_path / "s.npz")
    wanted = "log(1 + x) of the dense features" if kind == "logarithm" else "exp(x) - 1 of the dense features"
    assert any(f"HugeCTR's predictions are those of {wanted}" in note for note in found.notes)


def slots_apart(folder: Path) -> TablesModel:
    """Slot 0 has the keys 0 to 9, slot 1 10 to 29, slot 2 30 to 34."""
    keys = np.arange(35)
    slots = np.repeat([0, 1, 2], [10, 20, 5])
    return TablesModel(folder, {"emb": Table(keys, random_table(35, 4).vectors, slots)})


def test_offsets_that_were_not_added(tmp_path: Path) -> None:
    model = slots_apart(tmp_path / "a")
    path = model.compile(tmp_path / "m.onnx")
    raw = np.random.default_rng(0).integers(0, 5, (20, 3, 1))
    rows = raw[:, :, 0] + np.array([0, 10, 30])
    predictions = model.tables["emb"].vectors[rows].reshape(20, 12)
    np.savez(tmp_path / "s.npz", keys=raw, emb_flat=predictions)
    found = difference(path, model.graph, model.write(), tmp_path / "s.npz")
    assert any("keys of keys with the offsets of their slots added (0, 10, 30)" in note for note in found.notes)


def test_offsets_that_are_added_twice(tmp_path: Path) -> None:
    model = slots_apart(tmp_path / "a")
    path = model.compile(tmp_path / "m.onnx", slot_size_array=[10, 20, 5])
    keys = np.random.default_rng(0).integers(0, 5, (20, 3, 1)) + np.array([0, 10, 30])[:, None]
    predictions = model.tables["emb"].vectors[keys[:, :, 0]].reshape(20, 12)
    np.savez(tmp_path / "s.npz", keys=keys, emb_flat=predictions)
    found = difference(path, model.graph, model.write(), tmp_path / "s.npz")
    assert any("the model adds those of slot_size_array again" in note for note in found.notes)


# What samples have in common


def test_samples_that_differ_are_listed_with_what_they_share(wdl: SamplePaths, tmp_path: Path) -> None:
    """Those with something in column 5 of the dense features, every tenth."""
    path = compiled(wdl, tmp_path / "m.onnx")
    model = hugectr2onnx.compile(wdl.graph, wdl.weights, slot_size_array=wdl.slot_size_array, check=False)
    feeds = sample_feeds(wdl, 60)
    feeds["dense"][:, 5] = np.where(np.arange(60) % 10 == 3, np.float32(7.0), np.float32(0.0))
    predictions = model.run(feeds)
    predictions["label"][3::10] += 0.1
    np.savez(tmp_path / "s.npz", **feeds, **predictions)
    found = difference(path, wdl.graph, wdl.weights, tmp_path / "s.npz")
    assert "rows 3, 13, 23, 33, 43, 53" in found.problems[0]
    assert any(
        "all of the 6 samples that differ, and 0 of the others, have a number other than 0 in column 5 of dense" in note
        for note in found.notes
    )


# Mixed precision


def half_predictions(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Two layers of width 64 and one of 1, as HugeCTR has them in half: every tensor a half, sums in float32."""

    def half(array: np.ndarray) -> np.ndarray:
        return array.astype(np.float16).astype(np.float32)

    place, hidden = 0, half(x)
    for rows, columns in ((16, 64), (64, 64), (64, 1)):
        weight = half(weights[place : place + rows * columns].reshape(rows, columns))
        bias = half(weights[place + rows * columns :][:columns])
        place += (rows + 1) * columns
        hidden = half(hidden @ weight + bias)
        hidden = np.maximum(hidden, 0) if columns > 1 else hidden
    return 1 / (1 + np.exp(-hidden.astype(np.float64)))


@pytest.fixture
def mixed(tmp_path: Path) -> tuple[dict[str, Any], dict[str, Path], np.ndarray]:
    data = {"type": "Data", "label": {"top": "label", "label_dim": 1}, "dense": {"top": "dense", "dense_dim": 16}}
    layers: list[dict[str, Any]] = [{**data, "sparse": []}]
    bottom = "dense"
    for number, width in enumerate((64, 64, 1), 1):
        layers.append(
            {"type": "InnerProduct", "bottom": bottom, "top": f"fc{number}", "fc_param": {"num_output": width}}
        )
        bottom = f"fc{number}"
        if width > 1:
            layers.append({"type": "ReLU", "bottom": bottom, "top": f"relu{number}"})
            bottom = f"relu{number}"
    layers.append({"type": "BinaryCrossEntropyLoss", "bottom": [bottom, "label"], "top": "loss"})
    weights = np.random.default_rng(0).normal(0, 0.25, 17 * 64 + 65 * 64 + 65).astype("<f4")
    (tmp_path / "m_dense_0.model").write_bytes(weights.tobytes())
    return {"layers": layers}, {"dense": tmp_path / "m_dense_0.model"}, weights


def test_rounding_to_half_is_told_by_name(mixed: Any, tmp_path: Path) -> None:
    graph, files, weights = mixed
    hugectr2onnx.compile(graph, files).save(tmp_path / "m.onnx")
    x = np.random.default_rng(1).normal(size=(200, 16)).astype(np.float32)
    np.savez(tmp_path / "s.npz", dense=x, label=half_predictions(weights, x))
    found = difference(tmp_path / "m.onnx", graph, files, tmp_path / "s.npz")
    assert "they are those of a model in mixed precision" in found.notes[-1]
    result = verify(tmp_path / "m.onnx", graph, files, tmp_path / "s.npz", mixed_precision=True)
    assert "they are those of a model in mixed precision" in result.notes[-1]


def test_other_weights_are_not_taken_for_mixed_precision(mixed: Any, tmp_path: Path) -> None:
    graph, files, weights = mixed
    hugectr2onnx.compile(graph, files).save(tmp_path / "m.onnx")
    x = np.random.default_rng(1).normal(size=(200, 16)).astype(np.float32)
    np.savez(tmp_path / "s.npz", dense=x, label=half_predictions(weights * np.float32(1.1), x))
    found = difference(tmp_path / "m.onnx", graph, files, tmp_path / "s.npz", mixed_precision=True)
    assert any("rounding to half does not explain it" in note for note in found.notes)


# Options


def test_the_result_says_where_its_options_come_from(tmp_path: Path) -> None:
    model = TablesModel(tmp_path / "a", {"emb": random_table(60, 4)})
    path = model.compile(tmp_path / "m.onnx", slot_size_array=[20, 20, 20])
    options = hugectr2onnx.Options(slot_size_array=[20, 20, 20])
    assert verify(path, model.graph, model.write()).options_from == "the file"
    assert verify(path, model.graph, model.write(), options=options).options_from == "the caller"
    other = hugectr2onnx.Options(slot_size_array=[10, 20, 30])
    assert not difference(path, model.graph, model.write(), options=other).passed
